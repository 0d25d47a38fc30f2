"""Sessions on their way from one edge to another: what is unread, and what is untold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local_edge import Client, Edge
from pubsub.messages import SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable

    from pubsub.messages import Failed


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
