"""A reader of server-sent events over a plain socket, for tests of real nodes."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, Self


class EventReader:
    """One stream. Blocking, bounded in time; for a `with` block.

    `target` is the path with its query; `headers` go with the request.
    """

    def __init__(self, port: int, target: str, headers: dict[str, str] | None = None) -> None:
        self._conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._conn.request("GET", target, headers=headers or {})
        self.response = self._conn.getresponse()
        self.last_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def cookie(self) -> str:
        """The cookie that came with the answer, as a Cookie header's value."""
        return (self.response.getheader("Set-Cookie") or "").partition(";")[0]

    def close(self) -> None:
        self.response.close()
        self._conn.close()

    def next(self) -> dict[str, str]:
        """The fields of the next event, also one of an id alone. Comments are skipped."""
        fields: dict[str, str] = {}
        while True:
            line = self.response.readline()
            assert line, "the stream has ended"
            text = line.decode().rstrip("\r\n")
            if text:
                name, _, value = text.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
            elif fields:
                self.last_id = fields.get("id", self.last_id)
                return fields

    def data(self) -> Any:
        """The data of the next event that has some."""
        while "data" not in (fields := self.next()):
            pass
        return json.loads(fields["data"])

    def session(self) -> dict[str, str]:
        """The data of the first event."""
        fields = self.next()
        assert fields.get("event") == "session", fields
        told: dict[str, str] = json.loads(fields["data"])
        return told

    def until_id(self, prefix: str, seconds: float = 5.0) -> None:
        """Read until the last id begins with `prefix`."""
        deadline = time.monotonic() + seconds
        while not self.last_id.startswith(prefix):
            assert time.monotonic() < deadline, f"the id is still {self.last_id}"
            self.next()

    def ended(self) -> bool:
        """Read to the end of the stream; False if it goes on for ten seconds."""
        try:
            while self.response.readline():
                pass
        except TimeoutError:
            return False
        return True
