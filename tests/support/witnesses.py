"""Threads that publish to real nodes and read from them, and note what they were told.

A `Reader` acknowledges (the `ack` extension), so that it may be told twice but
nothing passes it by. A `Writer` asks once for each message, and notes the answer.
"""

from __future__ import annotations

import http.client
import time
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster_process import NodeProcess

HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
    "ext": {"ack": True},
}
HELD = 2_000  # ms that a poll asks to be held
AGAIN = 0.05  # seconds before the next try
PATIENCE = 15.0  # seconds for an answer


class Witness(Thread):
    """A thread for a `with` block; `stop()` waits for its end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._done = Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._done.set()
        self.join(PATIENCE * 2)
        assert not self.is_alive()


class Reader(Witness):
    """A session on `node`, subscribed to `channels`; polls until stopped."""

    def __init__(self, node: NodeProcess, channels: Sequence[str]) -> None:
        super().__init__()
        self._node = node
        self.received: dict[str, list[tuple[Any, str]]] = {name: [] for name in channels}
        self.gaps: list[str] = []
        self.error = ""  # why the session ended, if it did
        (reply,) = self._post(HANDSHAKE)
        self._id = reply["clientId"]
        self._ack = reply["ext"]["ack"]
        self._batch = self._ack if isinstance(self._ack, int) and self._ack is not True else 0
        (reply,) = self._post(
            {"channel": "/meta/subscribe", "subscription": list(channels), "clientId": self._id}
        )
        assert reply["successful"], reply

    def _post(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        port = self._node.client_port
        status, replies = self._node.request(port, "POST", "/bayeux", [message], timeout=PATIENCE)
        if status != 200:
            raise ConnectionError(f"{status}: {replies}")
        assert isinstance(replies, list), replies
        return replies

    def run(self) -> None:
        while not self._done.is_set() and not self.error:
            connect = {
                "channel": "/meta/connect",
                "connectionType": "long-polling",
                "clientId": self._id,
                "advice": {"timeout": HELD},
                "ext": {"ack": self._batch},
            }
            try:
                replies = self._post(connect)
            except (OSError, http.client.HTTPException):
                time.sleep(AGAIN)
                continue
            for reply in replies:
                self._take(reply)

    def _take(self, reply: dict[str, Any]) -> None:
        if reply["channel"] == "/meta/connect":
            if not reply["successful"]:
                if reply["error"].startswith("402"):
                    self.error = reply["error"]
                time.sleep(AGAIN)
                return
            ext = reply.get("ext", {})
            self._batch = ext.get("ack", self._batch)
            self.gaps += ext.get("gaps", [])
        elif reply["channel"] in self.received:
            self.received[reply["channel"]].append((reply["data"], reply["id"]))

    def wait_for(self, channel: str, data: Any, seconds: float) -> bool:
        """Whether `data` comes on `channel` in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(each == data for each, _ in list(self.received[channel])):
                return True
            time.sleep(AGAIN)
        return False

    def order(self, channel: str) -> list[Any]:
        """What came on `channel`, without what came again."""
        seen: dict[str, Any] = {}
        for data, message_id in self.received[channel]:
            seen.setdefault(message_id, data)
        return list(seen.values())


class Writer(Witness):
    """Publishes numbers to `channels` in turn through `node`, `rate` a second; each once."""

    def __init__(
        self, node: NodeProcess, channels: Sequence[str], rate: float, name: str = ""
    ) -> None:
        super().__init__()
        self._node = node
        self._channels = channels
        self._pause = 1 / rate
        self._name = name or f"w{node.index}"
        self.acknowledged: dict[str, list[str]] = {name: [] for name in channels}
        self.answers: list[tuple[float, float, str]] = []  # asked and answered at; what

    def run(self) -> None:
        number = 0
        while not self._done.wait(self._pause):
            channel = self._channels[number % len(self._channels)]
            data = f"{self._name}-{number}"
            number += 1
            asked = time.monotonic()
            told = self._publish(channel, data)
            self.answers.append((asked, time.monotonic(), told))
            if told == "ok":
                self.acknowledged[channel].append(data)

    def _publish(self, channel: str, data: str) -> str:
        body = {"channel": channel, "data": data, "id": data}
        with suppress(OSError, http.client.HTTPException):
            status, answer = self._node.api("/api/publish", body, timeout=PATIENCE)
            if status == 200:
                return "ok"
            error = answer.get("error", {}) if isinstance(answer, dict) else {}
            return "retry" if status == 503 and error.get("retry") else f"{status} {answer}"
        return "broken"

    def told(self, since: float, until: float) -> set[str]:
        """What was answered to publishes that were asked for between two moments."""
        return {what for asked, _, what in self.answers if since <= asked < until}


def missing(writers: Sequence[Writer], reader: Reader) -> list[str]:
    """What was acknowledged and has not come to `reader`."""
    lacks = []
    for channel in reader.received:
        came = set(reader.order(channel))
        for writer in writers:
            lacks += [d for d in writer.acknowledged.get(channel, ()) if d not in came]
    return lacks
