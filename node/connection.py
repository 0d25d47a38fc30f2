"""One client connection: a socket, an unsent tail, and what epoll is asked about it.

There may be a hundred thousand of these, so a waiting one is nothing but a
slotted object in the reactor's table: no task, no buffer, no parser. What a
client sends is the business of the subclasses (HTTP, WebSocket).

No `OSError` of a client's socket leaves this module: the connection is gone,
and its protocol is told so once, by `on_lost`.
"""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING, Any, Final, Protocol

from node.errors import SlowConsumerError

if TYPE_CHECKING:
    from node.reactor import Reactor

READ: Final = int(select.EPOLLIN)
WRITE: Final = int(select.EPOLLOUT)
BROKEN: Final = int(select.EPOLLERR | select.EPOLLHUP)

MAX_TAIL: Final = 1024 * 1024  # bytes kept for a client that does not read
READ_SIZE: Final = 64 * 1024  # bytes asked of a socket at once
LINGER: Final = 5.0  # seconds for a client to read our last words
LINGER_BYTES: Final = 16 * 1024 * 1024  # bytes read and dropped meanwhile

_CLOSED: Final = -1  # `interest` of a closed connection whose protocol is still to be told
_TOLD: Final = -2
_GONE: Final = bytearray()  # the tail of a connection that takes nothing more


class ClientSocket(Protocol):
    """What a connection needs of a socket; the seam where TLS fits.

    `recv` and `send` are those of a non-blocking socket: they raise
    BlockingIOError when they cannot go on, another OSError when it is over.
    """

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | bytearray, /) -> int: ...
    def fileno(self) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...
    def getpeername(self) -> Any: ...  # noqa: ANN401 - its form depends on the family


