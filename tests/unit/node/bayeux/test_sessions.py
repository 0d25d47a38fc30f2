"""Sessions on their way from one edge to another: what is unread, and what is untold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from local_edge import Client, Edge, FakePoll
from node.bayeux.messages import decode_batch
from pubsub.errors import Code
from pubsub.messages import Cursor, Failed, SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable


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
    monkeypatch.setattr(
        edge.cluster, "attach_session", lambda _address, done, _edge: asked.append(done)
    )
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


async def test_a_poll_is_answered_as_ever_when_its_session_moves(edge: Edge) -> None:
    """Its client is served elsewhere, by way of another request: nothing has failed."""
    client = edge.client()
    client.poll(timeout=0)
    held = client.poll()
    assert held.status is None
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.release(client.address, session.generation)
    assert held.status == 200
    (reply,) = held.body
    assert reply["successful"]
    assert edge.sessions.get(client.address) is None


async def test_who_came_by_another_request_may_still_pause_as_the_edge_before_told_it(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It publishes meanwhile, on a node that has told it nothing, and is not swept there."""
    client = edge.client()
    record = edge.cluster.record(client.address)
    assert record is not None
    edge.sessions.lost(client.address)
    monkeypatch.setattr(
        edge.cluster, "attach_session", lambda _a, done, _edge: done(SessionDone(1, record))
    )
    edge.sessions.resume(client.address, lambda _result: None)
    longest = 1.5 * edge.config.shed_interval + edge.config.max_interval
    now = trio.current_time()
    edge.sessions.wheel.advance(now + longest - 1)
    assert edge.sessions.get(client.address) is not None
    edge.sessions.wheel.advance(now + longest + 1)
    assert edge.sessions.get(client.address) is None


async def test_nobody_is_swept_while_homes_may_be_on_their_way(edge: Edge) -> None:
    """Its client may have asked another node, which waits for a home that can move it."""
    client = edge.client()
    patience = edge.config.max_interval
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.wheel.arm(session, trio.current_time() + 1)  # it has been silent for long
    edge.sessions.unsettle()  # the ring changes
    now = trio.current_time()
    edge.sessions.wheel.advance(now + 2)
    assert edge.sessions.get(client.address) is session
    edge.sessions.wheel.advance(now + patience - 1)
    assert edge.sessions.get(client.address) is session


async def test_who_waited_for_a_session_that_moved_on_meanwhile_is_told_so(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that there is no such session, and not that it is here."""
    client = edge.client()
    client.subscribe("/a")
    record = edge.cluster.record(client.address)
    assert record is not None
    edge.sessions.lost(client.address)
    joins: list[Callable[..., None]] = []
    monkeypatch.setattr(
        edge.cluster, "attach_session", lambda _a, done, _edge: done(SessionDone(1, record))
    )
    monkeypatch.setattr(edge.sessions.hub, "join", lambda _s, _c, _at, done: joins.append(done))
    results: list[object] = []
    edge.sessions.resume(client.address, results.append)
    edge.sessions.lost(client.address)
    joins[0](Cursor(1, 0))
    assert results == [Failed(0, Code.MOVED)]
    assert edge.sessions.get(client.address) is None


async def test_a_batch_whose_session_has_moved_on_is_to_be_sent_again(edge: Edge) -> None:
    client = edge.client()
    session = edge.sessions.get(client.address)
    assert session is not None
    poll = FakePoll()
    messages = decode_batch(json.dumps([client.connect_message("long-polling")]).encode())
    batch = edge.protocol.batch(messages, session, poll=poll)
    edge.sessions.lost(client.address)
    batch.run()
    (reply,) = poll.body
    assert reply["error"].startswith("503:")
    assert reply["advice"]["reconnect"] == "retry"
