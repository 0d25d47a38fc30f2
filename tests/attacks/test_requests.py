"""Attacks with requests as such: slow, huge, ambiguous, deep."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from front_door import FrontDoor, front_door
from node.http import HttpSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BODY = b'[{"channel":"/a","data":1}]'
HEAD = b"POST /bayeux HTTP/1.1\r\nHost: x\r\n"
IMPATIENT = HttpSettings(
    max_body=10_000, head_timeout=0.1, min_body_rate=1 << 20, drain_timeout=0.3
)


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    async with front_door(IMPATIENT) as door:
        yield door


async def answer(door: FrontDoor, data: bytes) -> int:
    """The status of the one answer to `data`, after which the connection is closed."""
    client = door.connect().client
    await client.send(data)
    with trio.fail_after(5):
        said = await client.rest()
    assert said.count(b"HTTP/1.1 ") == 1, said
    return int(said.split()[1])


@pytest.mark.parametrize("data", [b"P", b"POST /bayeux HTTP/1.1\r\n", HEAD + b"X-A: "])
async def test_a_head_that_never_ends(door: FrontDoor, data: bytes) -> None:
    assert await answer(door, data) == 408


async def test_a_body_that_never_comes(door: FrontDoor) -> None:
    assert await answer(door, HEAD + b"Content-Length: 100\r\n\r\n[") == 408
    assert await answer(door, HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[") == 408


async def test_headers_without_number_or_measure(door: FrontDoor) -> None:
    many = b"".join(b"X-%d: y\r\n" % number for number in range(200))
    assert await answer(door, HEAD + many + b"\r\n") == 431
    assert await answer(door, HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n") == 431


async def test_a_body_over_the_limit_is_drained_so_that_the_answer_is_read(
    door: FrontDoor,
) -> None:
    assert await answer(door, HEAD + b"Content-Length: 500000\r\n\r\n" + b" " * 500_000) == 413
    chunk = b"4e20\r\n" + b" " * 20_000 + b"\r\n"
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3 + b"0\r\n\r\n"
    assert await answer(door, chunked) == 413


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 0\r\nContent-Length: 40\r\n",
        b"Content-Length: 0, 40\r\n",
        b"Content-Length: +0\r\n",
        b"Content-Length: 0\r\n Content-Length: 40\r\n",
        b"X: y\r\n\tTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"X: y\nTransfer-Encoding: chunked\r\n",
        b"X: y\rTransfer-Encoding: chunked\r\n",
        b"Content-Length: 0\r\nX: \0\r\n",
    ],
)
async def test_a_request_that_two_readers_would_end_elsewhere(
    door: FrontDoor, lines: bytes
) -> None:
    status = await answer(door, HEAD + lines + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert status in {400, 501}
    assert door.stats.http_requests.total() == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000,
        b"[" * 4_000 + b"]" * 4_000,
        b'[{"channel":"/a","data":' + b"[" * 4_000 + b"]" * 4_000 + b"}]",
        b'{"a":' * 1_600 + b"1" + b"}" * 1_600,
        b'[{"channel":"/a","id":' + b"[" * 400 + b"]" * 400 + b"}]",
    ],
)
async def test_json_as_deep_as_a_well(door: FrontDoor, body: bytes) -> None:
    status, _, answered = await door.connect().ask("POST /bayeux", body=body)
    assert status in {200, 400}
    assert b'"successful":true' not in answered
    assert (await door.connect().ask("POST /bayeux", body=BODY))[0] == 200


async def test_ids_and_numbers_without_measure(door: FrontDoor) -> None:
    visitor = door.connect()
    long = json.dumps([{"channel": "/a", "id": "x" * 5_000}]).encode()
    assert (await visitor.ask("POST /bayeux", body=long))[0] == 400
    client = door.client()
    advice = {"timeout": 10**400, "interval": 10**400}
    for sign in (-1, 1):
        held = {name: sign * value for name, value in advice.items()}
        door.post([client.connect_message("long-polling") | {"advice": held}])
    assert len(door.sessions) == 1
