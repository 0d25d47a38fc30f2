"""The iterative lookup: who is closest to a key, asked of ever closer contacts.

Up to alpha questions are open at a time. The lookup ends when the k closest
contacts that it heard of, dead ones left out, have all answered. A contact
that failed once is out for good, however often others name it (the package's
own crawl adds it again and again).

Source: Maymounkov and Mazieres, "Kademlia", section 2.3.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from kademlia.node import NodeHeap

from dht.contact import Contact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.ids import NodeId

_HEAP_FACTOR = 4  # contacts remembered, in multiples of k; a lying answerer cannot add more


class Lookup:
    """One lookup of `target`. The owner asks, reports answers and failures, and keeps time.

    `asker` is left out of all results. `patience` is in seconds.
    """

    def __init__(
        self,
        target: NodeId,
        start: Iterable[Contact],
        asker: NodeId,
        *,
        k: int = 20,
        alpha: int = 3,
        patience: float = 1.0,
    ) -> None:
        self.target = target
        self.k = k
        self.alpha = alpha
        self.patience = patience
        self._heap = NodeHeap(Contact(target, ""), k)
        self._open: dict[NodeId, float] = {}  # asked, and when to give up
        self._answered: set[NodeId] = set()
        self._out: set[NodeId] = {asker}
        self._learn(start)

    @property
    def done(self) -> bool:
        """Whether there is nobody left to ask or to wait for."""
        return not self._open and not self._unasked()

    def closest(self) -> list[Contact]:
        """The (at most k) closest contacts that have answered, in XOR order."""
        return [contact for contact in self._heap if contact.id in self._answered]

    def questions(self, now: float) -> list[Contact]:
        """Whom to ask for `target` now; each is named once."""
        asked = self._unasked()[: max(0, self.alpha - len(self._open))]
        for contact in asked:
            self._open[contact.id] = now + self.patience
        return asked

    def answered(self, node: NodeId, contacts: Iterable[Contact]) -> None:
        """`node` named `contacts`, of which k count. An answer nobody asked for is ignored."""
        if self._open.pop(node, None) is None:
            return
        self._answered.add(node)
        self._learn(islice(contacts, self.k))

    def failed(self, node: NodeId) -> None:
        """`node` cannot be reached: it takes no further part."""
        self._open.pop(node, None)
        self._answered.discard(node)
        self._out.add(node)
        self._heap.remove([node])

    def next_deadline(self) -> float | None:
        """When the next open question runs out."""
        return min(self._open.values(), default=None)

    def handle_timer(self, now: float) -> None:
        """Count those who have not answered in time as failed."""
        for node in [node for node, deadline in self._open.items() if deadline <= now]:
            self.failed(node)

    def _unasked(self) -> list[Contact]:
        return [
            contact
            for contact in self._heap
            if contact.id not in self._answered and contact.id not in self._open
        ]

    def _learn(self, contacts: Iterable[Contact]) -> None:
        new = {contact.id: contact for contact in contacts if contact.id not in self._out}
        self._heap.push(list(new.values()))
        surplus = len(self._heap.heap) - _HEAP_FACTOR * self.k
        if surplus > 0:
            farthest = sorted(self._heap.heap)[-surplus:]
            self._heap.remove([contact.id for _, contact in farthest])
