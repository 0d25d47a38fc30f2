"""The stock CometD client for JavaScript, unmodified, driven from a test.

It runs in a Node process of its own (`tests/clients/stock_client.mjs`); calls
here are synchronous and bounded in time.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from queue import Empty, Queue
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Self

from npm_packages import require_packages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parent.parent / "clients"
ANSWER_LIMIT = 15.0  # seconds


class StockClient:
    """One session of the stock client, for a `with` block.

    `url` is a node's client listener, `transport` ``long-polling`` or ``websocket``,
    or several; `authority` is a file that names whom to trust, for https.
    `extensions` of the client are registered by name, `settings` are its own.
    """

    def __init__(
        self,
        url: str,
        transport: str,
        authority: Path | None = None,
        *,
        extensions: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        options = json.dumps({"extensions": extensions, "settings": settings})
        node = require_packages(FOLDER)
        words = [node, "stock_client.mjs", f"{url}/bayeux", transport, options]
        trusted = {} if authority is None else {"NODE_EXTRA_CA_CERTS": str(authority)}
        self._process = subprocess.Popen(
            words,
            cwd=FOLDER,
            env=os.environ | trusted,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._number = 0
        self._replies: Queue[dict[str, Any]] = Queue()
        self._arrived = Condition()
        self.messages: list[dict[str, Any]] = []
        self.connects: list[dict[str, Any]] = []  # changes of success of /meta/connect
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5.0)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def call(self, name: str, timeout: float = ANSWER_LIMIT, **words: Any) -> dict[str, Any]:
        """Run one command and return the server's reply, successful or not."""
        assert self._process.stdin is not None
        self._number += 1
        self._process.stdin.write(json.dumps({"n": self._number, "do": name} | words) + "\n")
        try:
            answer = self._replies.get(timeout=timeout)
        except Empty:
            raise AssertionError(f"no answer to {name} within {timeout:g} s") from None
        assert answer["n"] == self._number, "the answer to another command"
        reply: dict[str, Any] = answer["reply"]
        return reply

    def must(self, name: str, timeout: float = ANSWER_LIMIT, **words: Any) -> dict[str, Any]:
        """As `call`, and fails where the server refuses."""
        reply = self.call(name, timeout, **words)
        assert reply["successful"], reply
        return reply

    def handshake(self) -> dict[str, Any]:
        """Begin the session; returns ``ext`` of the server's reply."""
        ext: dict[str, Any] = self.must("handshake")["ext"]
        return ext

    def on(self, channel: str) -> list[Any]:
        """The data of what has arrived on `channel`, in order."""
        with self._arrived:
            return [m["data"] for m in self.messages if m["channel"] == channel]

    def wait_for(self, channel: str, count: int, timeout: float = ANSWER_LIMIT) -> list[Any]:
        """Wait until `count` messages have come on `channel`; returns the data of all so far."""
        with self._arrived:
            complete = self._arrived.wait_for(lambda: len(self.on(channel)) >= count, timeout)
        arrived = self.on(channel)
        assert complete, f"{len(arrived)} of {count} messages on {channel} in {timeout:g} s"
        return arrived

    def _read(self) -> None:
        for line in self._lines():
            if "n" in line:
                self._replies.put(line)
                continue
            with self._arrived:
                if "message" in line:
                    self.messages.append(line["message"])
                else:
                    self.connects.append(line["connect"])
                self._arrived.notify_all()

    def _lines(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            yield json.loads(text)
