"""A little traffic while things break: publishes that are counted, and readers that are not."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from ops.drilling.prometheus import DrillFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.drilling.ring import Door, Node

CHANNELS: Final = tuple(f"/drill/{i}" for i in range(40))  # so that every node is home to some
PAUSE: Final = 0.02  # seconds between two publishes
PATIENCE: Final = 3.0  # seconds for one answer
DEAF: Final = "/drill/deaf"
MUCH: Final = 5  # messages of 100 kB: more than the sockets of a reader hold


class Publisher:
    """Publishes through one door after the other, for a `with` block, and counts the answers."""

    def __init__(self, doors: Sequence[Door], key: str, channels: Sequence[str] = CHANNELS) -> None:
        self._doors = doors
        self._key = key
        self._channels = channels
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
            outcome = publish(draw.choice(self._doors), draw.choice(self._channels), self._key)
            self.outcomes[outcome] += 1
            time.sleep(PAUSE)

    def __str__(self) -> str:
        return ", ".join(
            f"{count} of {outcome}" for outcome, count in sorted(self.outcomes.items())
        )


def publish(door: Door, channel: str, key: str, size: int = 100) -> str:
    """The status, or what went wrong with the connection; `size` in bytes."""
    body = json.dumps({"channel": channel, "data": "x" * size})
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

    def __init__(self, doors: Sequence[Door], channels: Sequence[str] = CHANNELS) -> None:
        self._doors = doors
        self._channels = channels
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for host, port in self._doors:
            words = [sys.executable, "-m", "node.cli", "listen", *self._channels]
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


def copies(door: Door, channel: str, key: str) -> set[str]:
    """Client addresses of the nodes that hold the channel's log, its home among them."""
    connection = http.client.HTTPConnection(*door, timeout=PATIENCE)
    try:
        headers = {"Authorization": f"Bearer {key}"}
        connection.request("GET", f"/api/locate?channel={channel}", headers=headers)
        return {each["client"] for each in json.load(connection.getresponse())["replicas"]}
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise DrillFailed(f"{channel} cannot be located: {error}") from error
    finally:
        connection.close()


class NotReading:
    """Readers of `DEAF` at one door that take nothing after the first words, for a `with` block."""

    def __init__(self, door: Door, count: int, key: str) -> None:
        self._door = door
        self._count = count
        self._key = key
        self._clients: list[socket.socket] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.settimeout(PATIENCE)
            client.connect(self._door)
            client.sendall(b"GET /sse?channel=%b HTTP/1.1\r\nHost: drill\r\n\r\n" % DEAF.encode())
            client.recv(1_024)
            self._clients.append(client)
        for _ in range(MUCH):
            publish(self._door, DEAF, self._key, 100_000)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()


def hold_open(node: Node, count: int) -> list[socket.socket]:
    """Idle connections; the caller closes them."""
    opened = []
    for _ in range(count):
        with suppress(OSError):
            opened.append(socket.create_connection(node.door, 2.0))
    return opened


def speak_tls(node: Node) -> None:
    """One handshake; whose certificate it is does not matter."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with suppress(OSError), socket.create_connection(node.door, PATIENCE) as client:
        context.wrap_socket(client, server_hostname=node.host).close()
