"""`GET /sse` as bytes: events, ids, resuming, gaps, and what is refused."""

from __future__ import annotations

import json
import time

import jwt
import pytest
import trio

from front_door import BROWSER, Events, FrontDoor, Visitor, front_door
from node.identity.tokens import Key, Tokens
from pubsub.messages import Cursor


async def reader(
    door: FrontDoor,
    *channels: str,
    last_id: str = "",
    query: str = "",
    headers: tuple[str, ...] = (),
) -> tuple[Events, dict[str, str]]:
    """A stream of these channels, and the data of its first event."""
    asked = "&".join([*(f"channel={channel}" for channel in channels), *([query] if query else [])])
    visitor = door.connect()
    more = (f"Last-Event-ID: {last_id}",) if last_id else ()
    await visitor.send(f"GET /sse?{asked}", *more, *headers)
    events = Events(visitor)
    head = await events.start()
    assert head["content-type"] == "text/event-stream"
    assert head["cache-control"] == "no-store"
    first = await events.next()
    assert first["event"] == "session"
    return events, json.loads(first["data"])


async def refused(visitor: Visitor, line: str, *headers: str) -> tuple[int, str]:
    status, _, body = await visitor.ask(line, *headers)
    return status, json.loads(body)["error"]["code"]


# -- one channel ---------------------------------------------------------------------


async def test_messages_of_one_channel_each_with_its_id() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a")
        assert told["address"] == door.sessions.all()[0].address
        assert told["session"].partition(".")[0] == told["address"].partition(".")[0]
        for number in range(3):
            door.publish("/a", number)
        seen = [await events.next() for _ in range(3)]
        assert [json.loads(event["data"])["data"] for event in seen] == [0, 1, 2]
        assert [json.loads(event["data"])["channel"] for event in seen] == ["/a"] * 3
        offsets = [int(event["id"].partition(":")[2]) for event in seen]
        assert offsets == [1, 2, 3]
        assert door.stats.delivered == {"sse": 3}


async def test_readers_of_one_channel_share_bytes() -> None:
    async with front_door() as door:
        one, _ = await reader(door, "/a")
        other, _ = await reader(door, "/a")
        door.publish("/a", 1)
        assert await one.next() == await other.next()


async def test_a_reader_comes_back_where_it_left() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a")
        door.publish("/a", 1)
        assert (await events.data())["data"] == 1
        events._client.close()
        door.publish("/a", 2)
        door.publish("/a", 3)
        again, other = await reader(door, "/a", last_id=events.last_id)
        assert [(await again.data())["data"] for _ in range(2)] == [2, 3]
        assert other["session"] != told["session"]  # the id is shared, so it names no session


async def test_also_before_it_has_read_anything_then_with_its_session() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a")
        events._client.close()
        door.publish("/a", 1)
        again, other = await reader(door, "/a", last_id=events.last_id)
        assert (await again.data())["data"] == 1
        assert other == told
        assert len(door.sessions) == 1


async def test_a_position_is_good_for_repeating_what_was_read() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a")
        start = events.last_id
        door.publish("/a", 1)
        await events.data()
        again, other = await reader(door, "/a", last_id=start)
        assert other == told
        assert (await again.data())["data"] == 1
        door.publish("/a", 2)
        assert (await again.data())["data"] == 2


# -- several channels ------------------------------------------------------------------


async def test_several_channels_and_an_id_apart() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a", "/b")
        door.publish("/a", 1)
        door.publish("/b", 2)
        seen = [await events.next() for _ in range(2)]
        assert sorted(json.loads(event["data"])["channel"] for event in seen) == ["/a", "/b"]
        assert all("id" not in event for event in seen)
        assert door.sessions.hub.tell_positions()
        door.wake()
        assert list(await events.next()) == ["id"]
        assert events.last_id.startswith(told["session"] + " ")
        assert events.last_id.endswith(":1")
        await door.served.settle()
        assert not door.sessions.hub.tell_positions()  # nothing moved since
        events._client.close()
        door.publish("/b", 3)
        again, other = await reader(door, "/a", "/b", last_id=events.last_id)
        assert other == told
        assert (await again.data())["data"] == 3


async def test_a_channel_named_twice_is_read_once() -> None:
    async with front_door() as door:
        events, _ = await reader(door, "/a", "/a")
        door.publish("/a", 1)
        door.publish("/a", 2)
        assert [(await events.data())["data"] for _ in range(2)] == [1, 2]


async def test_a_session_that_is_over_leaves_its_position() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a", "/b")
        events._client.close()
        await door.served.settle()
        door.sessions.close(door.sessions.all()[0])
        door.publish("/a", 1)
        again, other = await reader(door, "/a", "/b", last_id=events.last_id)
        assert other["session"] != told["session"]
        assert (await again.data())["data"] == 1


