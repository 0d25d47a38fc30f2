"""Real `Cluster`s in one trio run, over loopback, with a listener that remembers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from node.cluster.driver import Cluster
from node.config import Config
from node.stats import Stats
from peers_rig import HOST, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dht.placement import Placement
    from dht.view import View
    from node.cluster.messages import NodeMessage
    from pubsub.feed import Feed

SECRET = "s" * 32


class Edge:
    """Implements `ClusterListener`; reads every feed as it is told of it."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.views: list[int] = []
        self.entries: dict[str, list[Any]] = {}
        self.batches = 0
        self.cluster: Cluster | None = None

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.log if event[0] == kind]

    def payloads(self, topic: str) -> list[bytes]:
        return [entry.payload for entry in self.entries.get(topic, [])]

    def on_view(self, view: View, placement: Placement) -> None:
        assert placement.view is view
        self.views.append(view.number)

    def on_deliver(self, feed: Feed, depth: int) -> None:
        self.log.append(("deliver", feed.topic, depth))
        known = self.entries.setdefault(feed.topic, [])
        known += feed.log.after(known[-1].offset if known else 0, 10_000)

    def on_reset(self, feed: Feed) -> None:
        self.log.append(("reset", feed.topic))

    def on_release(self, address: str, generation: int) -> None:
        self.log.append(("release", address, generation))
        assert self.cluster is not None
        self.cluster.released(address, generation, ())

    def on_session_lost(self, address: str) -> None:
        self.log.append(("session_lost", address))

    def on_message(self, sender: bytes, message: NodeMessage) -> None:
        self.log.append(("message", sender, message))

    def on_link_lost(self, node: bytes) -> None:
        self.log.append(("link_lost", node))

    def on_batch_end(self) -> None:
        self.batches += 1


class Node:
    """One cluster node without clients."""

    def __init__(self, **settings: Any) -> None:
        settings = {"peer": f"{HOST}:0", "client": f"{HOST}:1", "ops": f"{HOST}:2", **settings}
        settings.setdefault("cluster_secret", SECRET)
        self.edge = Edge()
        self.stats = Stats()
        self.cluster = Cluster(Config(**settings), self.stats, self.edge)
        self.edge.cluster = self.cluster
        self.scope = trio.CancelScope()

    @property
    def peer(self) -> str:
        """HOST:PORT that other nodes dial, once bound."""
        return f"{HOST}:{self.port}"

    @property
    def port(self) -> int:
        number: int = self.cluster._sockets[0].socket.getsockname()[1]
        return number

    @property
    def members(self) -> int:
        view = self.cluster.view
        return len(view.members) if view is not None else 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.cluster.run(task_status=task_status)

    def kill(self) -> None:
        """End like a killed process."""
        for each in self.cluster._sockets:
            each.socket.close()
        self.scope.cancel()


@asynccontextmanager
async def ring(size: int, **settings: Any) -> AsyncIterator[tuple[list[Node], trio.Nursery]]:
    """A ring of `size` ready nodes, all of which know the first.

    `state_dir`, for more than one: a folder with one for each, named by its number.
    """
    folder = settings.pop("state_dir", None)

    def node(number: int, **more: Any) -> Node:
        if folder is not None:
            more["state_dir"] = folder / str(number) if size > 1 else folder
        return Node(**more, expect=size, **settings)

    async with trio.open_nursery() as nursery:
        if size > 1:
            # A seed is dialled under its real port, which it gets first.
            (listener,) = await trio.open_tcp_listeners(0, host=HOST)
            port = listener.socket.getsockname()[1]
            await listener.aclose()
            address = f"{HOST}:{port}"
            nodes = [node(0, peer=address, join=address)]
            nodes += [node(number, join=address) for number in range(1, size)]
        else:
            nodes = [node(0)]
        for each in nodes:
            await nursery.start(each.run)
        await until(lambda: all(each.cluster.ready for each in nodes), 15)
        yield nodes, nursery
        assert not any(node.stats.link_refused["bug"] for node in nodes)
        nursery.cancel_scope.cancel()
