"""Sessions on their way from one edge to another: what is unread, and what is untold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local_edge import Client, Edge
from pubsub.messages import SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from pubsub.messages import Cursor, Failed


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def write_to(edge: Edge, client: Client, name: str) -> None:
    payload = json.dumps({"channel": "/service/inbox", "data": name, "id": name}).encode()
    edge.cluster.append(client.address, payload, name, lambda _result: None)


async def test_entries_before_the_answer_to_an_attach_are_seen(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = edge.client()
    edge.sessions.lost(client.address)
    asked: list[Callable[[SessionDone | Failed], None]] = []
    monkeypatch.setattr(edge.cluster, "attach_session", lambda _address, done: asked.append(done))
    edge.sessions.resume(client.address, lambda _result: None)
    write_to(edge, client, "m1")  # nobody has the session yet
    record = edge.cluster.record(client.address)
    assert record is not None
    asked[0](SessionDone(1, record))
    assert [message["data"] for message in client.fetch()] == ["m1"]


@pytest.mark.parametrize("told", [False, True])
async def test_a_gap_that_the_client_was_not_told_of_goes_with_it(
    edge: Edge, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """Its home goes on from before the gap, and the next edge tells of it."""
    client = edge.client()
    client.subscribe("/a")
    edge.publish("/a", 1)
    write_to(edge, client, "m1")
    assert len(client.fetch()) == 2
    write_to(edge, client, "m2")
    for name in ("/a", client.address):
        feed = edge.cluster.feed(name)
        assert feed is not None
        edge.sessions.hub.reset(feed)
    if told:
        (reply,) = [m for m in client.poll(timeout=0).body if m["channel"] == "/meta/connect"]
        assert reply["ext"]["gaps"] == ["/a", "/service/inbox"]
    released: list[dict[str, Cursor]] = []
    monkeypatch.setattr(
        edge.cluster,
        "released",
        lambda _address, _generation, cursors: released.append(dict(cursors)),
    )
    edge.sessions.release(client.address, 1)
    assert set(released[0]) == ({"/a", client.address} if told else set())
