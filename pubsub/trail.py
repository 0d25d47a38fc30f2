"""Where the last state of a slot may be: its homes of the recent past, latest first.

Views come and go faster than slots can follow them, and nodes skip some. So
the home that a new home knows of may never have had the slot, or may have
given it away since; it says which, and the search goes on from there.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from dht.errors import NoMembers
from dht.ids import slot_midpoint, to_int
from dht.placement import by_distance
from dht.view import MemberState

if TYPE_CHECKING:
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import Member, View
    from pubsub.core import Core
    from pubsub.giving import Giving
    from pubsub.messages import HandoffNone

_HOPS = 16  # answers of one search
_LIKELY = 6  # strangers that are asked when nothing is known
_VIEWS = 16  # past views whose homes may be asked


class _Search:
    """Where one slot's state was looked for, when the first asked did not give it."""

    __slots__ = ("heard", "holders", "hops", "silent")

    def __init__(self) -> None:
        self.heard: dict[NodeId, int] = {}  # when they last served the slot
        self.holders: dict[NodeId, int] = {}  # the epochs of states that are to be had
        self.silent: set[NodeId] = set()
        self.hops = 0

    def knows(self, node: NodeId) -> bool:
        return node in self.heard or node in self.silent


class Trail:
    """The searches for slots that this node has gained."""

    def __init__(self, core: Core, giving: Giving) -> None:
        self._core = core
        self._giving = giving
        self._past: list[tuple[View, Placement, float]] = []  # and when it ended; newest first
        self._first: tuple[list[Member], list[int]] = ([], [])  # others in my first view
        self._first_at = 0.0
        self._searches: dict[int, _Search] = {}

    def remember(self, old_view: View | None, old_placement: Placement | None, now: float) -> None:
        """A view has ended; or, without one, this node's first view has begun."""
        view = self._core.view
        if old_view is None or view is None or view.number != old_view.number + 1:
            self._searches.clear()  # in a view that I did not see others may have been home
        since = now - self._core.limits.parted_seconds
        if old_view is not None and old_placement is not None:
            self._past.insert(0, (old_view, old_placement, now))
            self._past = [past for past in self._past if past[2] >= since][:_VIEWS]
        elif view is not None:
            others = [
                member
                for member in view.members
                if member.id != self._core.me and member.state is not MemberState.JOINING
            ]
            self._first = (others, [to_int(member.id) for member in others])
            self._first_at = now
            self._past = []
        if self._first_at < since:
            self._first = ([], [])

    def next_home(self, number: int) -> NodeId | None:
        """The latest home that was not asked yet and may have served later than any that was.

        Its very process must still be there.
        """
        search = self._searches.get(number)
        newest = self._giving.last_epoch(number)
        if search is not None:
            newest = max(newest, *search.heard.values(), 0)
        for view, placement, _ in self._past:
            if view.number <= newest:
                return None
            try:
                node = placement.home(number)
            except NoMembers:
                continue
            member, before = self._core.members.get(node), view.get(node)
            if member is None or before is None or member.incarnation != before.incarnation:
                continue
            if node != self._core.me and (search is None or not search.knows(node)):
                return node
        return self._likely_home(number, search)

    def _likely_home(self, number: int, search: _Search | None) -> NodeId | None:
        """Of views before my first I know nothing: who is closest to the slot may have been home.

        Most likely the one that would be if I were not there; but others may
        have come with me.
        """
        members, ids = self._first
        for index in islice(by_distance(ids, slot_midpoint(number)), _LIKELY):
            node = members[index].id
            if node in self._core.members and (search is None or not search.knows(node)):
                return node
        return None

    def skip(self, number: int, node: NodeId) -> None:
        """`node` is gone, or silent: what it held, and when, nobody knows."""
        search = self._search(number)
        search.silent.add(node)
        search.holders.pop(node, None)

    def follow(self, number: int, sender: NodeId, message: HandoffNone) -> NodeId | None:
        """Note what `sender` says; the node to ask next (this one itself, perhaps), or None.

        A holder points to who may have served the slot since. If that one says
        when, and it was before, then the holder's state is the last: it is
        asked again and told so.
        """
        search, me = self._search(number), self._core.me
        search.hops += 1
        if message.holds and sender not in search.heard:
            search.holders[sender] = message.served
        else:
            search.holders.pop(sender, None)  # or it was told, and still is not sure
        search.heard[sender] = message.served
        own = self._giving.epoch_of(number)
        if own:
            search.holders[me] = own
        if search.hops > _HOPS:
            return None
        holder = message.holder
        if holder in self._core.members and holder != me and not search.knows(holder):
            return holder
        later = self.next_home(number)
        if later is not None:
            return later
        return max(search.holders, key=search.holders.__getitem__, default=None)

    def heard(self, number: int) -> dict[NodeId, int]:
        """The epochs in which nodes say they last served the slot."""
        search = self._searches.get(number)
        return {} if search is None else search.heard

    def forget(self, number: int) -> None:
        """The search is over."""
        self._searches.pop(number, None)

    def _search(self, number: int) -> _Search:
        search = self._searches.get(number)
        if search is None:
            search = self._searches[number] = _Search()
        return search
