"""An application that publishes through the proxy, each message until it is answered 200."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from cluster_process import API_KEY, HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADERS = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
ATTEMPT_LIMIT = 15.0  # seconds for one answer
AGAIN = 0.1  # seconds before the next try
TICK = 0.01  # seconds between looks at what is due


class ApiPublisher:
    """`rate` publishes a second to `channels` in turn, for a `with` block.

    Each goes over whichever of `connections` is free: one that waits for a takeover
    holds back no other until all of them wait. `offered` counts what was due.
    """

    def __init__(
        self,
        port: int,
        channels: Sequence[str],
        rate: float,
        name: str = "api",
        connections: int = 40,
    ) -> None:
        self._port = port
        self._channels = channels
        self._name = name
        self._rate = rate
        self._stop = Event()
        self._due: SimpleQueue[int | None] = SimpleQueue()  # None: no more
        self.offered = 0
        self.acknowledged: list[tuple[str, str]] = []  # channel, id
        self.failures: Counter[str] = Counter()  # answers and errors that led to another try
        self.slowest = 0.0  # seconds until an acknowledgement, tries and all
        self._clock = Thread(target=self._tick, daemon=True)
        self._threads = [Thread(target=self._run, daemon=True) for _ in range(connections)]

    def __enter__(self) -> Self:
        for thread in (*self._threads, self._clock):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, timeout: float = 60.0) -> None:
        """Publish no more; returns once everything has been acknowledged."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in (self._clock, *self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a publish was never acknowledged"

    def _tick(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(TICK):
            due = int((time.monotonic() - began) * self._rate)
            for number in range(self.offered, due):
                self._due.put(number)
            self.offered = max(due, self.offered)
        for _ in self._threads:
            self._due.put(None)

    def _run(self) -> None:
        conn: http.client.HTTPConnection | None = None
        while (number := self._due.get()) is not None:
            channel = self._channels[number % len(self._channels)]
            name = f"{self._name}-{number}"
            began = time.monotonic()
            body = json.dumps({"channel": channel, "data": {"i": name}, "id": name})
            while True:
                conn, failure = self._attempt(conn, body)
                if not failure:
                    break
                self.failures[failure] += 1
                time.sleep(AGAIN)
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.acknowledged.append((channel, name))
        if conn is not None:
            conn.close()

    def _attempt(
        self, conn: http.client.HTTPConnection | None, body: str
    ) -> tuple[http.client.HTTPConnection | None, str]:
        """One try; returns the connection to go on with, and why it failed (empty: it did not)."""
        if conn is None:
            conn = http.client.HTTPConnection(HOST, self._port, timeout=ATTEMPT_LIMIT)
        try:
            conn.request("POST", "/api/publish", body, HEADERS)
            response = conn.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            with suppress(OSError):
                conn.close()
            return None, type(error).__name__
        return conn, "" if response.status == 200 else str(response.status)
