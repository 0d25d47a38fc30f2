"""Who is home, who are the replicas, who is whose parent: pure functions of a view.

Two nodes on the same view agree on everything here without another word.
Closest members are found by descent over the sorted list of ids, as one walks
a compressed binary trie: a few bisections, never a scan of the members.

Sources: Kademlia, section 2 (XOR closeness); Scribe (the tree is its route,
computed instead of sent), with base-8 digits.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING

from dht.errors import LocalProtocolError, NoMembers
from dht.ids import ID_BITS, SLOT_BITS, SLOTS, slot_midpoint, slot_of, to_int

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dht.ids import NodeId
    from dht.view import Member, View

DIGIT_BITS = 3  # base 8: depth about log8(n), fan-out measured <= 37 at 10,000 members
FLAT_LIMIT = 32  # members up to which a tree is one level: the home sends to each itself
REPLICAS = 3
_ZONE_WALK = 32  # closest members to look at before the members of other zones are listed apart


def closest(ids: Sequence[int], key: int) -> int:
    """The index of the id that is XOR-closest to `key` in the sorted, non-empty `ids`."""
    low, high = 0, len(ids)
    while high - low > 1:
        first = ids[low]
        # The highest bit in which the ids of the range differ splits it in two
        # non-empty halves; that bit of the key decides which half is closer.
        bit = (first ^ ids[high - 1]).bit_length() - 1
        middle = bisect_left(ids, ((first >> bit) | 1) << bit, low, high)
        if key >> bit & 1:
            low = middle
        else:
            high = middle
    return low


def by_distance(ids: Sequence[int], key: int) -> Iterator[int]:
    """Indices of the sorted `ids` from the XOR-closest to `key` outwards, lazily."""
    pending = [(0, len(ids))] if ids else []
    while pending:
        low, high = pending.pop()
        while high - low > 1:
            first = ids[low]
            bit = (first ^ ids[high - 1]).bit_length() - 1
            middle = bisect_left(ids, ((first >> bit) | 1) << bit, low, high)
            if key >> bit & 1:
                pending.append((low, middle))
                low = middle
            else:
                pending.append((middle, high))
                high = middle
        yield low


def placement_of(view: View, flat_limit: int = FLAT_LIMIT) -> Placement:
    """The placement in `view`: the same one for all who ask, as long as they agree on the limit."""
    known: Placement | None = view.__dict__.get("_placement")
    if known is None or known.flat_limit != flat_limit:
        known = view.__dict__["_placement"] = Placement(view, flat_limit)
    return known


def _spread(ids: Sequence[int]) -> int:
    """Low bits of a slot's number that do not matter for who is nearest to it."""
    told_apart = max(
        (ID_BITS + 1 - (low ^ high).bit_length() for low, high in pairwise(ids)), default=0
    )
    return max(0, SLOT_BITS - told_apart)


