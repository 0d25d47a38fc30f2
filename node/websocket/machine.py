"""Frames that are not read the short way: fed to wsproto, one at a time.

Only wsproto decides what a frame means and whether it may be. This module
knows where frames end, so that it can tell when the parser has nothing to
remember; the connection then drops it, because an idle one costs kilobytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsproto.connection import Connection as FrameParser
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from node.errors import RemoteProtocolError
from node.websocket.deflate import Inflation
from node.websocket.frames import OPCODE, has_header, header_size, payload_size

if TYPE_CHECKING:
    from wsproto.events import Event
    from wsproto.extensions import Extension

_CONTROL = 0x8  # the bit that control opcodes have
_CONTINUATION = 0x0


class FrameMachine:
    """Reads frames from the first that is unusual to the end of its message."""

    __slots__ = ("_announced", "_kept", "_limit", "_missing", "_most", "_parser", "in_message")

    def __init__(self, limit: int, *, inflates: bool = False) -> None:
        """`limit`: bytes of a message. `inflates`: permessage-deflate has been agreed."""
        extensions: list[Extension] = [Inflation(limit)] if inflates else []
        self._parser = FrameParser(ConnectionType.SERVER, extensions)
        self._limit = limit
        # What does not compress grows a little when deflated, and may still be announced.
        self._most = limit + (limit >> 8) + 64 if inflates else limit
        self._missing = 0  # bytes of the frame being read that have not come
        self._announced = 0  # bytes that the frames of the message being read announce
        self._kept = bytearray()  # what has come of the message being read; text as UTF-8
        self.in_message = False  # between a message's first frame and its last

    @property
    def idle(self) -> bool:
        """At a frame's end, and not within a message: this object has nothing to remember."""
        return not self._missing and not self.in_message

    @property
    def held(self) -> int:
        """Bytes kept of an unfinished message."""
        return len(self._kept)

    @property
    def closed_by_peer(self) -> bool:
        """A proper close frame has come; false after the parser's own complaint."""
        return self._parser.state is ConnectionState.REMOTE_CLOSING

    def feed(self, data: bytes, start: int) -> tuple[int, list[Event]]:
        """Read (the rest of) one frame at `start`.

        Returns where it read to, and the events: whole messages, and control
        frames. `start` unmoved means that the frame's header is not whole yet. A
        frame that must not be is a CloseConnection with the code that says why,
        while `closed_by_peer` is false; nothing may be fed after it.

        Raises RemoteProtocolError (413) for a message over the limit.
        """
        if not self._missing:
            if not has_header(data, start):
                return start, []
            self._announce(data, start)
        end = min(len(data), start + self._missing)
        self._missing -= end - start
        self._parser.receive_data(data[start:end])
        events = []
        for event in self._parser.events():
            if isinstance(event, TextMessage | BytesMessage):
                whole = self._collect(event)
                if whole is not None:
                    events.append(whole)
            else:
                events.append(event)
        return end, events

    def answer(self, event: Event) -> bytes:
        """The bytes of a control frame of ours."""
        return bytes(self._parser.send(event))

    def _announce(self, data: bytes, start: int) -> None:
        opcode = data[start] & OPCODE
        size = payload_size(data, start)
        if not opcode & _CONTROL:
            self._announced = size + (self._announced if opcode == _CONTINUATION else 0)
            self._check(self._announced, self._most)
        self._missing = header_size(data, start) + size

    def _collect(self, event: TextMessage | BytesMessage) -> Event | None:
        data = event.data
        if data:
            self._kept += data.encode() if isinstance(data, str) else data
            self._check(len(self._kept), self._limit)
        self.in_message = not event.message_finished
        if self.in_message:
            return None
        whole, self._kept = bytes(self._kept), bytearray()
        self._announced = 0
        if isinstance(event, TextMessage):
            return TextMessage(data=whole.decode())
        return BytesMessage(data=whole)

    def _check(self, size: int, most: int) -> None:
        if size > most:
            raise RemoteProtocolError(f"a message may have {self._limit} bytes", 413, "too_large")