async def test_a_program_names_its_session_in_the_query() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a")
        events._client.close()
        door.publish("/a", 1)
        again, other = await reader(door, "/a", query=f"session={told['session']}")
        assert other == told
        assert (await again.data())["data"] == 1


# -- direct messages ----------------------------------------------------------------------


@pytest.mark.parametrize("channels", [[], ["/a"], ["/a", "/b"]])
async def test_direct_messages_come_too(channels: list[str]) -> None:
    async with front_door() as door:
        events, told = await reader(door, *channels)
        sender = door.client()
        for number in range(2):
            data = {"to": told["address"], "data": number}
            assert sender.ask("/service/send", data=data)["successful"]
        door.wake()
        for number in range(2):
            message = await events.data()
            assert message["channel"] == "/service/inbox"
            assert message["data"] == number
        assert door.sessions.hub.tell_positions()
        door.wake()
        await events.next()
        assert events.last_id.startswith(told["session"])


# -- gaps, slow readers, ends ------------------------------------------------------------------


async def test_a_gap_is_an_event_of_its_own() -> None:
    async with front_door() as door:
        await reader(door, "/a", last_id="1:0")
        for number in range(12_000):
            door.publish("/a", number)
        again, _ = await reader(door, "/a", last_id="1:1")
        event = await again.next()
        assert event["event"] == "gap"
        assert json.loads(event["data"]) == {"channel": "/a"}
        first = (await again.data())["data"]
        assert first > 1
        assert (await again.data())["data"] == first + 1


async def test_a_reader_that_was_full_reads_on_from_the_log() -> None:
    async with front_door() as door:
        events, _ = await reader(door, "/a")
        for number in range(200):
            door.publish("/a", [number, "x" * 4_000])
            await door.served.settle(3)
        (session,) = door.sessions.all()
        assert session.behind
        assert [(await events.data())["data"][0] for _ in range(200)] == list(range(200))
        assert session.behind is None


async def test_a_session_lives_as_long_as_its_stream_and_then_its_time() -> None:
    async with front_door() as door:
        events, _ = await reader(door, "/a")
        door.sessions.wheel.advance(trio.current_time() + 1_000)
        assert len(door.sessions) == 1
        events._client.close()
        while door.sessions.all()[0].stream is not None:
            await trio.sleep(0.01)
        limit = door.config.max_interval
        door.sessions.wheel.advance(trio.current_time() + 1_000)
        door.sessions.wheel.advance(trio.current_time() + 1_000 + limit + 1)
        assert len(door.sessions) == 0
        assert door.sessions.hub.topics == {}


async def test_a_second_stream_of_a_session_ends_the_first() -> None:
    async with front_door() as door:
        events, told = await reader(door, "/a")
        await reader(door, "/a", query=f"session={told['session']}")
        await events._client.until(b"0\r\n\r\n")
        assert len(door.sessions) == 1


async def test_a_client_that_leaves_while_it_is_let_in_leaves_nothing_behind() -> None:
    async with front_door() as door:
        visitor = door.connect()
        await visitor.send("GET /sse?channel=/a")
        visitor.client.close()
        await door.served.settle()
        door.sessions.wheel.advance(trio.current_time() + 11)
        assert len(door.sessions) == 0


# -- who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("channel=chat", 400),
        ("channel=", 400),
        ("channel=/a&channel=/b%20c", 400),
        ("channel=/meta/connect", 403),
        ("channel=/meta/**", 403),
        ("&".join(f"channel=/c{n}" for n in range(101)), 413),
        ("channel=%ff", 400),
    ],
)
async def test_what_cannot_be_read(query: str, status: int) -> None:
    async with front_door() as door:
        assert (await refused(door.connect(), f"GET /sse?{query}"))[0] == status
        assert len(door.sessions) == 0
        assert door.stats.refused == {str(status): 1}


async def test_other_methods_and_full_nodes() -> None:
    async with front_door(max_sessions=1) as door:
        assert await refused(door.connect(), "POST /sse?channel=/a") == (405, "bad_request")
        door.client()
        assert await refused(door.connect(), "GET /sse?channel=/a") == (503, "unavailable")
        assert door.stats.refused == {"503": 1}


async def test_where_tokens_are_wanted_a_stream_needs_one() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    token = jwt.encode({"exp": time.time() + 60, "channels": ["/vip/*"]}, secret, "HS256")
    rule = '[[channel]]\nmatch = "/vip/**"\nsubscribe = "token"'
    async with front_door(rules=rule) as door:
        assert await refused(door.connect(), "GET /sse?channel=/vip/a") == (403, "forbidden")
        door.protocol.gate.tokens = Tokens([Key("HS256", secret)])
        assert await refused(door.connect(), "GET /sse?channel=/a") == (401, "unauthorized")
        assert await refused(door.connect(), "GET /sse?token=x") == (401, "unauthorized")
        assert await refused(door.connect(), f"GET /sse?channel=/vip/a/b&token={token}") == (
            403,
            "forbidden",
        )
        assert door.stats.refused["401"] == 2
        visitor = door.connect()
        await visitor.send(f"GET /sse?channel=/vip/a&token={token}")
        await Events(visitor).start()
        visitor = door.connect()
        await visitor.send("GET /sse?channel=/vip/a", f"Authorization: Bearer {token}")
        await Events(visitor).start()


