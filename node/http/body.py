"""Request bodies that did not come whole with their head, and chunked ones that did.

    feed(data) ──► None        more is needed
               └─► rest        complete: `content` is the body, `rest` what follows it

A body over the limit is still read, and dropped, so that the client can read
the answer; `excess` tells that it is, `received` how much has come.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

import h11

from node.errors import RemoteProtocolError
from node.http.head import remote_error

if TYPE_CHECKING:
    from node.http.head import Head

CHUNKED_READ: Final = 4 * 1024  # bytes read at once: many tiny chunks must not fill a slice
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"  # after the one before


def lone_chunk(data: bytes, start: int, limit: int) -> tuple[bytes, int] | None:
    """The content of a chunked body that is one chunk and all there, and where it is over.

    So comes what most clients send in chunks. None for anything else than a size without
    extensions, at most `limit` bytes, and an end without trailers: that is h11's to read.
    """
    size = _CHUNK_SIZE.match(data, start)
    if size is None:
        return None
    begin = size.end()
    stop = begin + int(size[1], 16)
    if not begin < stop <= begin + limit or not data.startswith(_LAST_CHUNK, stop):
        return None
    return data[begin:stop], stop + len(_LAST_CHUNK)


class Body(Protocol):
    """A body on its way."""

    head: Head
    received: int  # bytes on the wire so far
    excess: bool  # it is over the limit, and dropped
    read_size: int  # bytes to ask of the socket

    @property
    def content(self) -> bytes: ...

    @property
    def held(self) -> int: ...

    def feed(self, data: bytes) -> bytes | None: ...


class SizedBody:
    """A body whose length was announced."""

    __slots__ = ("_kept", "_missing", "excess", "head", "read_size", "received")

    def __init__(self, head: Head, max_body: int) -> None:
        self.head = head
        self.received = 0
        self.excess = head.content_length > max_body
        self.read_size = 64 * 1024
        self._missing = head.content_length
        self._kept = bytearray()

    @property
    def content(self) -> bytes:
        return bytes(self._kept)

    @property
    def held(self) -> int:
        """Bytes kept so far."""
        return len(self._kept)

    def feed(self, data: bytes) -> bytes | None:
        self.received += len(data)
        taken = data if len(data) <= self._missing else data[: self._missing]
        self._missing -= len(taken)
        if not self.excess:
            self._kept += taken
        return None if self._missing else data[len(taken) :]


class ChunkedBody:
    """A chunked body, read by the h11 connection that parsed its head."""

    __slots__ = ("_kept", "_last", "_limit", "_parser", "excess", "head", "read_size", "received")

    def __init__(self, head: Head, parser: h11.Connection, max_body: int) -> None:
        self.head = head
        self.received = 0
        self.excess = False
        self.read_size = CHUNKED_READ
        self._parser = parser
        self._limit = max_body
        self._kept = bytearray()
        self._last = b""

    @property
    def content(self) -> bytes:
        return bytes(self._kept)

    @property
    def held(self) -> int:
        """Bytes kept so far."""
        return len(self._kept)

    def feed(self, data: bytes) -> bytes | None:
        """Raises RemoteProtocolError if the chunks are malformed."""
        self.received += len(data)
        try:
            self._parser.receive_data(data)
            while True:
                event = self._parser.next_event()
                if isinstance(event, h11.Data):
                    self._keep(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    return self._finish(data)
                else:
                    self._last = (self._last + data)[-4:]
                    return None
        except h11.RemoteProtocolError as error:
            raise remote_error(error) from error

    def _keep(self, data: bytes) -> None:
        if len(self._kept) + len(data) > self._limit:
            self.excess = True
            self._kept.clear()
            self._limit = -1
        if not self.excess:
            self._kept += data

    def _finish(self, data: bytes) -> bytes:
        rest, _ = self._parser.trailing_data
        seen = self._last + data
        if not seen[: len(seen) - len(rest)].endswith(b"\r\n\r\n"):
            # h11 would also take a bare LF after the trailers.
            raise RemoteProtocolError("lines must end in CRLF")
        return rest
