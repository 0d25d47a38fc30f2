"""Bayeux to the letter: rules that hold for every message, whatever it is."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import trio

from front_door import HANDSHAKE, front_door
from local_edge import Client, Edge
from node.bayeux.connects import CONNECTION_TYPES
from node.config import load_config
from node.http import HttpSettings
from node.websocket import WebSocketSettings
from ws_bytes import TEXT, frame, handshake, read_frame

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR = re.compile(r"\d{3}:[^:]*:.+")


@pytest.fixture
async def edge() -> Edge:
    return Edge(rules='[[channel]]\nmatch = "/closed"\npublish = "nobody"\nsubscribe = "nobody"\n')


def every_message(client: Client) -> list[dict[str, Any]]:
    """One of each kind that succeeds, the end of the session last."""
    return [
        {"channel": "/meta/subscribe", "subscription": "/a"},
        {"channel": "/meta/subscribe", "subscription": ["/b", "/c"]},
        {"channel": "/a", "data": 1},
        {"channel": "/service/x", "data": 1},
        {"channel": "/service/send", "data": {"to": client.address, "data": 1}},
        {"channel": "/meta/unsubscribe", "subscription": "/a"},
        {"channel": "/meta/connect", "connectionType": "long-polling", "advice": {"timeout": 0}},
        {"channel": "/meta/disconnect"},
    ]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "400"),
    ({"channel": ""}, "400"),
    ({"channel": "/a"}, "400"),
    ({"channel": "/meta/subscribe"}, "400"),
    ({"channel": "/meta/unsubscribe", "subscription": "/never"}, "400"),
    ({"channel": "/meta/connect", "connectionType": "pigeon"}, "400"),
    ({"channel": "/closed", "data": 1}, "403"),
    ({"channel": "/meta/subscribe", "subscription": "/closed"}, "403"),
    ({"channel": "/meta/subscribe", "subscription": "/meta/connect"}, "403"),
    ({"channel": "/meta/x", "data": 1}, "404"),
    ({"channel": "/service/send", "data": {"to": "nobody.x", "data": 1}}, "404"),
    ({"channel": "a b", "data": 1}, "405"),
    ({"channel": "/a/**", "data": 1}, "405"),
    ({"channel": "/meta/subscribe", "subscription": "/a/**/b"}, "405"),
    ({"channel": "/meta/subscribe", "subscription": [f"/{n}" for n in range(20_000)]}, "413"),
]


@pytest.mark.parametrize("identity", ["7", 7, "", "ä", None])
async def test_every_reply_says_whether_and_to_which(edge: Edge, identity: Any) -> None:
    """`successful`, the channel, and the request's `id` as it came."""
    client = edge.client()
    for message in every_message(client):
        named = message if identity is None else message | {"id": identity}
        replies = edge.request(named | {"clientId": client.id})
        (reply,) = [one for one in replies if "successful" in one]
        assert reply["successful"] is True
        assert reply["channel"] == message["channel"]
        assert reply.get("id") == identity


@pytest.mark.parametrize(("message", "code"), WRONG)
async def test_every_failure_says_why_in_three_parts(
    edge: Edge, message: dict[str, Any], code: str
) -> None:
    client = edge.client()
    (reply,) = edge.request(message | {"clientId": client.id, "id": "9"})
    assert reply["successful"] is False
    assert ERROR.fullmatch(reply["error"])
    assert reply["error"].startswith(code)
    assert reply["id"] == "9"
    assert client.id not in reply["error"]


async def test_without_a_session_every_message_is_answered_402(edge: Edge) -> None:
    client = edge.client()
    for message in every_message(client):
        for credential in ({}, {"clientId": "unknown.AAAAAAAAAAAAAAAAAAAAAA"}):
            (reply,) = edge.request(message | credential)
            assert reply["error"] == "402::session_unknown"
            assert reply["advice"]["reconnect"] == "handshake"
            assert reply["channel"] == message["channel"]
    assert client.ask("/meta/disconnect")["successful"]
    for message in every_message(client):
        (reply,) = edge.request(message | {"clientId": client.id})
        assert reply["error"] == "402::session_unknown"


async def test_a_batch_is_answered_message_by_message_the_wrong_ones_too(edge: Edge) -> None:
    client = edge.client()
    messages = [message | {"clientId": client.id} for message, _ in WRONG[:-1]]
    good = {"channel": "/b", "data": 1, "clientId": client.id, "id": "good"}
    replies = edge.request(*messages, good)
    assert [reply["successful"] for reply in replies] == [False] * len(messages) + [True]


async def test_a_delivery_is_channel_data_and_its_id(edge: Edge) -> None:
    reader, sender = edge.client(), edge.client()
    reader.subscribe("/a")
    fields: dict[str, Any] = {
        "data": {"x": None},
        "id": "7",
        "foo": 1,
        "successful": True,
        "ext": {"a": 1},
    }
    assert sender.ask("/a", **fields)["successful"]
    (message,) = reader.fetch()
    assert set(message) == {"channel", "data", "id"}
    assert message["data"] == {"x": None}
    assert message["id"] != "7"  # of the sender's request


async def test_the_two_requests_of_a_client_do_not_wait_for_each_other() -> None:
    """One is held; the other, on another connection, is answered at once, a hundred times."""
    async with front_door() as door:
        polls, others = door.connect(), door.connect()
        reply, _ = await others.handshake()
        session = {"clientId": reply["clientId"]}
        connect = session | {"channel": "/meta/connect", "connectionType": "long-polling"}
        await polls.bayeux(connect)
        await polls.send("POST /bayeux", body=json.dumps([connect]).encode())
        for number in range(100):
            publish = session | {"channel": "/x", "data": number}
            (answer,), _ = await others.bayeux(publish)
            assert answer["successful"]
        with trio.move_on_after(0.05):
            raise AssertionError(await polls.client.receive())
        assert door.sessions.all()[0].poll is not None


def test_the_defaults_are_those_that_clients_are_promised() -> None:
    """Seconds and bytes."""
    config = load_config({})
    assert (config.timeout, config.interval, config.max_interval) == (30, 0, 10)
    assert config.max_message_size == 1 << 20
    assert config.multi_session_interval == 2
    assert config.max_lazy_timeout == 5
    http = HttpSettings()
    assert (http.drain_bytes, http.drain_timeout) == (16 << 20, 5)
    assert WebSocketSettings().ping_interval == 25
    assert {"long-polling", "callback-polling", "websocket"} < set(CONNECTION_TYPES)


async def test_the_advice_of_a_handshake_has_all_of_it(edge: Edge) -> None:
    shake = {"channel": "/meta/handshake", "version": "1.0"}
    (reply,) = edge.request(shake | {"supportedConnectionTypes": ["long-polling"]})
    told = {"reconnect": "retry", "interval": 0, "timeout": 30_000, "maxInterval": 10_000}
    assert reply["advice"] == told


@pytest.mark.parametrize("wrap", [lambda message: message, lambda message: [message]])
async def test_a_websocket_takes_arrays_and_single_objects(wrap: Callable[[Any], Any]) -> None:
    """What comes back is an array all the same."""
    async with front_door() as door:
        client = door.connect().client
        await client.send(handshake())
        await client.until(b"\r\n\r\n")
        await client.send(frame(TEXT, json.dumps(wrap(HANDSHAKE)).encode()))
        with trio.fail_after(5):
            opcode, text = await read_frame(client)
        assert opcode == TEXT
        assert [reply["successful"] for reply in json.loads(text)] == [True]
