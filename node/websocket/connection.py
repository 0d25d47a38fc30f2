"""A client's WebSocket after the handshake: what is sent, how it is kept alive, how it ends.

Silence is watched by the reactor's sweep: no timer, no task. A client that does
not read what it is sent is not read from either (`node.websocket.reader`); one
that lets more than the bound pile up all the same is closed (1008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from node.connection import READ, ClientSocket
from node.errors import RemoteProtocolError, SlowConsumerError
from node.websocket import frames
from node.websocket.deflate import REACH, WORTHWHILE, deflated_frame
from node.websocket.frames import CloseCode
from node.websocket.reader import BACKLOG, CLOSING, DONE, OPEN, MessageReader

if TYPE_CHECKING:
    from wsproto.events import Event

    from node.reactor import Reactor
    from node.websocket.machine import FrameMachine
    from node.websocket.settings import WebSocketSettings


class SharedText(Protocol):
    """A text message for many readers, whose frames are built when first asked for."""

    @property
    def size(self) -> int:
        """Bytes of its payload."""

    @property
    def frame(self) -> bytes: ...

    @property
    def deflated(self) -> bytes: ...


class WebSocketReceiver(Protocol):
    """What the protocol above gives to a WebSocket. Nothing here may wait.

    A receiver may also have `handle_binary(ws, data: bytes)`; without it a
    binary message closes the connection with 1003.
    """

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        """One whole message, valid UTF-8. A RemoteProtocolError raised here closes with 1008."""

    def connection_lost(self, ws: WebSocketConnection) -> None:
        """Nothing more will be received or sent: called once, whoever ended it.

        After this side's own `close` or `close_with` it is not called from within it.
        """

    def handle_writable(self, ws: WebSocketConnection) -> None:
        """A kept tail has drained."""


class WebSocketConnection(MessageReader):
    """A client connection that speaks WebSocket."""

    __slots__ = ("_receiver", "mark", "origin")

    transport: ClassVar[Literal["websocket"]] = "websocket"

    def __init__(
        self,
        reactor: Reactor,
        sock: ClientSocket,
        receiver: WebSocketReceiver,
        settings: WebSocketSettings,
        *,
        window: int = 0,
    ) -> None:
        """`window`: bits of the client's window for deflated frames; 0: not agreed."""
        super().__init__(reactor, sock, settings, window)
        self._receiver: WebSocketReceiver | None = receiver  # None once it has been told the end
        self.origin = ""  # where it came from, where that is counted (likewise)
        self.mark = b""  # what the handshake showed of its browser (the protocol above's own)

    # -- for the protocol above -------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Messages may be sent, and nothing waits to be sent."""
        return self._tail is None and self._state <= BACKLOG

    @property
    def closing(self) -> bool:
        """A close has begun, or all is over."""
        return self._state > BACKLOG or self.closed

    @property
    def quiet(self) -> bool:
        """No message is half read or half sent."""
        waits = self._partial or self._machine is not None
        return self._state == OPEN and not waits and self._tail is None

    def send_frame(self, frame: bytes) -> bool:
        """Send a prebuilt `text_frame`: True if the kernel took it all.

        Nothing is sent once a close has begun. A client that has not read what
        waits for it already is closed, if this is more than the bound allows.
        """
        if self._state > BACKLOG:
            return False
        try:
            return self.send(frame)
        except SlowConsumerError:
            self._cut_off()
            return False

    def offer(self, wire: SharedText) -> bool:
        """Send a message that others get, too, in the form that was agreed, if this is `writable`.

        False: it is not, and nothing was sent.
        """
        if self._state > BACKLOG:
            return False
        fits = self._window and wire.size <= REACH[self._window]
        return self.try_send(wire.deflated if fits else wire.frame)

    def send_text(self, text: bytes) -> bool:
        """Send a text message (UTF-8). As `send_frame`."""
        if self._window and len(text) >= WORTHWHILE:
            return self.send_frame(deflated_frame(text, self._window))
        return self.send_frame(frames.text_frame(text))

    def close_with(self, code: int, reason: str = "") -> None:
        """Begin the close handshake; nothing is received or sent any more.

        `code` is a CloseCode or one of 3000-4999; `reason` is cut at 123 bytes.
        """
        if self._state >= CLOSING or self.closed:
            return
        self._state = CLOSING
        self.reactor.set_deadline(self, self._settings.close_timeout)
        self.reactor.again(self)
        self._read_on()
        self._say_last(frames.close_frame(code, reason))

    def part(self, code: int, reason: str = "") -> None:
        """Close as `close_with` does, and end this half of the connection with it.

        What a client sends until it knows is lost to it. Most take the connection for
        open until it ends, even after the close frame; so the end comes with the frame
        (RFC 6455 section 7.1.1 has the server close first), and not a round trip later.
        """
        if self._state <= BACKLOG:
            self._fail(code, reason)

    def start(self, answer: bytes, ahead: bytes) -> None:
        """Answer the handshake. `ahead`: what the client sent behind it."""
        self._read_on()
        self.send(answer)
        if ahead:
            self._partial = ahead
            self._state = BACKLOG
            self.reactor.again(self)

    # -- receiving -----------------------------------------------------------------------

    def on_again(self) -> None:
        if self._state == CLOSING:
            self._tell()
        super().on_again()

    def _hand_over(self, text: bytes) -> None:
        if self._receiver is not None and self._state <= BACKLOG:
            try:
                self._receiver.handle_text(self, text)
            except RemoteProtocolError as error:
                self.close_with(CloseCode.POLICY_VIOLATION, str(error))

    def _take(self, machine: FrameMachine, event: Event) -> None:
        """Act on what the machine has read."""
        if isinstance(event, TextMessage):
            self._hand_over(event.data.encode())
        elif isinstance(event, CloseConnection):
            if not machine.closed_by_peer:
                self._fail(event.code, event.reason or "")
            else:
                if self._state <= BACKLOG:
                    self._say(machine.answer(event.response()))
                self._end()
        elif self._state <= BACKLOG:
            if isinstance(event, Ping):
                self._say(machine.answer(event.response()))
            elif isinstance(event, BytesMessage):
                self._take_binary(bytes(event.data))

    def _take_binary(self, data: bytes) -> None:
        handle = getattr(self._receiver, "handle_binary", None)
        if handle is None:
            self.close_with(CloseCode.UNSUPPORTED_DATA, "text messages only")
        else:
            handle(self, data)

    # -- ending --------------------------------------------------------------------------

    def _say(self, frame: bytes) -> None:
        """Send a control frame; a client that leaves no room for one is cut off."""
        try:
            self.send(frame)
        except SlowConsumerError:
            self._cut_off()

    def _say_last(self, frame: bytes) -> None:
        """Send a close frame; the bound does not apply to the last few bytes."""
        try:
            self.send(frame)
        except SlowConsumerError:
            if self._tail:
                self._tail += frame

    def _cut_off(self) -> None:
        """The client does not read: say so behind what waits already, and leave it a moment."""
        self.reactor.stats.slow_consumers["close"] += 1
        self._fail(CloseCode.POLICY_VIOLATION, "too slow")

    def _read_on(self) -> None:
        if not self.interest & READ:
            self.resume_reading()

    def _fail(self, code: int, reason: str) -> None:
        """The client broke a rule (RFC 6455 section 7.1.7)."""
        if self._state <= BACKLOG:
            self._say_last(frames.close_frame(code, reason))
        self._end()

    def _end(self) -> None:
        self._state = DONE
        self._machine = None
        self._partial = b""
        self.finish()

    def on_drained(self) -> None:
        self._read_on()
        if self._receiver is not None and self._state <= BACKLOG:
            self._receiver.handle_writable(self)

    def on_sweep(self, clock: int) -> None:
        silence = clock - self.seen
        settings = self._settings
        if silence >= settings.ping_interval and self._state <= BACKLOG:
            if silence >= settings.ping_interval + settings.pong_timeout:
                if self._tail is not None:  # it is there, perhaps, but it does not read
                    self.reactor.stats.slow_consumers["close"] += 1
                self._fail(CloseCode.INTERNAL_ERROR, "no answer to pings")
            else:
                # One a round until it answers: cheaper than remembering that one was sent.
                self._say(frames.PING)

    def on_deadline(self) -> None:
        self._fail(CloseCode.POLICY_VIOLATION, "the message came too slowly")

    def on_failure(self, error: Exception) -> None:
        del error
        self._fail(CloseCode.INTERNAL_ERROR, "internal error")

    def on_lost(self) -> None:
        self._state = DONE
        self._machine = None
        self._partial = b""
        self.reactor.stats.connections["websocket"] -= 1
        self._tell()

    def _tell(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(self)
