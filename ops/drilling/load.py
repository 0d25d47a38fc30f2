"""A little traffic while things break: publishes that are counted, and readers that are not."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.drilling.ring import Door, Node

CHANNELS: Final = 40  # so that every node is home to some
PAUSE: Final = 0.02  # seconds between two publishes
PATIENCE: Final = 3.0  # seconds for one answer


class Publisher:
    """Publishes through one door after the other, for a `with` block, and counts the answers."""

    def __init__(self, doors: Sequence[Door], key: str) -> None:
        self._doors = doors
        self._key = key
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(4)]
        self.outcomes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        draw = random.Random()  # noqa: S311 - which channel is next is no secret
        while not self._over.is_set():
            channel = f"/drill/{draw.randrange(CHANNELS)}"
            outcome = publish(draw.choice(self._doors), channel, self._key)
            self.outcomes[outcome] += 1
            time.sleep(PAUSE)

    def __str__(self) -> str:
        return ", ".join(
            f"{count} of {outcome}" for outcome, count in sorted(self.outcomes.items())
        )


def publish(door: Door, channel: str, key: str) -> str:
    """The status, or what went wrong with the connection."""
    body = json.dumps({"channel": channel, "data": "x" * 100})
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(*door, timeout=PATIENCE)
    try:
        connection.request("POST", "/api/publish", body, headers)
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()


class Readers:
    """`cometring listen` at each door, for a `with` block."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = doors
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        channels = [f"/drill/{i}" for i in range(CHANNELS)]
        for host, port in self._doors:
            words = [sys.executable, "-m", "node.cli", "listen", *channels]
            self._running.append(
                subprocess.Popen(
                    [*words, "--url", f"http://{host}:{port}"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()


def hold_open(node: Node, count: int) -> list[socket.socket]:
    """Idle connections; the caller closes them."""
    opened = []
    for _ in range(count):
        with suppress(OSError):
            opened.append(socket.create_connection(node.door, 2.0))
    return opened
