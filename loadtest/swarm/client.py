"""What all cheap clients share: one socket, a count of deliveries, how to fail."""

from __future__ import annotations

import errno
import os
import socket
from time import monotonic
from typing import TYPE_CHECKING, Final

from loadtest.swarm.bayeux import ADVICE_MARK, Refused, pause_of
from loadtest.swarm.frames import BadFrame
from loadtest.swarm.responses import BadResponse
from loadtest.swarm.sampler import WrongMessage, last_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler

READ_BYTES: Final = 16 * 1024
FAULTS: Final = (OSError, Refused, BadResponse, BadFrame, WrongMessage)

_IP_BIND_ADDRESS_NO_PORT: Final = 24  # linux/in.h: choose the port at connect(), not bind()


class Hangup(OSError):
    """The server closed the connection."""


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


class Client:
    """One TCP connection to the server under test; subclasses speak a transport."""

    __slots__ = ("buffer", "crowd", "deliveries", "pause", "sampler", "session", "sock")

    def __init__(self, crowd: Crowd, sampler: Sampler | None) -> None:
        self.crowd = crowd
        self.sampler = sampler
        self.deliveries = 0
        self.session = ""
        self.pause = 0.0  # seconds between connects, as the server last advised
        self.buffer = b""  # an incomplete response or frame
        self.sock = _new_socket()

    def start(self) -> None:
        """Begin to connect; `opened` follows from the loop."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        self.sock.bind((self.crowd.order.source, 0))
        status = self.sock.connect_ex((self.crowd.order.host, self.crowd.next_port()))
        if status not in {0, errno.EINPROGRESS}:
            self.fail(OSError(status, os.strerror(status)))
            return
        self.crowd.loop.watch(self.sock.fileno(), self._connected, writable=True)

    def start_again(self, seconds: float) -> None:
        """Connect anew after so long: the server takes nobody in now."""
        self.crowd.turned_away += 1
        self._disconnect()
        self.sock, self.buffer = _new_socket(), b""
        self.crowd.loop.call_at(monotonic() + seconds, self.start)

    def _connected(self) -> None:
        status = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self.fail(OSError(status, os.strerror(status)))
            return
        self.crowd.loop.watch_readable(self.sock.fileno(), self._hung_up)
        self.guard(self.opened)

    def opened(self) -> None:
        """The connection stands: say the first thing."""
        raise NotImplementedError

    def guard(self, step: Callable[[], None]) -> None:
        """Run a step of the set-up; a protocol fault fails this client alone."""
        try:
            step()
        except FAULTS as error:
            self.fail(error)

    def expect(self, step: Callable[[], None]) -> None:
        """Run `step`, guarded, whenever there is something to read."""
        self.crowd.loop.replace(self.sock.fileno(), lambda: self.guard(step))

    def _hung_up(self) -> None:
        self.fail(Hangup("closed before it was asked anything"))

    def send(self, data: bytes) -> None:
        """Send all of a small request; the kernel's buffer is known to be empty enough."""
        if self.sock.send(data) != len(data):
            raise OSError(errno.ENOBUFS, "the kernel took half a request")

    def receive(self) -> bytes:
        """What has come, at most `READ_BYTES`, after what was kept. Raises `Hangup` at the end."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise Hangup("closed by the server")
        self.crowd.received_bytes += len(data)
        if self.buffer:
            data = self.buffer + data
            self.buffer = b""
        return data

    def after_pause(self, answer: bytes, step: Callable[[], None]) -> None:
        """Run `step` once the pause is over that the server's advice asks for: now, as a rule.

        As stock clients have it: what was advised holds until something else is. `answer`: the
        last one, with or without advice.
        """
        if ADVICE_MARK in answer:
            told = pause_of(answer)
            if told is not None:
                self.pause = told
        if self.pause:
            self.crowd.loop.call_at(monotonic() + self.pause, lambda: self._resume(step))
        else:
            step()

    def _resume(self, step: Callable[[], None]) -> None:
        if self.sock.fileno() >= 0:  # it was not lost while it waited
            self.guard(step)

    def count(self, number: int, data: bytes = b"") -> None:
        """Note `number` deliveries, the whole ones in `data`."""
        self.deliveries += number
        crowd = self.crowd
        if crowd.order.numbered and last_number(data) != self.deliveries:
            self.fail(WrongMessage(f"message {last_number(data)} after {self.deliveries} in all"))
            return
        crowd.deliveries += number
        if crowd.deliveries >= crowd.goal:
            crowd.reach()

    def fail(self, error: Exception) -> None:
        """Give this client up and say why."""
        self._disconnect()
        self.crowd.client_failed(self, f"{type(error).__name__}: {error}")

    def _disconnect(self) -> None:
        self.crowd.loop.forget(self.sock.fileno())
        self.sock.close()
