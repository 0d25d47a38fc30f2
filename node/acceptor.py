"""Accepting clients: batches, a bound, and one descriptor kept for when there are none left.

At EMFILE a queued client can be neither served nor told, and the listening
socket stays readable: the loop would spin. So one descriptor is held in
reserve: it is given up to accept that client, which is closed at once.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import structlog
import trio

from node.http.responses import closing, error_body, response

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger()

BATCH: Final = 64  # clients accepted before others get a turn
SEND_BUFFER: Final = 64 * 1024  # bytes the kernel may hold for a slow reader
EXHAUSTED_PAUSE: Final = 0.05  # seconds without accepting when there are no descriptors
OVERLOADED: Final = closing(
    response(503, error_body("unavailable", "too many connections", retry=True))
)
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def open_listeners(
    host: str, port: int, *, backlog: int = 4096, reuse_port: bool = False
) -> list[socket.socket]:
    """Bound, listening, non-blocking sockets for every address of `host` ("" means all).

    Port 0 draws one port for all of them. Raises OSError.
    """
    found = await trio.socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            if listeners and port == 0:
                address = (address[0], listeners[0].getsockname()[1], *address[2:])  # noqa: PLW2901
            listeners.append(_listen(family, address, backlog, reuse_port))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen(
    family: int, address: tuple[object, ...], backlog: int, reuse_port: bool
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Linux: accepted sockets inherit both, which saves two calls a client.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


class Acceptor:
    """Hands accepted, non-blocking sockets to `accept(sock)` (an `HttpService.accept`)."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        accept: Callable[[socket.socket], None],
        count: Callable[[], int] = lambda: 0,
        max_connections: int = 1_000_000,
        refusal: bytes = OVERLOADED,
    ) -> None:
        """`count()` says how many connections there are; over `max_connections` they get `refusal`.

        Which is empty where clients expect TLS: a handshake costs more than they may have.
        """
        self._listeners = list(listeners)
        self._accept = accept
        self._count = count
        self._max = max_connections
        self._refusal = refusal
        self._reserve = _open_reserve()
        self._stopping = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept until `stop()` or cancelled; then close the listening sockets. Runs once."""
        try:
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(self._listen, listener)
                task_status.started()
                await self._stopping.wait()
                nursery.cancel_scope.cancel()
            if self._stopping.is_set():
                for listener in self._listeners:
                    while self._accept_batch(listener) == BATCH:
                        await trio.lowlevel.checkpoint()
        finally:
            for listener in self._listeners:
                listener.close()
            if self._reserve >= 0:
                os.close(self._reserve)

    def stop(self) -> None:
        """Stop listening; whom the kernel has already queued is still accepted."""
        self._stopping.set()

    async def _listen(self, listener: socket.socket) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener)
            while (accepted := self._accept_batch(listener)) == BATCH:
                await trio.lowlevel.checkpoint()
            if accepted < 0:
                await trio.sleep(EXHAUSTED_PAUSE)

    def _accept_batch(self, listener: socket.socket) -> int:
        """Accept up to BATCH clients. Returns how many, -1 if there are no descriptors."""
        for accepted in range(BATCH):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return accepted
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._turn_away(listener)
                    return -1
                continue  # that client has gone already (ECONNABORTED and the like)
            sock.setblocking(False)
            if self._count() >= self._max:
                _refuse(sock, self._refusal)
            else:
                self._accept(sock)
        return BATCH

    def _turn_away(self, listener: socket.socket) -> None:
        """Use the reserved descriptor to take one client off the queue and close it."""
        log.warning("out_of_descriptors", reserve=self._reserve >= 0)
        if self._reserve >= 0:
            os.close(self._reserve)
            try:
                sock, _ = listener.accept()
            except OSError:
                pass
            else:
                sock.close()
        self._reserve = _open_reserve()


def _refuse(sock: socket.socket, refusal: bytes = OVERLOADED) -> None:
    try:
        sock.send(refusal)
    except OSError:
        pass
    finally:
        sock.close()


def _open_reserve() -> int:
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
