"""A client's WebSocket after the handshake.

    OPEN ◄──► BACKLOG              more frames have come than one turn may take
      ├──► CLOSING ──► DONE        we sent a close frame, and wait for the client's
      └──────────────► DONE        the client closed, broke a rule, or went away

A text message that comes whole, in one masked frame within one read, is
unmasked and handed on. Everything else goes through a `FrameMachine` (wsproto),
which lives only until it has nothing to remember. Silence is watched by the
reactor's sweep: no timer, no task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from node.connection import READ, ClientSocket, Connection
from node.errors import RemoteProtocolError, SlowConsumerError
from node.websocket import frames
from node.websocket.frames import CloseCode
from node.websocket.machine import FrameMachine

if TYPE_CHECKING:
    from wsproto.events import Event

    from node.reactor import Reactor
    from node.websocket.settings import WebSocketSettings

OPEN: Final = 0
BACKLOG: Final = 1
CLOSING: Final = 2
DONE: Final = 3

FRAMES_A_TURN: Final = 64  # frames of one client that are read before others get a turn


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


class WebSocketConnection(Connection):
    """A client connection that speaks WebSocket."""

    __slots__ = ("_machine", "_partial", "_receiver", "_settings", "_state", "mark")

    transport = "websocket"

    def __init__(
        self,
        reactor: Reactor,
        sock: ClientSocket,
        receiver: WebSocketReceiver,
        settings: WebSocketSettings,
    ) -> None:
        super().__init__(reactor, sock)
        self._receiver: WebSocketReceiver | None = receiver  # None once it has been told the end
        self._settings = settings
        self._state = OPEN
        self._partial = b""  # part of a frame's header; in BACKLOG, frames to be read
        self._machine: FrameMachine | None = None
        self.mark = b""  # what the handshake showed of its browser (the protocol above's own)

    # -- for the protocol above -------------------------------------------------------

    @property
    def writable(self) -> bool:
        """Messages may be sent, and nothing waits to be sent."""
        return self._tail is None and self._state <= BACKLOG

    def send_frame(self, frame: bytes) -> bool:
        """Send a prebuilt `text_frame`. As `send`; nothing (False) once a close has begun."""
        return self._state <= BACKLOG and self.send(frame)

    def send_text(self, text: bytes) -> bool:
        """Send a text message (UTF-8). As `send_frame`."""
        return self._state <= BACKLOG and self.send(frames.text_frame(text))

    def close_with(self, code: int, reason: str = "") -> None:
        """Begin the close handshake; nothing is received or sent any more.

        `code` is a CloseCode or one of 3000-4999; `reason` is cut at 123 bytes.
        """
        if self._state >= CLOSING or self.closed:
            return
        self._state = CLOSING
        self.reactor.set_deadline(self, self._settings.close_timeout)
        self.reactor.again(self)
        self._say(frames.close_frame(code, reason))

    def start(self, answer: bytes, ahead: bytes) -> None:
        """Answer the handshake. `ahead`: what the client sent behind it."""
        if not self.interest & READ:
            self.resume_reading()
        self.send(answer)
        if ahead:
            self._partial = ahead
            self._state = BACKLOG
            self.reactor.again(self)

    # -- receiving -----------------------------------------------------------------------

    def on_readable(self) -> None:
        if self._state == BACKLOG:
            return  # what has been read comes first; epoll will say again that there is more
        data = self.read()
        if data and self._state != DONE:
            self._receive(self._partial + data if self._partial else data)

    def on_again(self) -> None:
        if self._state == BACKLOG and not self.closed:
            self._state = OPEN
            self._receive(self._partial)
        elif self._state == CLOSING:
            self._tell()
        super().on_again()

    @property
    def _live(self) -> bool:
        return self._state != DONE and self.interest >= 0

    def _receive(self, data: bytes) -> None:
        """Read the frames in `data`, which begins where one does, or where the machine is."""
        watched = bool(self._partial) or self._machine is not None
        renewed = not watched  # what is unfinished at the end was begun in this read
        pos, end, left = 0, len(data), FRAMES_A_TURN
        while pos < end and left and self._live:
            left -= 1
            if pos and self._machine is None:
                renewed = True
            moved = self._read_frame(data, pos)
            if moved == pos:
                break
            pos = moved
        if not self._live:
            self._partial = b""
            return
        self._partial = data[pos:]
        if self._partial and not left:
            self._put_off()
        if self._state <= BACKLOG:
            self._watch(watched, renewed)

    def _put_off(self) -> None:
        if self._state == CLOSING:
            self._end()  # it had its chance to answer our close frame
        else:
            self._state = BACKLOG
            self.reactor.again(self)

    def _watch(self, watched: bool, renewed: bool) -> None:
        """Limit the time that a message may be under way."""
        if not self._partial and self._machine is None:
            if watched:
                self.reactor.clear_deadline(self)
        elif renewed:
            self.reactor.set_deadline(self, self._settings.message_timeout)

    def _read_frame(self, data: bytes, pos: int) -> int:
        """Read (the rest of) one frame. Returns where the next begins, `pos` to wait for more."""
        machine = self._machine
        if machine is None:
            quick = frames.quick_text(data, pos)
            if quick is not None:
                start, stop = quick
                self._take_quick(frames.unmask(data, start, stop - start))
                return stop
            stop = frames.quick_pong(data, pos)
            if stop:
                return stop
            if not frames.has_header(data, pos):
                return pos
            machine = self._machine = FrameMachine(self._settings.max_message)
        try:
            moved, events = machine.feed(data, pos)
        except RemoteProtocolError as error:
            self._fail(CloseCode.TOO_BIG, str(error))
            return len(data)
        for event in events:
            if self._live:
                self._take(machine, event)
        if machine.idle:
            self._machine = None
        return moved

    def _take_quick(self, text: bytes) -> None:
        if len(text) > self._settings.max_message:
            self._fail(CloseCode.TOO_BIG, f"a message may have {self._settings.max_message} bytes")
            return
        if not text.isascii():
            try:
                text.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_TEXT, "not UTF-8")
                return
        self._hand_over(text)

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
            self.reactor.stats.slow_consumers["close"] += 1
            self.close()

    def _fail(self, code: int, reason: str) -> None:
        """The client broke a rule (RFC 6455 section 7.1.7)."""
        if self._state <= BACKLOG:
            self._say(frames.close_frame(code, reason))
        self._end()

    def _end(self) -> None:
        self._state = DONE
        self._machine = None
        self._partial = b""
        self.finish()

    def on_drained(self) -> None:
        if self._receiver is not None and self._state <= BACKLOG:
            self._receiver.handle_writable(self)

    def on_sweep(self, clock: int) -> None:
        silence = clock - self.seen
        settings = self._settings
        if silence >= settings.ping_interval and self._state <= BACKLOG:
            if silence >= settings.ping_interval + settings.pong_timeout:
                self._fail(CloseCode.INTERNAL_ERROR, "no answer to pings")
            else:
                # One a round until it answers: cheaper than remembering that one was sent.
                self._say(frames.PING)

    def on_deadline(self) -> None:
        self._fail(CloseCode.POLICY_VIOLATION, "the message came too slowly")

    def on_failure(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self.close()
        else:
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