class Connection:
    """A registered client connection; subclasses say what its bytes mean.

    `owner` belongs to the protocol above (a session, an exchange); `seen` is
    the reactor's clock (whole seconds) when the client last did something.
    """

    __slots__ = ("_held", "_tail", "interest", "owner", "reactor", "seen", "sock")

    def __init__(self, reactor: Reactor, sock: ClientSocket) -> None:
        self.reactor = reactor
        self.sock = sock
        self.owner: object | None = None
        self.seen = reactor.clock
        self.interest = READ
        self._tail: bytearray | None = None
        self._held = 0  # bytes, as told to `hold`

    # -- for the protocol above ---------------------------------------------------

    @property
    def writable(self) -> bool:
        """The connection is open and nothing waits to be sent."""
        return self._tail is None

    @property
    def closed(self) -> bool:
        """Whether this object has no connection any more."""
        return self.interest < 0

    @property
    def peer_host(self) -> str:
        """The client's IP address as text; empty where there is none (any more)."""
        try:
            name = self.sock.getpeername()
        except OSError:
            return ""
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def secure(self) -> bool:
        """Whether what the client sends and gets is encrypted on its way here."""
        return bool(getattr(self.sock, "secure", False))

    def send(self, data: bytes) -> bool:
        """Send: True if the kernel took it all, False if a tail is kept or the client has gone.

        A kept tail is sent when the socket drains (`writable` turns true again).
        Raises SlowConsumerError when a tail waits already and would pass MAX_TAIL
        bytes; the data is then dropped whole, so the connection is fit to be closed only.
        """
        tail = self._tail
        if tail is None:
            self.try_send(data)
            return self._tail is None
        if tail is _GONE:
            return False
        if len(tail) + len(data) > MAX_TAIL:
            raise SlowConsumerError(f"{len(tail)} bytes wait for a client that does not read")
        tail += data
        return False

    def try_send(self, data: bytes) -> bool:
        """Send if nothing waits to be sent; False: something does, and nothing was sent.

        True where the client has gone, too. For what runs once a reader of a group.
        """
        if self._tail is not None:
            return False
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return True
        if sent != len(data):
            self._keep(data, sent)
        return True

    def close(self) -> None:
        """Close now; what is unsent is lost. The protocol is told in a later turn."""
        if self.interest >= 0:
            self._shut()
            self.reactor.again(self)

    def finish(self, timeout: float = LINGER) -> None:
        """Close with care: the tail is sent, and the client given `timeout` seconds to read it.

        A plain close with unread input makes the kernel send a reset, which can
        overtake the answer. This object counts as closed at once.
        """
        if self.interest < 0:
            return
        if self._tail is _GONE:
            self.close()
            return
        Lingering(self.reactor, self.sock).take_over(self, timeout)
        self.interest = _CLOSED
        self.reactor.again(self)

    # -- for the reactor ------------------------------------------------------------

    def on_event(self, mask: int) -> None:
        """Epoll reports something other than plain input."""
        if mask & WRITE:
            self._flush()
        if self.interest >= 0:
            if mask & self.interest & READ:
                self.on_readable()
            elif mask & BROKEN:
                self.lost()

    def on_readable(self) -> None:
        """Input has come, or its end."""
        raise NotImplementedError

    def on_drained(self) -> None:
        """The kept tail has been sent."""

    def on_again(self) -> None:
        """A later turn, as asked of `Reactor.again`."""
        if self.interest == _CLOSED:
            self.interest = _TOLD
            self.on_lost()
        elif self._tail is _GONE:
            self.lost()

    def on_sweep(self, clock: int) -> None:
        """Every few seconds: is the client still there? `clock` as the reactor's."""

    def on_deadline(self) -> None:
        """The deadline set with `Reactor.set_deadline` has passed."""
        self.lost()

    def on_failure(self, error: Exception) -> None:
        """Something raised while this connection was served (it has been logged)."""
        del error
        self.close()

    def on_lost(self) -> None:
        """The connection is over, whoever ended it. Called once."""

    # -- for subclasses ---------------------------------------------------------------

    def read(self, size: int = READ_SIZE) -> bytes:
        """What there is to read, up to `size` bytes; empty if nothing, or if all is over."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if data:
            self.seen = self.reactor.clock
        else:
            self.lost()
        return data

    def lost(self) -> None:
        """The client has gone: let go of the socket and tell the protocol."""
        if self.interest >= 0:
            self._shut()
            self.interest = _TOLD
            self.on_lost()

    def vanished(self) -> None:
        """As `lost`, where the reactor and the socket have let go already."""
        self.interest = _TOLD
        self._tail = _GONE
        self.on_lost()

    def take_over(self, other: Connection) -> None:
        """Become the connection that `other` has been (its socket is ours already)."""
        other.hold(0)
        self.interest = other.interest
        self._tail = other._tail
        other.interest = _TOLD  # (there is nothing to tell)
        other._tail = _GONE
        self.reactor.replace(other, self)

    def hold(self, size: int) -> bool:
        """Account for `size` bytes kept of a request or message that is not complete.

        False if that is more than before, and all connections together keep more
        than the reactor's bound: this one should be refused.
        """
        if self.interest < 0:
            size = 0
        stats = self.reactor.stats
        more = size > self._held
        stats.partial_bytes += size - self._held
        self._held = size
        return not more or stats.partial_bytes <= self.reactor.max_partial

    def pause_reading(self) -> None:
        """Leave further input in the kernel."""
        self.reactor.set_interest(self, self.interest & ~READ)

    def resume_reading(self) -> None:
        self.reactor.set_interest(self, self.interest | READ)

    def _flush(self) -> None:
        tail = self._tail
        if not tail:
            return
        try:
            sent = self.sock.send(tail)
        except BlockingIOError:
            return
        except OSError:
            self.lost()
            return
        self.seen = self.reactor.clock
        del tail[:sent]
        if not tail:
            self._tail = None
            self.reactor.set_writable_interest(self, False)
            self.on_drained()

    def _keep(self, data: bytes, sent: int) -> None:
        """The kernel has taken only the first `sent` bytes."""
        self._tail = bytearray(memoryview(data)[sent:])
        self.reactor.set_writable_interest(self, True)

    def _break(self) -> None:
        # Not `lost` at once: the sender may be walking over all its readers.
        self._tail = _GONE
        self.reactor.again(self)

    def _shut(self) -> None:
        self.reactor.unregister(self)
        self.interest = _CLOSED
        self._tail = _GONE
        self.hold(0)
        self.sock.close()


class Lingering(Connection):
    """The rest of a finished connection: sends the tail and drops input until the client goes."""

    __slots__ = ("_left",)

    def take_over(self, other: Connection, timeout: float = LINGER) -> None:
        super().take_over(other)
        self._left = LINGER_BYTES
        self.reactor.set_deadline(self, timeout)
        if not self.interest & READ:
            self.resume_reading()
        if self.writable:
            self.on_drained()

    def on_drained(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.lost()

    def on_readable(self) -> None:
        self._left -= len(self.read())
        if self._left < 0:
            self.lost()
