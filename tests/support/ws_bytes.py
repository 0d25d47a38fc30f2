"""WebSocket frames as a client writes them, right and wrong, and a reader of the server's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire import Client

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

KEY = base64.b64encode(b"0123456789abcdef")


def handshake(*fields: bytes, target: bytes = b"/bayeux", line: bytes | None = None) -> bytes:
    """An opening handshake with more header `fields`."""
    lines = (
        line or b"GET " + target + b" HTTP/1.1",
        b"Host: example.org",
        b"Upgrade: websocket",
        b"Connection: keep-alive, Upgrade",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: 13",
        *fields,
        b"",
        b"",
    )
    return b"\r\n".join(lines)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    mask: bytes = b"\x37\xfa\x21\x3d",  # of the example in RFC 6455 section 5.7
) -> bytes:
    """One client frame."""
    size = len(payload)
    bit = 0x80 if masked else 0
    if size <= 125:
        length = bytes([bit | size])
    elif size <= 0xFFFF:
        length = bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([bit | 127]) + size.to_bytes(8, "big")
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode]) + length
    if not masked:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """A client's close frame."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


async def read_frame(client: Client) -> tuple[int, bytes]:
    """The server's next frame: opcode and payload. It must be whole and unmasked."""
    first, second = await client.exactly(2)
    assert first & 0xF0 == 0x80
    assert second < 0x80
    size = second
    if size == 126:
        size = int.from_bytes(await client.exactly(2), "big")
        assert size > 125
    elif size == 127:
        size = int.from_bytes(await client.exactly(8), "big")
        assert size > 0xFFFF
    return first & 0x0F, await client.exactly(size)


async def read_close(client: Client) -> tuple[int, str]:
    """The server's close frame: code and reason; then the end."""
    opcode, payload = await read_frame(client)
    assert opcode == CLOSE, (opcode, payload)
    assert await client.rest() == b""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()
