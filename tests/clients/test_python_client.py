"""`aiocometd-ng`, a Bayeux client for asyncio, unmodified."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiocometd_ng.client import Client
from aiocometd_ng.constants import ConnectionType
from aiocometd_ng.exceptions import ServerError
from aiocometd_ng.extensions import Extension

from meddling_proxy import MeddlingProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from cluster_process import ClusterProcess, NodeProcess

LIMIT = 20.0  # seconds for anything to arrive
TYPES = [ConnectionType.WEBSOCKET, ConnectionType.LONG_POLLING]

pytestmark = [
    pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.value),
    # It passes numbers where its HTTP library would have objects by now.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Acknowledge(Extension):
    """What the client lacks, on its own interface for such: CometD's `ack`."""

    def __init__(self) -> None:
        self.batch = 0

    async def outgoing(self, payload: list[dict[str, Any]], headers: object) -> None:
        for message in payload:
            if message["channel"] == "/meta/handshake":
                message["ext"] = {"ack": True}
            elif message["channel"] == "/meta/connect":
                message["ext"] = {"ack": self.batch}

    async def incoming(self, payload: list[dict[str, Any]], headers: object = None) -> None:
        for message in payload:
            if message["channel"] == "/meta/connect" and message["successful"]:
                self.batch = message.get("ext", {}).get("ack", self.batch)


@asynccontextmanager
async def client_at(url: str, kind: ConnectionType, **options: Any) -> AsyncIterator[Any]:
    # (Its own clock for lost connections needs an asyncio from before Python 3.10: off.)
    async with Client(f"{url}/bayeux", kind, connection_timeout=0, **options) as client:
        yield client


async def data_of(client: Any, count: int) -> list[Any]:
    async with asyncio.timeout(LIMIT):
        return [(await client.receive())["data"] for _ in range(count)]


async def publish(node: NodeProcess, channel: str, data: object) -> None:
    status, answer = await asyncio.to_thread(
        node.api, "/api/publish", {"channel": channel, "data": data}
    )
    assert status == 200, answer


def run(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(play())


def test_subscribes_and_publishes(ring: ClusterProcess, kind: ConnectionType) -> None:
    room = f"/python/{kind.value}"

    async def play() -> None:
        async with (
            client_at(ring.nodes[0].url, kind) as one,
            client_at(ring.nodes[1].url, kind) as two,
        ):
            assert one.connection_type is kind
            for client in (one, two):
                await client.subscribe(room)
                assert client.subscriptions == {room}
            reply = await one.publish(room, {"n": 1})
            assert reply["successful"]
            await publish(ring.nodes[2], room, {"n": 2})
            for client in (one, two):
                assert await data_of(client, 2) == [{"n": 1}, {"n": 2}]
            await two.unsubscribe(room)
            await one.publish(room, {"n": 3})
            assert await data_of(one, 1) == [{"n": 3}]
            assert not two.has_pending_messages

    run(play)


def test_is_told_what_it_may_not(ring: ClusterProcess, kind: ConnectionType) -> None:
    async def play() -> None:
        async with client_at(ring.nodes[0].url, kind) as client:
            with pytest.raises(ServerError) as caught:
                await client.subscribe("/meta/connect")
            assert str(caught.value.error).startswith("403:")

    run(play)


def test_after_a_dropped_connection_what_it_missed_is_replayed(
    ring: ClusterProcess, kind: ConnectionType
) -> None:
    room = f"/python/replay-{kind.value}"

    async def play() -> None:
        with MeddlingProxy(ring.nodes[0].client_port) as proxy:
            async with client_at(proxy.url, kind, extensions=[Acknowledge()]) as client:
                await client.subscribe(room)
                await publish(ring.nodes[1], room, 0)
                assert await data_of(client, 1) == [0]
                proxy.losing = 1
                for number in (1, 2):
                    await publish(ring.nodes[1], room, number)
                proxy.cut()
                for number in (3, 4):
                    await publish(ring.nodes[1], room, number)
                assert await data_of(client, 4) == [1, 2, 3, 4]
                assert proxy.lost == 1
                await client.publish(room, 5)
                assert await data_of(client, 1) == [5]

    run(play)


def test_also_if_it_comes_back_to_another_node(ring: ClusterProcess, kind: ConnectionType) -> None:
    room = f"/python/moved-{kind.value}"

    async def play() -> None:
        with MeddlingProxy(ring.nodes[0].client_port) as proxy:
            async with client_at(proxy.url, kind, extensions=[Acknowledge()]) as client:
                await client.subscribe(room)
                await publish(ring.nodes[0], room, 0)
                assert await data_of(client, 1) == [0]
                proxy.port = ring.nodes[1].client_port
                proxy.cut()
                for number in (1, 2):
                    await publish(ring.nodes[0], room, number)
                assert await data_of(client, 2) == [1, 2]
                assert not client.has_pending_messages

    run(play)
