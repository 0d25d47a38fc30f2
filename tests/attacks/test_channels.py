"""Attacks through channel names: look-alikes of `/meta`, globs, `/service`, a million names."""

from __future__ import annotations

from typing import Any

import pytest

from local_edge import Edge

LOOK_ALIKES = [
    "/meta/../x",
    "/x/../meta/connect",
    "/./meta/connect",
    "//meta/connect",
    "/meta//connect",
    "/meta/connect/",
    " /meta/connect",
    "/meta/connect ",
    "/meta/connect\0",
    "/meta/connect\n",
    "/meta%2fconnect",
    "/%6deta/connect",
    "/meta\\connect",
    "/\uff4deta/connect",
    "/met\u0430/connect",
    "/meta/connect?x",
    "/meta/connect#x",
    "/meta/con\u200bnect",
    "meta/connect",
    "\ufeff/meta/connect",
]
META = ["/meta", "/meta/connect", "/meta/x", "/meta/*", "/meta/**", "/meta/connect/**"]
GLOBS = ["/**/a", "/*/a", "/a*", "/a/**b", "/a/***", "/a/*/*", "*", "**", "/[ab]", "/a?", "/{a,b}"]


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def subscribed(edge: Edge, name: Any) -> bool:
    reply = edge.client().ask("/meta/subscribe", subscription=name)
    assert reply["successful"] or reply["error"].partition(":")[0] in {"400", "403", "405"}
    return bool(reply["successful"])


@pytest.mark.parametrize("name", LOOK_ALIKES + META + GLOBS)
async def test_nobody_subscribes_to_it(edge: Edge, name: str) -> None:
    assert not subscribed(edge, name)
    assert not subscribed(edge, [name])
    assert not subscribed(edge, ["/fine", name])
    assert edge.sessions.hub.topics == {}


@pytest.mark.parametrize("name", LOOK_ALIKES + GLOBS + ["/**", "/*", "/a/*", "/a/**"])
async def test_nobody_publishes_to_it(edge: Edge, name: str) -> None:
    reply = edge.client().ask(name, data=1)
    assert reply["successful"] is False
    assert reply["error"].partition(":")[0] in {"400", "403", "404", "405"}


@pytest.mark.parametrize("name", ["/META/connect", "/Meta/subscribe", "/metas/connect", "/a/meta"])
async def test_another_spelling_is_a_channel_like_any(edge: Edge, name: str) -> None:
    """It gets what is published to it, and nothing of what clients say on `/meta`."""
    client = edge.client()
    client.subscribe(name)
    other = edge.client()
    other.subscribe("/x")
    other.fetch()
    assert client.fetch() == []
    other.ask(name, data=1)
    assert [message["channel"] for message in client.fetch()] == [name]


async def test_meta_messages_are_not_distributed(edge: Edge) -> None:
    reader = edge.client()
    reader.subscribe("/meta-not")
    for name in ("/meta/x", "/meta/handshakes", "/meta/unsubscribe/x"):
        reply = edge.client().ask(name, data=1)
        assert reply["successful"] is False
    assert reader.fetch() == []


async def test_a_service_channel_reaches_no_client(edge: Edge) -> None:
    reader = edge.client()
    for name in ("/service/x", "/service/*", "/service/**", "/service/inbox"):
        reader.ask("/meta/subscribe", subscription=name)
    assert edge.client().ask("/service/x", data=1)["successful"] is True  # as CometD says
    assert reader.fetch() == []
    assert edge.sessions.hub.topics == {}


async def test_a_million_channels_in_one_message_are_refused(edge: Edge) -> None:
    names = [f"/c/{number}" for number in range(100_000)]
    reply = edge.client().ask("/meta/subscribe", subscription=names)
    assert reply["error"].startswith("413:")
    assert edge.sessions.hub.topics == {}


async def test_nor_one_after_the_other(edge: Edge) -> None:
    client = edge.client()
    refused = 0
    for start in range(0, 12_000, 500):
        names = [f"/c/{number}" for number in range(start, start + 500)]
        refused += not client.ask("/meta/subscribe", subscription=names)["successful"]
    assert refused > 0
    session = edge.sessions.get(client.address)
    assert session is not None
    assert len(session.topics) <= 10_000
    client.ask("/meta/disconnect")
    assert edge.sessions.hub.topics == {}


async def test_a_name_as_long_as_a_book_is_refused(edge: Edge) -> None:
    assert not subscribed(edge, "/" + "x" * 100_000)
