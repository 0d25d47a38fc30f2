"""Real `Peers` on loopback, with events that remember what they were told."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from node.cluster.codec import Encoder
from node.cluster.greetings import Introduction
from node.cluster.peers import Peers
from node.stats import Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import msgspec

    from node.cluster.link import Link

SECRET = b"s" * 32
HOST = "127.0.0.1"


async def until(condition: Callable[[], Any], within: float = 5.0) -> None:
    """Wait for `condition`; an AssertionError if it does not come true."""
    with trio.move_on_after(within):
        while not condition():
            await trio.sleep(0.002)
        return
    raise AssertionError(f"not true within {within} s")


class Events:
    """Implements `PeerEvents`."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.received: list[tuple[bytes, Any]] = []
        self.frames = 0
        self.fail: Exception | None = None

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.log if event[0] == kind]

    def link_opened(self, node: bytes, peer: str, address: str | None) -> None:
        self.log.append(("opened", node, peer, address))

    def address_known(self, node: bytes, peer: str, address: str | None) -> None:
        self.log.append(("known", node, peer, address))

    def link_lost(self, node: bytes) -> None:
        self.log.append(("lost", node))

    def link_closed(self, node: bytes, *, refused: bool) -> None:
        self.log.append(("closed", node, refused))

    def dial_failed(self, address: str, *, refused: bool) -> None:
        self.log.append(("failed", address, refused))

    async def receive(self, link: Link, messages: list[Any]) -> None:
        self.frames += 1
        self.received += [(link.node, message) for message in messages]
        if self.fail is not None:
            raise self.fail


class Party:
    """One node's links."""

    def __init__(
        self, me: Introduction, listeners: list[trio.SocketListener], secrets: tuple[bytes, ...]
    ) -> None:
        self.me = me
        self.stats = Stats()
        self.events = Events()
        self.listeners = listeners
        self.peers = Peers(me, secrets, self.stats, self.events, random.Random(1))
        self.scope = trio.CancelScope()
        self._encoder = Encoder()

    def send(self, to: Party, message: msgspec.Struct) -> bool:
        return self.peers.send(to.me.id, to.me.peer, self._encoder.encode(message))

    def linked(self, to: Party) -> bool:
        return to.me.id in self.peers.links

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.peers.run(self.listeners, task_status=task_status)

    def stop(self) -> None:
        """End like a killed process: listener and links close without a word."""
        for listener in self.listeners:
            listener.socket.close()
        self.scope.cancel()


async def party(
    name: str, secrets: tuple[bytes, ...] = (SECRET,), incarnation: int = 1, port: int = 0
) -> Party:
    """A node whose id is twenty times `name`, listening on a port of its own."""
    listeners = await trio.open_tcp_listeners(port, host=HOST)
    address = f"{HOST}:{listeners[0].socket.getsockname()[1]}"
    return Party(Introduction(name.encode() * 20, incarnation, address), listeners, secrets)


@asynccontextmanager
async def running(*parties: Party) -> AsyncIterator[trio.Nursery]:
    """The parties run inside the block."""
    async with trio.open_nursery() as nursery:
        for each in parties:
            await nursery.start(each.run)
        yield nursery
        nursery.cancel_scope.cancel()
