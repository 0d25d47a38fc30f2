"""How messages are read from one client's WebSocket.

    OPEN ◄──► BACKLOG              more frames have come than one turn may take
      ├──► CLOSING ──► DONE        we sent a close frame, and wait for the client's
      └──────────────► DONE        the client closed, broke a rule, or went away

A text message that comes whole, in one masked frame within one read, is
unmasked (and inflated) and handed on. Everything else goes through a
`FrameMachine` (wsproto), which lives only until it has nothing to remember.
Acting on what has been read, and sending, is the subclass's part.
"""

from __future__ import annotations

import zlib
from time import perf_counter
from typing import TYPE_CHECKING, Final

from node.connection import ClientSocket, Connection
from node.errors import RemoteProtocolError
from node.websocket import frames
from node.websocket.deflate import DEFLATED_TEXT, TooMuchError, inflate
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
TURN: Final = 0.002  # seconds of the same, from the second frame on
UNREAD: Final = 64 * 1024  # bytes that wait for a client, beyond which it is not read from


class MessageReader(Connection):
    """Turns input into messages and control frames."""

    __slots__ = ("_machine", "_partial", "_settings", "_state", "_window")

    def __init__(
        self, reactor: Reactor, sock: ClientSocket, settings: WebSocketSettings, window: int
    ) -> None:
        """`window`: bits of the client's window for deflated frames; 0: not agreed."""
        super().__init__(reactor, sock)
        self._settings = settings
        self._window = window
        self._state = OPEN
        self._partial = b""  # part of a frame's header; in BACKLOG, frames to be read
        self._machine: FrameMachine | None = None

    def _hand_over(self, text: bytes) -> None:
        """A whole text message, valid UTF-8."""
        raise NotImplementedError

    def _take(self, machine: FrameMachine, event: Event) -> None:
        """What the machine has read."""
        raise NotImplementedError

    def _fail(self, code: int, reason: str) -> None:
        """The client broke a rule."""
        raise NotImplementedError

    def _end(self) -> None:
        """All is said."""
        raise NotImplementedError

    def on_readable(self) -> None:
        if self._state == BACKLOG:
            return  # what has been read comes first; epoll will say again that there is more
        if self._tail is not None and len(self._tail) > UNREAD and self._state == OPEN:
            self.pause_reading()  # until it reads: its answers pile up
            return
        data = self.read()
        if data and self._state != DONE:
            self._receive(self._partial + data if self._partial else data)

    def on_again(self) -> None:
        if self._state == BACKLOG and not self.closed:
            self._state = OPEN
            self._receive(self._partial)
        super().on_again()

    @property
    def _live(self) -> bool:
        return self._state != DONE and self.interest >= 0

    def _receive(self, data: bytes) -> None:
        """Read the frames in `data`, which begins where one does, or where the machine is."""
        watched = bool(self._partial) or self._machine is not None
        renewed = not watched  # what is unfinished at the end was begun in this read
        pos, end, left = 0, len(data), FRAMES_A_TURN
        stop = 0.0
        while pos < end and left and self._live:
            left -= 1
            if pos:
                stop = stop or perf_counter() + TURN
                if perf_counter() > stop:
                    left = 0
                if self._machine is None:
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
            self._account()

    def _account(self) -> None:
        """Tell what is kept of a message; refuse it if the node keeps too much of them."""
        machine = self._machine
        held = len(self._partial) if machine is None else len(self._partial) + machine.held
        if held != self._held and not self.hold(held) and self._state == OPEN:
            self.reactor.stats.partial_refused["websocket"] += 1
            self._fail(CloseCode.TRY_AGAIN_LATER, "too much is being received, retry")

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
            moved = self._read_quick(data, pos)
            if moved != pos or not frames.has_header(data, pos):
                return moved
            inflates = self._window > 0
            machine = self._machine = FrameMachine(self._settings.max_message, inflates=inflates)
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

    def _read_quick(self, data: bytes, pos: int) -> int:
        """Read one frame, if no parser is needed for it; else `pos`."""
        quick = frames.quick_text(data, pos)
        if quick is not None:
            start, stop = quick
            self._take_quick(frames.unmask(data, start, stop - start))
            return stop
        if self._window:
            quick = frames.quick_text(data, pos, DEFLATED_TEXT)
            if quick is not None:
                start, stop = quick
                self._take_deflated(frames.unmask(data, start, stop - start))
                return stop
        return frames.quick_pong(data, pos) or pos

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

    def _take_deflated(self, data: bytes) -> None:
        limit = self._settings.max_message
        try:
            text = inflate(data, limit)
        except TooMuchError:
            self._fail(CloseCode.TOO_BIG, f"a message may have {limit} bytes")
        except zlib.error:
            self._fail(CloseCode.INVALID_TEXT, "not deflated as RFC 7692 says")
        else:
            self._take_quick(text)
