"""One slot on its way to being open: what was heard of it, and whom it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dht.ids import NodeId
    from pubsub.slot_messages import Claim, Holders


class Opening:
    """One slot on its way."""

    __slots__ = (
        "asked",
        "awaited",
        "best",
        "claims",
        "holders",
        "missing",
        "number",
        "reference",
        "since",
        "view",
    )

    def __init__(self, number: int, view: int, holders: Holders, since: float) -> None:
        self.number = number
        self.view = view
        self.holders = holders
        self.since = since
        self.claims: dict[NodeId, Claim] = {}
        self.asked: set[NodeId] = set()
        self.awaited: frozenset[NodeId] = frozenset()  # before that there is nothing to decide
        self.best = 0  # the latest reign that anybody has a copy of
        self.reference: tuple[int, int, int] | None = None  # the state's epoch, seq, lineage
        self.missing: set[NodeId] = set()  # holders that have not installed it
