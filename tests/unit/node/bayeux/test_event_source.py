"""Faye's form: a Bayeux session as a stream of events, GET `<mount>/<clientId>`."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from front_door import BROWSER, Events, FrontDoor, front_door
from local_edge import Client, FakePoll, FakeSocket


async def stream_of(door: FrontDoor, client: Client, mount: str = "/bayeux") -> Events:
    visitor = door.connect()
    await visitor.send(f"GET {mount}/{client.id}", "Accept: text/event-stream")
    events = Events(visitor)
    head = await events.start()
    assert head["content-type"] == "text/event-stream"
    assert "retry" in await events.next()
    return events


def connect(door: FrontDoor, client: Client, timeout: int | None = None) -> FakePoll:
    return door.post([client.connect_message("eventsource", timeout)])


async def messages(events: Events) -> list[Any]:
    return list(await events.data())


@pytest.mark.parametrize("mount", ["/bayeux", "/cometd"])
async def test_messages_come_as_events_while_the_connect_is_held(mount: str) -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        events = await stream_of(door, client, mount)
        held = connect(door, client)
        for number in range(3):
            door.publish("/a", number)
            (message,) = await messages(events)
            assert message["channel"] == "/a"
            assert message["data"] == number
        assert held.status is None
        assert door.stats.delivered == {"sse": 3}
        session = door.sessions.get(client.address)
        assert session is not None
        door.sessions.wheel.advance(trio.current_time() + 31)
        assert [message["channel"] for message in held.body] == ["/meta/connect"]


async def test_what_was_published_before_the_stream_comes_first() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        for number in range(3):
            door.publish("/a", number)
        await door.served.settle()
        events = await stream_of(door, client)
        assert [message["data"] for message in await messages(events)] == [0, 1, 2]


async def test_direct_messages_come_too() -> None:
    async with front_door() as door:
        client = door.client()
        events = await stream_of(door, client)
        door.client().ask("/service/send", data={"to": client.address, "data": "psst"})
        door.wake()
        (message,) = await messages(events)
        assert message["channel"] == "/service/inbox"


async def test_a_stream_alone_keeps_the_session() -> None:
    async with front_door() as door:
        client = door.client()
        events = await stream_of(door, client)
        held = connect(door, client)
        door.sessions.wheel.advance(trio.current_time() + 31)
        assert held.status == 200
        door.sessions.wheel.advance(trio.current_time() + 100)
        assert len(door.sessions) == 1
        events._client.close()
        await door.served.settle()
        door.sessions.wheel.advance(trio.current_time() + 100)
        door.sessions.wheel.advance(trio.current_time() + 111)
        assert len(door.sessions) == 0


async def test_a_lost_stream_leaves_deliveries_to_the_held_connect() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        events = await stream_of(door, client)
        held = connect(door, client)
        events._client.close()
        await door.served.settle()
        assert held.status is None
        door.publish("/a", 1)
        await door.served.settle()
        assert held.body[0]["data"] == 1


async def test_a_connect_that_is_not_held_leaves_the_stream_alone() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        events = await stream_of(door, client)
        assert client.poll(timeout=0).status == 200  # Faye's first, sent before it has a stream
        door.publish("/a", 1)
        assert [message["data"] for message in await messages(events)] == [1]


async def test_a_client_that_falls_back_gets_its_messages_on_its_polls() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        events = await stream_of(door, client)
        held = client.poll()
        await events._client.until(b"0\r\n\r\n")
        door.publish("/a", 1)
        await door.served.settle()
        assert held.body[0]["data"] == 1


async def test_a_client_that_goes_over_to_websocket_leaves_the_stream() -> None:
    async with front_door() as door:
        client, socket = door.client(), FakeSocket()
        client.subscribe("/a")
        events = await stream_of(door, client)
        held = connect(door, client)
        door.post([client.connect_message("websocket")], socket)
        assert held.status == 500
        await events._client.until(b"0\r\n\r\n")
        door.publish("/a", 1)
        await door.served.settle()
        assert [message["data"] for message in socket.messages] == [1]


async def test_disconnecting_ends_the_stream() -> None:
    async with front_door() as door:
        client = door.client()
        events = await stream_of(door, client)
        assert client.ask("/meta/disconnect")["successful"]
        await events._client.until(b"0\r\n\r\n")
        assert len(door.sessions) == 0


async def test_a_gap_is_told_in_the_connect_reply() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        for number in range(12_000):
            door.publish("/a", number)
            if number == 1:
                await door.served.settle()
        await door.served.settle(300)
        held = connect(door, client)
        if held.status is None:
            await stream_of(door, client)
            await door.served.settle()
        (reply,) = [m for m in held.body if m["channel"] == "/meta/connect"]
        assert reply["ext"]["gaps"] == ["/a"]


async def test_an_unknown_session_has_no_stream() -> None:
    async with front_door() as door:
        for name in ("abcde." + "A" * 22, door.client().address):
            status, _, body = await door.connect().ask(f"GET /bayeux/{name}")
            assert (status, json.loads(body)["error"]["code"]) in {
                (404, "unknown_session"),
                (400, "bad_request"),
            }


async def test_another_browser_s_session_has_none_either() -> None:
    async with front_door() as door:
        visitor = door.connect()
        reply, cookie = await visitor.handshake(*BROWSER)
        line = f"GET /bayeux/{reply['clientId']}"
        assert (await visitor.ask(line, *BROWSER))[0] == 404
        await visitor.send(line, *BROWSER, f"Cookie: {cookie}")
        await Events(visitor).start()
