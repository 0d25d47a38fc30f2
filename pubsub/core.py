"""The state that the parts of one pubsub engine share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.errors import NoMembers
from dht.ids import slot_of
from pubsub.log import Budget, Log
from pubsub.records import Sharer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import Member, View
    from pubsub.feed import Feed
    from pubsub.limits import Limits
    from pubsub.messages import Entry
    from pubsub.slot import Slot, Topic
    from pubsub.slot_messages import Holders, Pledge


class Core:
    """One node's view of the ring, and its slots, topics and feeds."""

    __slots__ = (
        "_holders",
        "alive",
        "budget",
        "copies",
        "feeds",
        "first",
        "founded",
        "inboxes",
        "incarnation",
        "leased",
        "limits",
        "listed_until",
        "me",
        "members",
        "placement",
        "pledges",
        "renewed",
        "sharer",
        "slots",
        "struck_after",
        "topics",
        "view",
    )

    def __init__(self, me: NodeId, limits: Limits, leased: Callable[[float], bool]) -> None:
        """`leased`: whether this node may acknowledge as a home at a time."""
        self.me = me
        self.limits = limits
        self.leased = leased
        self.view: View | None = None
        self.placement: Placement | None = None
        self.members: dict[NodeId, Member] = {}
        self.slots: dict[int, Slot] = {}  # those that I am home to and that are open
        self.copies: dict[int, Slot] = {}  # all that I hold, those included
        # The views that slots were sealed for here since what I have of them was installed.
        self.pledges: dict[int, tuple[Pledge, ...]] = {}
        self.topics: dict[str, Topic] = {}  # all in open slots; inboxes only while they have a log
        self.feeds: dict[str, Feed] = {}  # channels
        self.inboxes: dict[str, Feed] = {}  # inboxes with unread entries of sessions held here
        self.budget = Budget()
        self.sharer = Sharer()
        self.alive: dict[NodeId, int] = {}  # the members' incarnations
        self.first = 0  # my incarnation when this process began
        self.founded = 0  # the view that the ring began with, if this process was there
        self.incarnation = 0  # ... and in the last view that has listed me
        self.renewed = False  # the present view has let this process in again
        self.struck_after = 0  # ... which others had struck off after this view
        self.listed_until = 0  # the last view here that has listed me
        self._holders: dict[tuple[NodeId, ...], Holders] = {}

    @property
    def view_number(self) -> int:
        return 0 if self.view is None else self.view.number

    def home_of(self, topic: str) -> NodeId | None:
        """The home of a topic in the present view; None while there can be none."""
        return self.home(slot_of(topic))

    def home(self, slot: int) -> NodeId | None:
        if self.placement is None:
            return None
        try:
            return self.placement.home(slot)
        except NoMembers:
            return None

    def install(self, view: View, placement: Placement) -> None:
        """From now on this is the present view."""
        mine = view.incarnations.get(self.me)
        self.renewed = mine is not None and self.incarnation not in {0, mine}
        if self.renewed:
            self.struck_after = self.listed_until
        if self.view is None and self.me in {member.id for member in view.active}:
            self.founded = view.number  # whoever comes to a ring is JOINING at first
        if mine is not None:
            self.first = self.first or mine
            self.incarnation, self.listed_until = mine, view.number
        self.view, self.placement, self.members = view, placement, view.by_id
        self.alive = view.incarnations
        self._holders = {}

    def leave_ring(self) -> None:
        """Views and incarnations of another ring are about to come."""
        self.view = self.placement = None
        self.first = self.incarnation = self.founded = 0

    def holders(self, slot: int) -> Holders:
        """Who is to hold a slot in the present view, home first; raises NoMembers."""
        if self.placement is None:
            msg = "no view yet"
            raise NoMembers(msg)
        nodes = self.placement.holders(slot)
        found = self._holders.get(nodes)
        if found is None:
            found = tuple((node, self.members[node].incarnation) for node in nodes)
            self._holders[nodes] = found
        return found

    def listed(self, node: NodeId, incarnation: int) -> bool:
        """Whether the present view lists this very process."""
        member = self.members.get(node)
        return member is not None and member.incarnation == incarnation

    def pledged(self, slot: int) -> int:
        """The latest view that a slot was sealed for here; 0 if none."""
        pledges = self.pledges.get(slot)
        return pledges[-1][0] if pledges else 0

    def new_log(self, last: int) -> Log:
        limits = self.limits
        return Log(last, limits.log_entries, limits.log_bytes, self.budget)

    def shrink(self, log: Log) -> None:
        """Memory for logs is short: this one gives up most of what it holds."""
        log.shrink(self.limits.log_entries >> 4, self.limits.log_bytes >> 4)

    def crowded(self) -> bool:
        return 2 * self.budget.used > self.limits.total_log_bytes


def batches(entries: Sequence[Entry], size: int) -> Iterator[tuple[Entry, ...]]:
    """Runs of `entries` of about `size` payload bytes, each with at least one entry."""
    start, filled = 0, 0
    for index, entry in enumerate(entries):
        filled += len(entry.payload)
        if filled > size and index > start:
            yield tuple(entries[start:index])
            start, filled = index, len(entry.payload)
    if start < len(entries):
        yield tuple(entries[start:])
