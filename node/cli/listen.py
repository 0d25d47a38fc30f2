"""`cometring listen`: a small Bayeux client over long-polling, one JSON line a message.

It holds one connection and one cursor of its own: when a node goes away it
tries the next URL under the same clientId, and the ring resumes the session
where it stood. A session that the ring no longer knows is opened anew.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import signal
import sys
import time
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from node.cli.errors import OperationFailed
from node.cli.web import DEFAULT_URL, JSON, exchange, open_connection, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from urllib.parse import SplitResult

HANDSHAKE_TIMEOUT = 10.0  # seconds for anything that is not held
HOLD_MARGIN = 10.0  # seconds past the announced hold before a poll counts as lost
RETRY_FIRST, RETRY_LAST = 0.1, 5.0  # seconds between tries, doubling

Message = dict[str, Any]


class _Lost(Exception):
    """The node could not be asked, or cannot serve just now."""


class _Forgotten(Exception):
    """The ring no longer knows the session."""


class BayeuxListener:
    """A session with some subscriptions, kept alive on whichever of `urls` answers."""

    def __init__(self, urls: Sequence[SplitResult], channels: Sequence[str]) -> None:
        self._urls = itertools.cycle(urls)
        self._channels = channels
        self._connection: http.client.HTTPConnection | None = None
        self._path = ""
        self._cookies: SimpleCookie = SimpleCookie()
        self._ids = itertools.count(1)
        self._client_id = ""
        self._hold = 30.0
        self._backlog: list[Message] = []

    def messages(self) -> Iterator[Message]:
        """Messages as they come, for ever. Raises OperationFailed where trying is no use."""
        pause = RETRY_FIRST
        while True:
            try:
                if not self._client_id:
                    self._open_session()
                yield from self._poll()
                pause = RETRY_FIRST
            except _Forgotten:
                _tell("the session has ended; opening another")
                self._client_id = ""
            except _Lost as error:
                _tell(f"{error}; trying again")
                self._drop_connection()
                time.sleep(pause)
                pause = min(pause * 2, RETRY_LAST)

    def close(self) -> None:
        """Tell the node, if that is quick, that nobody listens any more."""
        if self._client_id:
            self._drop_connection()
            with contextlib.suppress(_Lost, _Forgotten, OperationFailed):
                self._ask([{"channel": "/meta/disconnect"}], timeout=1.0)
        self._drop_connection()

    def _open_session(self) -> None:
        handshake = {
            "channel": "/meta/handshake",
            "version": "1.0",
            "supportedConnectionTypes": ["long-polling"],
        }
        (welcome,) = self._ask([handshake], expect="/meta/handshake")
        self._client_id = str(welcome["clientId"])
        try:
            self._ask(
                [{"channel": "/meta/subscribe", "subscription": name} for name in self._channels],
                expect="/meta/subscribe",
            )
        except (_Lost, OperationFailed):
            self._client_id = ""  # half a session is none
            raise
        address = (welcome.get("ext") or {}).get("address", "")
        _tell(f"listening to {' '.join(self._channels)} as {address}")

    def _poll(self) -> Iterator[Message]:
        connect = {"channel": "/meta/connect", "connectionType": "long-polling"}
        replies = self._ask([connect], expect="/meta/connect", timeout=self._hold + HOLD_MARGIN)
        yield from self._backlog
        self._backlog.clear()
        interval = float((replies[-1].get("advice") or {}).get("interval") or 0)
        if interval > 0:  # milliseconds
            time.sleep(interval / 1000)

    def _ask(
        self, batch: list[Message], expect: str = "", timeout: float = HANDSHAKE_TIMEOUT
    ) -> list[Message]:
        """Send one batch; returns the replies to it on the channel `expect`.

        Deliveries that came along go to the backlog. Raises _Lost, _Forgotten,
        or OperationFailed where the node refuses for good.
        """
        for message in batch:
            message["id"] = str(next(self._ids))
            if self._client_id:
                message["clientId"] = self._client_id
        answers = self._exchange(msgspec.json.encode(batch), timeout)
        self._backlog += [a for a in answers if not str(a.get("channel")).startswith("/meta/")]
        replies = [answer for answer in answers if answer.get("channel") == expect]
        for answer in replies:
            self._heed(answer)
        if expect and not replies:
            raise _Lost(f"the node did not answer {expect}")
        return replies

    def _heed(self, answer: Message) -> None:
        advice = answer.get("advice") or {}
        self._hold = float(advice.get("timeout") or self._hold * 1000) / 1000
        if answer.get("successful"):
            return
        error = str(answer.get("error") or "refused without a reason")
        if advice.get("reconnect") == "handshake" or error.startswith("402"):
            raise _Forgotten
        if advice.get("reconnect") == "retry" or error.startswith(("500", "503")):
            raise _Lost(f"the node says {error}")
        raise OperationFailed(f"the node refuses: {error}")

    def _exchange(self, body: bytes, timeout: float) -> list[Message]:
        if self._connection is None:
            url = next(self._urls)
            self._path = f"{url.path.rstrip('/')}/bayeux"
            self._connection = open_connection(url, timeout)
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        headers = {"Content-Type": JSON}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{k}={m.value}" for k, m in self._cookies.items())
        connection = self._connection
        try:
            reply = exchange(connection, "POST", self._path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise _Lost(f"lost {connection.host}:{connection.port} ({reason})") from None
        for cookie in reply.headers.get_all("Set-Cookie") or ():
            self._cookies.load(cookie)
        if reply.status in {500, 502, 503}:
            raise _Lost(f"{connection.host}:{connection.port} cannot serve now ({reply.status})")
        if reply.status != 200:
            raise OperationFailed(f"the node refuses with status {reply.status}")
        answers = reply.json()
        if not isinstance(answers, list) or not all(isinstance(a, dict) for a in answers):
            raise OperationFailed("the answer is not Bayeux: is that a cometring node?")
        return answers

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _tell(text: str) -> None:
    print("cometring:", text, file=sys.stderr, flush=True)


def listen(
    channels: Annotated[
        list[str], typer.Argument(metavar="CHANNEL...", help="Such as /chat/room.")
    ],
    url: Annotated[
        str,
        typer.Option(envvar="COMETRING_URL", help="A node's client listener; several with commas."),
    ] = DEFAULT_URL,
    count: Annotated[int, typer.Option(min=0, help="End after this many messages; 0: never.")] = 0,
) -> None:
    """Print every message on some channels, and those sent to this session, one JSON line each.

    The session's address stands on standard error: others can send to it.
    """
    urls = [parse_url(part) for part in url.split(",") if part.strip()]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    listener = BayeuxListener(urls, channels)
    printed = 0
    try:
        for message in listener.messages():
            print(msgspec.json.encode(message).decode(), flush=True)
            printed += 1
            if printed == count:
                break
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()