async def test_streams_of_one_address_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.identity.gate.Gate.client_of", lambda *_: "192.0.2.1")
    async with front_door(address_rate=0.1) as door:
        answers = [await door.connect().ask("GET /sse?channel=/meta/connect") for _ in range(20)]
        assert {answer[0] for answer in answers} == {403}  # no session, none counted
        for _ in range(10):
            visitor = door.connect()
            await visitor.send("GET /sse?channel=/a")
            await Events(visitor).start()
        assert await refused(door.connect(), "GET /sse?channel=/a") == (429, "rate_limited")


async def test_another_origin_may_read_where_it_is_allowed() -> None:
    origin = "Origin: https://elsewhere.example"
    async with front_door() as door:
        visitor = door.connect()
        await visitor.send("GET /sse?channel=/a", origin)
        head = await Events(visitor).start()
        assert head["access-control-allow-origin"] == "https://elsewhere.example"
        assert (await door.connect().ask("OPTIONS /sse", origin))[0] == 204
    async with front_door(allowed_origins="same-origin") as door:
        assert await refused(door.connect(), "GET /sse?channel=/a", origin) == (403, "forbidden")


async def test_a_session_of_another_browser_is_not_to_be_had() -> None:
    async with front_door() as door:
        visitor = door.connect()
        await visitor.send("GET /sse?channel=/a", *BROWSER)
        mine = Events(visitor)
        head = await mine.start()
        cookie = head["set-cookie"].partition(";")[0]
        told = json.loads((await mine.next())["data"])
        _, other = await reader(door, "/a", last_id=mine.last_id)
        assert other["session"] != told["session"]
        _, same = await reader(
            door, "/a", last_id=mine.last_id, headers=(*BROWSER, f"Cookie: {cookie}")
        )
        assert same == told


async def test_where_a_reader_stands_is_in_the_record() -> None:
    async with front_door() as door:
        _, told = await reader(door, "/a", last_id="1:0")
        record = door.cluster.record(told["address"])
        assert record is not None
        assert dict(record.cursors)["/a"] == Cursor(1, 0)


async def test_readers_are_held_to_the_channel_rules() -> None:
    async with front_door(rules="[[channel]]\nmatch='/a'\nsubscribe='nobody'") as door:
        assert await refused(door.connect(), "GET /sse?channel=/a") == (403, "forbidden")
        await reader(door, "/b")


async def test_lazy_messages_go_with_others() -> None:
    async with front_door(rules="[[channel]]\nmatch='/lazy'\nlazy=true") as door:
        stream, _ = await reader(door, "/lazy", "/b")
        door.publish("/lazy", 1)
        door.publish("/b", 2)
        channels = [json.loads((await stream.next())["data"])["channel"] for _ in range(2)]
        assert channels == ["/b", "/lazy"]


async def test_a_pattern_and_a_channel_under_it_are_read_once_each() -> None:
    async with front_door() as door:
        stream, _ = await reader(door, "/a/**", "/a/b")
        for channel in ("/a/b", "/a/c", "/a/b"):
            door.publish(channel, 1)
        got: list[str] = []
        while len(got) < 3:
            event = await stream.next()
            if "data" in event:
                got.append(json.loads(event["data"])["channel"])
        assert sorted(got) == ["/a/b", "/a/b", "/a/c"]


async def test_a_reader_of_a_pattern_resumes_where_it_stood() -> None:
    async with front_door() as door:
        stream, _ = await reader(door, "/a/**")
        door.publish("/a/b", 1)
        assert json.loads((await stream.next())["data"])["data"] == 1
        door.publish("/a/c", 2)
        again, _ = await reader(door, "/a/**", last_id=stream.last_id)
        assert json.loads((await again.next())["data"])["data"] == 2


async def test_patterns_that_are_closed() -> None:
    async with front_door() as door:
        for name in ("/meta/**", "/service/**"):
            refusal = await refused(door.connect(), f"GET /sse?channel={name}")
            assert refusal == (403, "forbidden")


async def test_a_reader_is_told_that_there_are_too_many_patterns() -> None:
    async with front_door() as door:
        for number in range(10):
            await reader(door, *(f"/p{number}/{i}/*" for i in range(100)))
        refusal = await refused(door.connect(), "GET /sse?channel=/q/*")
        assert refusal == (413, "too_large")
