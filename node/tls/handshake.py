"""From an accepted socket to an encrypted one, without waiting anywhere.

    first byte ──► a TLS record ──► handshake ──► handed on, as if just accepted
               ├─► plain HTTP ────► told so (400), closed
               └─► anything else ─► closed

OpenSSL's state (tens of kilobytes during a handshake) is made only when the
first byte says that it will be needed: who connects and stays silent costs as
little as without TLS. All of it must be done within `HANDSHAKE_TIMEOUT`.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from node.connection import READ, WRITE, Connection
from node.http.responses import closing, error_body, response
from node.tls.socket import TlsSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.connection import ClientSocket
    from node.reactor import Reactor
    from node.tls.certificates import Certificates

HANDSHAKE_TIMEOUT: Final = 10.0  # seconds from the accept
ALERT_LINGER: Final = 1.0  # seconds for a client to read why its handshake failed
PLAIN_HTTP: Final = closing(response(400, error_body("bad_request", "use https on this port")))
WAITING: Final = "tls-handshake"  # such connections, among `Stats.connections`
_HANDSHAKE_RECORD: Final = b"\x16"  # RFC 8446 section 5.1


class TlsListener:
    """Takes accepted sockets to `adopt(conn)` (an `HttpService.adopt`), encrypted."""

    def __init__(
        self,
        reactor: Reactor,
        certificates: Certificates,
        adopt: Callable[[Connection], None],
        timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        self.reactor = reactor
        self.certificates = certificates
        self.adopt = adopt
        self._timeout = timeout

    def accept(self, sock: socket.socket) -> None:
        """Take an accepted, non-blocking socket."""
        waiting = TlsHandshake(self, sock)
        self.reactor.register(waiting)
        self.reactor.set_deadline(waiting, self._timeout)
        self.reactor.stats.connections[WAITING] += 1


class TlsHandshake(Connection):
    """A client connection until its handshake is done."""

    __slots__ = ("_listener",)

    def __init__(self, listener: TlsListener, sock: ClientSocket) -> None:
        super().__init__(listener.reactor, sock)
        self._listener = listener

    def on_event(self, mask: int) -> None:
        if mask & (READ | WRITE):
            self.on_readable()
        else:
            self._end("failed")
            self.lost()

    def on_readable(self) -> None:
        sock = self.sock
        if isinstance(sock, socket.socket):
            secure = self._begin(sock)
        else:
            secure = sock if isinstance(sock, TlsSocket) else None
        if secure is not None:
            self._go_on(secure)

    def _begin(self, sock: socket.socket) -> TlsSocket | None:
        """Look at the first byte. None: nothing to go on with (now)."""
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            first = b""
        if first == _HANDSHAKE_RECORD:
            return self._encrypt(sock)
        if first.isalpha():
            self._end("plain")
            self.send(PLAIN_HTTP)
            self.finish()
        else:
            self._end("failed")
            self.lost()
        return None

    def _encrypt(self, sock: socket.socket) -> TlsSocket | None:
        # Out of the reactor meanwhile: should the client vanish just now, wrap_socket
        # closes the descriptor that it was given.
        left = self.reactor.deadline(self)
        self.reactor.unregister(self)
        try:
            wrapped = self._listener.certificates.context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
        except OSError:
            sock.close()
            self._end("failed")
            self.vanished()
            return None
        self.sock = secure = TlsSocket(self.reactor, wrapped)
        self.reactor.register(self)
        self.reactor.set_deadline(self, left)
        return secure

    def _go_on(self, secure: TlsSocket) -> None:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            self.reactor.set_interest(self, READ)
        except ssl.SSLWantWriteError:
            self.reactor.set_interest(self, WRITE)
        except ssl.SSLEOFError:
            self._end("failed")
            self.lost()
        except ssl.SSLError:
            self._end("failed")
            self.finish(ALERT_LINGER)
        except OSError:
            self._end("failed")
            self.lost()
        else:
            self._end("ok")
            self.reactor.set_interest(self, READ)
            self.reactor.stats.connections[WAITING] -= 1
            self._listener.adopt(self)

    def _end(self, outcome: str) -> None:
        self.reactor.stats.tls_handshakes[outcome] += 1

    def on_deadline(self) -> None:
        self._end("timeout")
        self.lost()

    def on_lost(self) -> None:
        self.reactor.stats.connections[WAITING] -= 1
