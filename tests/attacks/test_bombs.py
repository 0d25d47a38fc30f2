"""Attacks that are small on the wire and large once they are read."""

from __future__ import annotations

import gzip
import json
import resource
import zlib
from typing import TYPE_CHECKING

import pytest
import trio

from front_door import HANDSHAKE, FrontDoor, front_door
from node.http import HttpSettings
from node.websocket import WebSocketSettings
from ws_bytes import CONTINUATION, TEXT, frame, handshake, read_close, read_frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wire import Client

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
LIMIT = 1 << 20
SETTINGS = HttpSettings(max_body=LIMIT, websocket=WebSocketSettings(deflate=True))


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    async with front_door(SETTINGS) as door:
        yield door


async def upgraded(door: FrontDoor, *fields: bytes) -> Client:
    client = door.connect().client
    await client.send(handshake(*fields))
    with trio.fail_after(5):
        assert b" 101 " in await client.until(b"\r\n\r\n")
    return client


def peak() -> int:
    """The most memory that this process has had so far, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """400 MB of spaces, and what is left of them: deflated."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    mega = b" " * (1 << 20)
    parts = [engine.compress(mega) for _ in range(400)]
    return b"".join([*parts, engine.flush(zlib.Z_SYNC_FLUSH)])[:-4]


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_deflate_bomb(door: FrontDoor, bomb: bytes, pieces: int) -> None:
    """Inflating stops at the limit for messages; the client is told why, others go on."""
    client = await upgraded(door, OFFER)
    other = await upgraded(door)
    size = -(-len(bomb) // pieces)
    before = peak()
    for number in range(pieces):
        part = bomb[number * size : (number + 1) * size]
        opcode, rsv = (CONTINUATION, 0) if number else (TEXT, 4)
        try:
            await client.send(frame(opcode, part, fin=number == pieces - 1, rsv=rsv))
        except trio.BrokenResourceError:
            break
    with trio.fail_after(10):
        assert (await read_close(client))[0] == 1009
    assert peak() - before < 64 * 1024  # KiB
    await other.send(frame(TEXT, json.dumps([HANDSHAKE]).encode()))
    with trio.fail_after(5):
        assert b'"successful":true' in (await read_frame(other))[1]


async def test_a_body_says_that_it_is_compressed(door: FrontDoor) -> None:
    """No body is ever inflated: what is not JSON as it comes is refused."""
    for coding, packed in (("gzip", gzip.compress(b" " * 50_000_000)), ("deflate", b"x\x9c")):
        status, _, answer = await door.connect().ask(
            "POST /bayeux", f"Content-Encoding: {coding}", body=packed
        )
        assert status == 400
        assert json.loads(answer)["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 5_000,
        b'[{"channel":"/a","data":' + b"[" * 4_000 + b"]" * 4_000 + b"}]",
        b'{"a":' * 1_600 + b"1" + b"}" * 1_600,
    ],
)
async def test_deep_json_on_a_websocket(door: FrontDoor, text: bytes) -> None:
    client = await upgraded(door)
    await client.send(frame(TEXT, text))
    with trio.fail_after(5):
        opcode, payload = await read_frame(client)
    assert opcode == TEXT or int.from_bytes(payload[:2], "big") == 1007
    assert b'"successful":true' not in payload
