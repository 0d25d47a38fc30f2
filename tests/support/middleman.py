"""Somebody on the wire between nodes: reads all, changes what a test asks for, knows no secret.

A TCP relay before the nodes' peer listeners (nodes advertise the relay's addresses),
in threads. It understands the length prefix of frames, which is in the clear, and
nothing behind it. Each connection is relayed faithfully until `tamper` is set: then
the next frame of a confirmed link in either direction is handed to it, once.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from cluster_process import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GREETINGS = {"up": 3, "down": 2}
"""Frames before the link is open: greeting, hello, confirmation; challenge, welcome."""


@dataclass
class Wire:
    """One direction of one connection."""

    way: str  # up: to the node; down: from it
    into: socket.socket
    back: socket.socket
    frames: list[bytes] = field(default_factory=list)
    """All that passed, length prefix included."""

    def send(self, *frames: bytes) -> None:
        for each in frames:
            self.into.sendall(each)


class Middleman:
    """For a `with` block; `relays`: port where it listens -> the node's own."""

    def __init__(self, relays: Mapping[int, int]) -> None:
        self._lock = threading.Lock()
        self._tamper: Callable[[Wire, bytes, Callable[[], bytes]], None] | None = None
        self.tampered = threading.Event()
        self.wires: list[Wire] = []
        self._listeners = {
            socket.create_server((HOST, port), backlog=64): node for port, node in relays.items()
        }

    def tamper(self, how: Callable[[Wire, bytes, Callable[[], bytes]], None]) -> None:
        """`how(wire, frame, next_frame)` gets the next frame of an open link instead of its reader.

        It sends what it likes; `next_frame()` waits for the one after.
        """
        with self._lock:
            self.tampered.clear()
            self._tamper = how

    def __enter__(self) -> Self:
        for each in self._listeners.items():
            threading.Thread(target=self._serve, args=each, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for wire in self.wires:
            with suppress(OSError):
                wire.into.close()

    def _serve(self, listener: socket.socket, node_port: int) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                try:
                    far = socket.create_connection((HOST, node_port), 2.0)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                for wire, source in ((Wire("up", far, near), near), (Wire("down", near, far), far)):
                    self.wires.append(wire)
                    threading.Thread(target=self._relay, args=(wire, source), daemon=True).start()

    def _relay(self, wire: Wire, source: socket.socket) -> None:
        reader = source.makefile("rb")

        def next_frame() -> bytes:
            length = reader.read(4)
            frame = length + reader.read(int.from_bytes(length, "big"))
            wire.frames.append(frame)
            return frame

        with suppress(OSError):
            while True:
                frame = next_frame()
                if len(frame) < 4:
                    break
                how = None
                if len(wire.frames) > GREETINGS[wire.way]:
                    with self._lock:
                        how, self._tamper = self._tamper, None
                if how is None:
                    wire.send(frame)
                else:
                    how(wire, frame, next_frame)
                    self.tampered.set()
        for each in (wire.into, source):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
