"""Frames on a link: length, then a MAC that binds the bytes to their place in the stream.

    before authentication   length (4) | payload
    on an open link         length (4) | MAC (16) | payload

The length is big-endian and counts what follows it. The MAC is BLAKE2b, keyed
with the session key of that direction, over the number of the frame (8 bytes,
from 0, not sent) and the payload: a frame that is changed, dropped, repeated,
moved or sent back fails, and the link with it. Source: RFC 7693 (keyed mode).
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import Final

from node.errors import LocalProtocolError, RemoteProtocolError

LENGTH_BYTES: Final = 4
MAC_BYTES: Final = 16
COUNTER_BYTES: Final = 8
MAX_GREETING: Final = 1024
"""Bytes of a frame before authentication: what a stranger may make us keep."""
MAX_FRAME: Final = 4 << 20
"""Bytes of a frame on an open link, MAC included."""


class FrameBuffer:
    """Received bytes in, whole frames out. Never holds more than one frame and one read."""

    __slots__ = ("_buffer", "_start", "limit")

    def __init__(self, limit: int = MAX_GREETING) -> None:
        """`limit`: bytes of the longest frame taken; may be raised between frames."""
        self._buffer = bytearray()
        self._start = 0
        self.limit = limit

    def feed(self, data: bytes) -> None:
        """More bytes from the peer."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next frame without its length; None: more bytes are needed.

        Raises RemoteProtocolError for a length over the limit, as soon as the
        length is known.
        """
        buffer, start = self._buffer, self._start
        if len(buffer) - start < LENGTH_BYTES:
            return None
        body = start + LENGTH_BYTES
        length = int.from_bytes(buffer[start:body], "big")
        if length > self.limit:
            msg = f"a frame of {length} bytes; {self.limit} are allowed"
            raise RemoteProtocolError(msg, code="too_large")
        end = body + length
        if len(buffer) < end:
            return None
        self._start = end
        return bytes(memoryview(buffer)[body:end])


def frame(payload: bytes) -> bytes:
    """`payload` as an unauthenticated frame."""
    if len(payload) > MAX_GREETING:
        msg = f"a greeting of {len(payload)} bytes"
        raise LocalProtocolError(msg)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class _Counted:
    """A keyed MAC over the number of each frame and its payload."""

    __slots__ = ("_count", "_keyed")

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(key=key, digest_size=MAC_BYTES)
        self._count = 0

    def _next(self, payload: bytes | memoryview) -> bytes:
        mac = self._keyed.copy()
        mac.update(self._count.to_bytes(COUNTER_BYTES, "big"))
        mac.update(payload)
        self._count += 1
        return mac.digest()


class Sealer(_Counted):
    """Frames for one direction of an open link."""

    __slots__ = ()

    def seal(self, payload: bytes) -> bytes:
        """The next frame. Raises LocalProtocolError if it would be over `MAX_FRAME`."""
        length = MAC_BYTES + len(payload)
        if length > MAX_FRAME:
            msg = f"a frame of {length} bytes; {MAX_FRAME} are allowed"
            raise LocalProtocolError(msg)
        return b"".join((length.to_bytes(LENGTH_BYTES, "big"), self._next(payload), payload))


class Opener(_Counted):
    """Checks the frames that the peer's `Sealer` made, in order."""

    __slots__ = ()

    def open(self, sealed: bytes) -> bytes:
        """The payload of the next frame (its length already taken off).

        Raises RemoteProtocolError if the MAC does not fit; the link is over then.
        """
        payload = sealed[MAC_BYTES:]
        if not hmac.compare_digest(self._next(payload), sealed[:MAC_BYTES]):
            msg = "a frame's MAC does not fit: changed, repeated or out of order"
            raise RemoteProtocolError(msg, code="forged")
        return payload
