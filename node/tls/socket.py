"""A client's socket that encrypts, for `node.connection`: non-blocking like any other.

OpenSSL works on the descriptor itself, record by record, so what has not been
read stays in the kernel, where epoll sees it. Only the rest of a record that
was asked for in part is out of epoll's sight: the reactor is told of that.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from node.reactor import Reactor


class TlsSocket:
    """Implements `node.connection.ClientSocket` on an `ssl.SSLSocket`."""

    __slots__ = ("_reactor", "_sock")

    secure: Final = True

    def __init__(self, reactor: Reactor, sock: ssl.SSLSocket) -> None:
        """`sock` is non-blocking, and has no handshake behind it."""
        self._reactor = reactor
        self._sock = sock

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises SSLWantReadError, SSLWantWriteError, OSError."""
        self._sock.do_handshake()

    def recv(self, size: int, /) -> bytes:
        try:
            data = self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        if self._sock.pending():
            self._reactor.unread(self)
        return data

    def send(self, data: bytes | bytearray, /) -> int:
        """Send as much as the kernel takes; what it refuses must be sent again as it is."""
        size = len(data)
        sent = 0
        try:
            sent = self._sock.send(data) if size else 0
            while sent < size:  # OpenSSL writes a record (16 KiB) a call
                sent += self._sock.send(memoryview(data)[sent:])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not sent:
                raise BlockingIOError from None
        return sent

    def pending(self) -> int:
        """Bytes that are decrypted and wait to be read."""
        return self._sock.pending()

    def fileno(self) -> int:
        return self._sock.fileno()

    def shutdown(self, how: int, /) -> None:
        """Say that nothing more comes, in TLS and in TCP. Input is not decrypted any more."""
        self._say_goodbye()
        self._sock.shutdown(how)

    def close(self) -> None:
        self._say_goodbye()
        self._sock.close()

    def getpeername(self) -> Any:  # noqa: ANN401 - its form depends on the family
        return self._sock.getpeername()

    def _say_goodbye(self) -> None:
        """Send close_notify, if that can be done at once (RFC 8446 section 6.1)."""
        with suppress(OSError, ValueError):
            self._sock.unwrap()