class Placement:
    """Placement in one view. Cheap to construct: tables fill as they are asked for.

    `flat_limit`: in a view of at most so many ACTIVE members every tree is flat.
    """

    __slots__ = (
        "_active",
        "_held",
        "_homes",
        "_ids",
        "_other_zones",
        "_sets",
        "_slots",
        "_spread",
        "_zones",
        "flat_limit",
        "view",
    )

    def __init__(self, view: View, flat_limit: int = FLAT_LIMIT) -> None:
        self.view = view
        self.flat_limit = flat_limit
        self._active: tuple[Member, ...] = view.active  # sorted by id, as bytes and so as numbers
        self._ids = [to_int(member.id) for member in self._active]
        self._zones = {member.zone for member in self._active}
        self._homes: list[NodeId | None] = [None] * SLOTS
        self._slots: dict[NodeId, tuple[int, ...]] | None = None
        self._other_zones: dict[frozenset[str], tuple[list[int], list[int]]] = {}
        self._sets: dict[int, tuple[NodeId, ...]] = {}
        self._held: dict[NodeId, list[int]] | None = None
        self._spread = _spread(self._ids)

    def home(self, slot: int) -> NodeId:
        """The ACTIVE member XOR-closest to the midpoint of `slot`; raises NoMembers."""
        home = self._homes[slot]
        if home is None:
            home = self._homes[slot] = self._closest(slot_midpoint(slot)).id
        return home

    def home_of(self, name: str) -> NodeId:
        """The home of a channel, session id or session address."""
        return self.home(slot_of(name))

    def replicas(self, slot: int, count: int = REPLICAS) -> tuple[NodeId, ...]:
        """The holders of `slot`, home first: `count` members, or all where there are fewer.

        After the home each is the closest member of a zone that has none yet;
        where all zones have one, the closest that is left. Raises NoMembers.
        """
        key = slot_midpoint(slot)
        chosen = [self._closest(key)]
        while len(chosen) < min(count, len(self._active)):
            chosen.append(self._next_replica(key, chosen))
        return tuple(member.id for member in chosen)

    def holders(self, slot: int) -> tuple[NodeId, ...]:
        """`replicas(slot)`, remembered: slots alike in the bits that tell ids apart share it."""
        place = slot >> self._spread
        found = self._sets.get(place)
        if found is None:
            found = self._sets[place] = self.replicas(slot)
        return found

    def parent(self, node: NodeId, root: NodeId) -> NodeId:
        """The parent of `node` in the tree of the ACTIVE member `root`.

        With l the number of base-8 digits that `node` shares with `root`, the
        member closest to ``root[:l+1] + node[l+1:]``. That member shares at
        least l + 1 digits with the root (the root itself does), so each hop
        strictly lengthens the shared prefix: no loops. `node` need not be
        ACTIVE, nor a member. Raises LocalProtocolError for the root itself.
        """
        if node == root:
            msg = "the root of a tree has no parent"
            raise LocalProtocolError(msg)
        if len(self._active) <= self.flat_limit:
            return root
        mine, target = to_int(node), to_int(root)
        shared_bits = ID_BITS - (mine ^ target).bit_length()
        digits = shared_bits // DIGIT_BITS + 1
        rest = max(0, ID_BITS - digits * DIGIT_BITS)
        key = target >> rest << rest | mine & ((1 << rest) - 1)
        parent = self._closest(key).id
        if parent == node:
            msg = "the root of a tree must be an ACTIVE member"
            raise LocalProtocolError(msg)
        return parent

    def slots_of(self, node: NodeId) -> tuple[int, ...]:
        """The slots that `node` is home to, ascending; none for who is not ACTIVE."""
        if self._slots is None:
            self._slots = self._all_slots()
        return self._slots.get(node, ())

    def slots_held_by(self, node: NodeId) -> list[int]:
        """The slots that `node` is home or a replica to, ascending."""
        if self._held is None:
            self._held = {}
            for slot in range(SLOTS) if self._ids else ():
                for holder in self.holders(slot):
                    self._held.setdefault(holder, []).append(slot)
        return self._held.get(node, [])

    def share(self, node: NodeId) -> float:
        """The fraction of all slots that `node` is home to."""
        return len(self.slots_of(node)) / SLOTS

    def _closest(self, key: int) -> Member:
        if not self._ids:
            msg = f"view {self.view.number} has no active member"
            raise NoMembers(msg)
        return self._active[closest(self._ids, key)]

    def _all_slots(self) -> dict[NodeId, tuple[int, ...]]:
        slots: dict[NodeId, list[int]] = {member.id: [] for member in self._active}
        if self._ids:
            for slot in range(SLOTS):
                slots[self.home(slot)].append(slot)
        return {node: tuple(owned) for node, owned in slots.items()}

    def _next_replica(self, key: int, chosen: list[Member]) -> Member:
        zones = frozenset(member.zone for member in chosen)
        if len(zones) == len(self._zones):
            nearest = (self._active[index] for index in by_distance(self._ids, key))
            return next(member for member in nearest if member not in chosen)
        for steps, index in enumerate(by_distance(self._ids, key)):
            if self._active[index].zone not in zones:
                return self._active[index]
            if steps == _ZONE_WALK:
                break
        # A zone that crowds this neighbourhood holds most of the ring: there are few such sets.
        if zones not in self._other_zones:
            others = [i for i, member in enumerate(self._active) if member.zone not in zones]
            self._other_zones[zones] = (others, [self._ids[i] for i in others])
        others, ids = self._other_zones[zones]
        return self._active[others[closest(ids, key)]]
