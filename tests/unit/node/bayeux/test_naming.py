"""A publish that is made again is the same message, whoever makes it again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_edge import Client, Edge, FakePoll
from node.bayeux.messages import decode_batch
from node.bayeux.naming import MAX_GIVEN, id_for


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def run_named(edge: Edge, client: Client, name: str, channels: tuple[str, ...]) -> None:
    """A request as another node relays it."""
    body = [{"channel": c, "clientId": client.id, "data": c} for c in channels]
    batch = decode_batch(json.dumps(body).encode())
    poll = FakePoll()
    edge.protocol.batch(batch, edge.sessions.get(client.address), poll=poll, name=name).run()
    assert [reply["successful"] for reply in poll.body] == [True] * len(channels)


async def test_a_request_that_is_handled_again_publishes_once(edge: Edge) -> None:
    reader, writer = edge.client(), edge.client()
    reader.subscribe("/a")
    for name in ("r1", "r1", "r2"):
        run_named(edge, writer, name, ("/a", "/a"))
    assert len(reader.fetch()) == 4, "two messages of each request"


async def test_without_a_name_it_would_publish_twice(edge: Edge) -> None:
    reader, writer = edge.client(), edge.client()
    reader.subscribe("/a")
    for _ in range(2):
        run_named(edge, writer, "", ("/a",))
    assert len(reader.fetch()) == 2


def publish(client: Client, message_id: Any, data: str = "x", channel: str = "/a") -> Any:
    return client.ask(channel, data=data, ext={"messageId": message_id})


async def test_a_client_may_repeat_under_its_own_id(edge: Edge) -> None:
    reader, writer = edge.client(), edge.client()
    reader.subscribe("/a")
    assert publish(writer, "1")["successful"]
    assert publish(writer, "1")["successful"], "the repeat is answered as the first was"
    assert publish(writer, "2")["successful"]
    assert len(reader.fetch()) == 2


async def test_ids_are_each_session_s_own(edge: Edge) -> None:
    reader, one, two = edge.client(), edge.client(), edge.client()
    reader.subscribe("/a")
    publish(one, "1", "from one")
    publish(two, "1", "from two")
    first, second = reader.fetch()
    assert first["id"] != second["id"], "readers drop what has an id that they have seen"
    assert {first["data"], second["data"]} == {"from one", "from two"}
    assert one.address not in json.dumps(first)


async def test_and_each_channel_s(edge: Edge) -> None:
    reader, writer = edge.client(), edge.client()
    reader.subscribe("/a")
    reader.subscribe("/b")
    for channel in ("/a", "/b"):
        publish(writer, "1", channel=channel)
    assert len(reader.fetch()) == 2


async def test_direct_messages_too(edge: Edge) -> None:
    reader, writer = edge.client(), edge.client()
    for _ in range(2):
        data = {"to": reader.address, "data": 1}
        assert writer.ask("/service/send", data=data, ext={"messageId": "1"})["successful"]
    assert len(reader.fetch()) == 1


@pytest.mark.parametrize("given", [7, ["1"], "x" * (MAX_GIVEN + 1)])
async def test_what_is_no_id(edge: Edge, given: object) -> None:
    answer = publish(edge.client(), given)
    assert answer["error"].startswith("400:"), answer


async def test_an_empty_id_is_none(edge: Edge) -> None:
    reader, writer = edge.client(), edge.client()
    reader.subscribe("/a")
    publish(writer, "")
    publish(writer, "")
    assert len(reader.fetch()) == 2


def test_an_id_does_not_depend_on_where_it_is_made() -> None:
    assert id_for("t.a", "1") == id_for("t.a", "1") != id_for("t.a", "2")
