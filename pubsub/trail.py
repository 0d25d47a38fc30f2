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

_HOPS = 6  # redirections that are followed
_VIEWS = 16  # past views whose homes may be asked


class _Search:
    """Where one slot's state was looked for, when the first asked did not have it."""

    __slots__ = ("hops", "never", "tried", "yielded")

    def __init__(self) -> None:
        self.tried: set[NodeId] = set()
        self.never: tuple[NodeId, ...] = ()
        self.yielded: tuple[NodeId, NodeId] | None = None  # to whom, by whom
        self.hops = 0


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
        """The latest home whose very process is still there and that was not tried yet."""
        search = self._searches.get(number)
        for view, placement, _ in self._past:
            try:
                node = placement.home(number)
            except NoMembers:
                continue
            if node == self._core.me:
                if self._giving.served(number):
                    return None  # what older homes hold is older than what was here
                continue
            member, before = self._core.members.get(node), view.get(node)
            if member is None or before is None or member.incarnation != before.incarnation:
                continue
            if search is None or node not in search.tried:
                return node
        return self._likely_home(number, search)

    def _likely_home(self, number: int, search: _Search | None) -> NodeId | None:
        """Of views before my first I know nothing: who is closest to the slot may have been home.

        Most likely the one that would be if I were not there; but others may
        have come with me.
        """
        members, ids = self._first
        for index in islice(by_distance(ids, slot_midpoint(number)), _HOPS):
            node = members[index].id
            if node in self._core.members and (search is None or node not in search.tried):
                return node
        return None

    def skip(self, number: int, node: NodeId) -> None:
        """`node` is gone, or silent."""
        self._search(number).tried.add(node)

    def follow(self, number: int, sender: NodeId, message: HandoffNone) -> bool:
        """Note what `sender` says; True if the node that it names should be asked next."""
        search = self._search(number)
        search.hops += 1
        if message.never:
            search.never = (*search.never, sender)
        elif message.holder and not message.holds:
            search.yielded = (message.holder, sender)
        onward = (
            message.holder in self._core.members
            and message.holder != self._core.me
            and search.hops <= _HOPS
        )
        if message.never or not onward:
            search.tried.add(sender)  # else it may give the slot once the other one has spoken
        return onward

    def never(self, number: int, holder: NodeId) -> tuple[NodeId, ...]:
        """Nodes that say that they have served the slot no later than `holder` has.

        Those that never did; and who says that all it had went to `holder`.
        """
        search = self._searches.get(number)
        if search is None:
            return ()
        if search.yielded is not None and search.yielded[0] == holder:
            return (*search.never, search.yielded[1])
        return search.never

    def forget(self, number: int) -> None:
        """The search is over."""
        self._searches.pop(number, None)

    def _search(self, number: int) -> _Search:
        search = self._searches.get(number)
        if search is None:
            search = self._searches[number] = _Search()
        return search
