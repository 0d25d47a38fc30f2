"""A response without end: server-sent events (WHATWG HTML, section 9.2).

The connection has become one that only sends. Nothing waits for it: what is
sent is prebuilt, and comments that keep proxies from giving up come with the
reactor's sweep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

from node.connection import READ, Connection
from node.errors import SlowConsumerError
from node.http.responses import LAST_CHUNK, stream_chunk, stream_start, unchunk, with_lines

if TYPE_CHECKING:
    from node.connection import ClientSocket
    from node.http.service import HttpSettings
    from node.reactor import Reactor

COMMENT: Final = stream_chunk(b":\n\n")
_START: Final = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))
_DROPPED: Final = 4 * 1024  # bytes of useless input read at once
_SWEEP: Final = 5  # seconds between looks, at most (reactor.ROUND)


class EventReceiver(Protocol):
    """What the protocol above gives to a stream. Nothing here may wait."""

    def connection_lost(self, stream: EventStream) -> None:
        """Nothing more will be sent: called once, whoever ended it, never from within `close…`."""

    def handle_writable(self, stream: EventStream) -> None:
        """A kept tail has drained."""


class EventStream(Connection):
    """A client that reads events. `form` and `reader` belong to the protocol above."""

    __slots__ = ("_chunked", "_receiver", "_settings", "form", "reader")

    transport: ClassVar[Literal["sse"]] = "sse"

    def __init__(
        self,
        reactor: Reactor,
        sock: ClientSocket,
        receiver: EventReceiver,
        settings: HttpSettings,
    ) -> None:
        super().__init__(reactor, sock)
        self.form = 0
        self.reader: Any = None
        self._receiver = receiver
        self._settings = settings
        self._chunked = True

    def start(self, first: bytes, lines: bytes, *, chunked: bool) -> None:
        """Send the response's head with more header `lines`, and the first events."""
        self._chunked = chunked
        if not self.interest & READ:
            self.resume_reading()
        head = with_lines(stream_start("text/event-stream", _START, chunked=chunked), lines)
        self.send(head + (stream_chunk(first) if chunked else first))

    def send_chunk(self, chunk: bytes) -> bool:
        """Send a prebuilt `stream_chunk`, which many readers may share. As `send`."""
        return self.send(chunk if self._chunked else unchunk(chunk))

    def offer(self, chunk: bytes) -> bool:
        """As `send_chunk`, if this is `writable`. False: it is not, and nothing was sent."""
        return self.try_send(chunk if self._chunked else unchunk(chunk))

    def close_with(self, code: int, reason: str) -> None:
        """End the stream; the client comes back by itself, and cannot be told why."""
        del code, reason
        if self.closed:
            return
        if self._chunked:
            try:
                self.send(LAST_CHUNK)
            except SlowConsumerError:
                self.close()
                return
        self.finish()

    def on_readable(self) -> None:
        self.read(_DROPPED)

    def on_drained(self) -> None:
        self._receiver.handle_writable(self)

    def on_sweep(self, clock: int) -> None:
        silence = clock - self.seen
        if not self.writable:
            if silence > self._settings.idle_timeout:
                self.reactor.stats.slow_consumers["close"] += 1
                self.lost()
        elif silence + _SWEEP > self._settings.keep_alive:
            self.seen = clock
            self.send_chunk(COMMENT)

    def on_lost(self) -> None:
        self.reactor.stats.connections["sse"] -= 1
        self._receiver.connection_lost(self)
