"""Leaving the ring, step by step: who waits for whom, as a small state machine.

ANNOUNCED    nobody new is to come here; otherwise all goes on
ASKED        the ring is asked to list this node as LEAVING
HANDING_OVER it does, so slots have new homes: pubsub gives everything away
LEAVING      all is given away; the ring strikes this node off
DEPARTED     nobody counts on this node any more
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import TYPE_CHECKING

import trio

from dht.view import MemberState

if TYPE_CHECKING:
    from dht.effects import Effect
    from dht.engine import RingEngine
    from pubsub.engine import PubSubEngine


class Stage(IntEnum):
    """How far a node has got on its way out."""

    STAYING = auto()
    ANNOUNCED = auto()
    ASKED = auto()
    HANDING_OVER = auto()
    LEAVING = auto()
    DEPARTED = auto()


class Departure:
    """One node's way out of the ring."""

    def __init__(self) -> None:
        self.stage = Stage.STAYING
        self._departed = trio.Event()

    def announce(self) -> None:
        """The node is about to leave: not ready any more. Idempotent."""
        if self.stage is Stage.STAYING:
            self.stage = Stage.ANNOUNCED

    def start(self, ring: RingEngine, now: float) -> list[Effect]:
        """Ask to leave; idempotent."""
        if self.stage > Stage.ANNOUNCED:
            return []
        self.stage = Stage.ASKED
        return ring.leave(now)

    def proceed(self, ring: RingEngine, pubsub: PubSubEngine | None, now: float) -> list[Effect]:
        """Take the next step if it is time; call after anything has happened."""
        if self.stage is Stage.ASKED:
            mine = ring.view.get(ring.me.id) if ring.view is not None else None
            if mine is None or mine.state is not MemberState.LEAVING:
                return []
            self.stage = Stage.HANDING_OVER
            return pubsub.drain(now) if pubsub is not None else []
        if self.stage is Stage.HANDING_OVER and (pubsub is None or pubsub.drained()):
            self.stage = Stage.LEAVING
            return ring.handed_over(now)
        return []

    def finish(self) -> None:
        """The ring no longer lists this node."""
        self.stage = Stage.DEPARTED
        self._departed.set()

    async def wait_departed(self) -> None:
        """Return once nobody counts on this node any more."""
        await self._departed.wait()
