"""The sample of requests in the log: what it says, and what it must not."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from front_door import FrontDoor, front_door
from node.request_log import MAX_BODY, MAX_TEXT, RequestLog, _described
from pubsub.sessions import address_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from structlog.typing import EventDict


@asynccontextmanager
async def logging_door(rate: float = 1.0) -> AsyncIterator[FrontDoor]:
    """A front door with a log of requests before it."""
    async with front_door() as door:
        service = door.served.service
        service.request_log = RequestLog(rate, Random(1))
        service.handler = service.request_log.before(service.handler)
        yield door


def requests(logged: list[EventDict]) -> list[EventDict]:
    return [each for each in logged if each["event"].startswith("request")]


async def test_a_line_says_whose_and_what_and_how_long() -> None:
    async with logging_door() as door:
        visitor = door.connect()
        with capture_logs() as logged:
            reply, _ = await visitor.handshake()
            session = reply["clientId"]
            subscribe = {
                "channel": "/meta/subscribe", "clientId": session, "subscription": "/secret/room",
            }  # fmt: skip
            _, told = await visitor.bayeux(subscribe, {"channel": "/x", "clientId": session})
    first, second = requests(logged)
    assert (first["channel"], first["status"], "session" in first) == (
        "/meta/handshake",
        200,
        False,
    )
    assert second["request"] == told["x-request-id"]
    assert second["session"] == address_for(session)
    assert (second["method"], second["path"], second["messages"]) == ("POST", "/bayeux", 2)
    assert second["bytes"] > 100
    assert second["ms"] >= 0
    assert session not in json.dumps(logged)
    assert "/secret/room" not in json.dumps(logged)


async def test_a_client_that_goes_before_the_answer() -> None:
    async with logging_door() as door:
        visitor = door.connect()
        reply, _ = await visitor.handshake()
        connect = {"channel": "/meta/connect", "connectionType": "long-polling"}
        connect["clientId"] = reply["clientId"]
        await visitor.bayeux(connect)  # the first is answered at once, the second is held
        with capture_logs() as logged:
            await visitor.send("POST /bayeux", body=json.dumps([connect]).encode())
            await trio.sleep(0.05)
            visitor.client.close()
            with trio.fail_after(5):
                while not requests(logged):
                    await trio.sleep(0.01)
    assert [each["event"] for each in requests(logged)] == ["request_lost"]


@pytest.mark.parametrize("path", ["/sse?channel=/a", "/nothing?token=abc"])
async def test_of_an_address_only_the_path(path: str) -> None:
    async with logging_door() as door:
        visitor = door.connect()
        with capture_logs() as logged:
            await visitor.send(f"GET {path}")
            with trio.fail_after(5):
                await visitor.client.until(b"\r\n\r\n")
    (line,) = requests(logged)
    assert line["path"] == path.partition("?")[0]


async def test_a_sample_is_a_sample_and_none_is_none() -> None:
    for rate, few, many in ((0.0, 0, 0), (0.2, 5, 40)):
        async with logging_door(rate) as door:
            visitor = door.connect()
            with capture_logs() as logged:
                answers = [await visitor.ask("GET /nothing") for _ in range(100)]
        lines = requests(logged)
        assert few <= len(lines) <= many
        carried = [told["x-request-id"] for _, told, _ in answers if "x-request-id" in told]
        assert carried == [each["request"] for each in lines]


@given(
    st.binary()
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_whatever_a_body_says(body: bytes) -> None:
    assert set(_described(body)) <= {"channel", "messages", "session"}


def test_long_names_are_cut_and_large_bodies_not_read() -> None:
    body = json.dumps([{"channel": "/" + "a" * 1_000}]).encode()
    assert len(str(_described(body)["channel"])) == MAX_TEXT
    assert _described(b" " * MAX_BODY + body) == {}
