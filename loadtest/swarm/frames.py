"""WebSocket frames as a client writes and reads them (RFC 6455, section 5).

Small and one-sided on purpose: client frames are masked text, server frames
are text or control frames without extensions.
"""

from __future__ import annotations

from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_FINAL: Final = 0x80
_MASKED: Final = 0x80
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_MAX_TWO_BYTES: Final = 0xFFFF


class BadFrame(Exception):
    """The server sent a frame that this client did not ask for and cannot read."""


def client_frame(payload: bytes, mask: bytes, opcode: int = TEXT) -> bytes:
    """One masked frame; `mask` is 4 bytes (RFC 6455, 5.3)."""
    size = len(payload)
    if size < _TWO_BYTES:
        head = bytes((_FINAL | opcode, _MASKED | size))
    elif size <= _MAX_TWO_BYTES:
        head = bytes((_FINAL | opcode, _MASKED | _TWO_BYTES)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _MASKED | _EIGHT_BYTES)) + size.to_bytes(8, "big")
    return head + mask + masked(payload, mask)


def masked(payload: bytes, mask: bytes) -> bytes:
    """`payload` XOR the repeated 4-byte `mask`, as one big integer."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(size, "little")


def is_one_text_frame(data: bytes) -> bool:
    """Whether `data` is exactly one whole unfragmented text frame of under 64 KiB."""
    if len(data) < 2 or data[0] != _FINAL | TEXT:
        return False
    short = data[1]
    if short < _TWO_BYTES:
        return len(data) == short + 2
    return short == _TWO_BYTES and len(data) > 4 and len(data) == ((data[2] << 8) | data[3]) + 4


def split_frame(data: bytes) -> tuple[int, bytes, int] | None:
    """The first server frame in `data`: opcode, payload, bytes used; None while incomplete.

    Raises `BadFrame` for fragments, reserved bits and masked frames.
    """
    if len(data) < 2:
        return None
    if data[0] & 0xF0 != _FINAL or data[1] & _MASKED:
        raise BadFrame(f"unexpected frame header {data[:2].hex()}")
    size = data[1]
    start = 2
    if size == _TWO_BYTES:
        start = 4
        size = int.from_bytes(data[2:4], "big")
    elif size == _EIGHT_BYTES:
        start = 10
        size = int.from_bytes(data[2:10], "big")
    end = start + size
    if len(data) < end or len(data) < start:
        return None
    return data[0] & 0x0F, data[start:end], end
