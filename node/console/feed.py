"""The feed: while a console is open, one round a second; all of them get the same bytes.

A console that is slow skips pulses, because nothing is queued for it; one that
takes nothing at all is dropped by whoever sends to it (`node.ops`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from dht.ids import slot_of
from node.console import picture

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dht.ids import NodeId
    from node.cluster.driver import Cluster
    from node.console.messages import Branch, Figures, Survey
    from node.console.survey import Surveyor

EVERY: Final = 1.0
"""Seconds from one pulse to the next."""
MAX_CONSOLES: Final = 4
"""Open consoles of one node."""
RETRY_MS: Final = 2_000
_encode: Final = msgspec.json.encode


def event(name: str, data: msgspec.Struct) -> bytes:
    """One server-sent event; JSON of msgspec's has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))


class Feed:
    """What the open consoles of this node are sent. `run` it."""

    def __init__(self, cluster: Cluster, surveyor: Surveyor, every: float = EVERY) -> None:
        """`every`: seconds between pulses."""
        self._cluster = cluster
        self._surveyor = surveyor
        self._every = every
        self.open = 0
        """Consoles that are open."""
        self._wanted = trio.Event()
        self._turn = trio.Event()
        self._ring_key: tuple[object, ...] = ()
        self._ring = b""
        self._pulse = b""
        self._names: tuple[str, ...] = ()
        self._looks: dict[NodeId, int] = {}

    @property
    def full(self) -> bool:
        """Whether another console would be one too many."""
        return self.open >= MAX_CONSOLES

    async def follow(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Be one open console, until `send` raises or the task is cancelled."""
        self.open += 1
        self._wanted.set()
        try:
            self._draw_ring()
            ring = self._ring
            await send(b"retry: %d\n\n" % RETRY_MS + ring)
            while True:
                await self._turn.wait()
                data = self._pulse if ring is self._ring else self._ring + self._pulse
                ring = self._ring
                await send(data)
        finally:
            self.open -= 1

    async def run(self) -> None:
        """A round, again and again, for as long as a console is open."""
        while True:
            await self._wanted.wait()
            while self.open:
                began = trio.current_time()
                await self._round()
                turn, self._turn = self._turn, trio.Event()
                turn.set()
                await trio.sleep_until(began + self._every)
            self._wanted = trio.Event()
            self._names, self._pulse = (), b""
            self._looks.clear()

    def _draw_ring(self) -> None:
        """The ring's picture, drawn again only if something in it has changed."""
        status = self._cluster.status()
        ring = status.ring
        key = (ring.digest, ring.leader, ring.ring) if ring is not None else ()
        if key != self._ring_key or not self._ring:
            self._ring_key = key
            self._ring = event("ring", picture.ring_picture(status))

    async def _round(self) -> None:
        nodes = self._surveyor.members()
        answers = await self._surveyor.ask(nodes, self._names, figures=True)
        publishes = picture.publishes(self._fresh(answers))
        names = picture.names(publishes, picture.channels(answers))
        branches = _by_name(answers)
        new = tuple(name for name in names if name not in self._names)
        if new:
            branches |= _by_name(await self._surveyor.ask(nodes, new))
        self._names = names
        self._draw_ring()
        status = self._cluster.status()
        trees = []
        if status.placement is not None and status.placement.view.active:
            trees = [
                picture.tree(name, status.placement.home(slot_of(name)), branches.get(name, {}))
                for name in names
            ]
        pulse = picture.pulse_picture(status, time.time(), nodes, answers, publishes, tuple(trees))
        self._pulse = event("pulse", pulse)

    def _fresh(self, answers: dict[NodeId, Survey]) -> dict[NodeId, Figures]:
        """Figures of looks that this node has not been told before."""
        figures = {node: answer.figures for node, answer in answers.items() if answer.figures}
        fresh = {node: each for node, each in figures.items() if self._looks.get(node) != each.look}
        self._looks = {node: each.look for node, each in figures.items()}
        return fresh


def _by_name(answers: dict[NodeId, Survey]) -> dict[str, dict[NodeId, Branch]]:
    """What each node has of each topic."""
    found: dict[str, dict[NodeId, Branch]] = {}
    for node, answer in answers.items():
        for branch in answer.branches:
            found.setdefault(branch.topic, {})[node] = branch
    return found
