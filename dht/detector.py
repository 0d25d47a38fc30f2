"""Who is silent: a member watches its ring neighbours, and they watch it.

Observers are a pure function of the view: up to three members on each side in
the order of ids. Watching is mutual, over the links that carry data too.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from dht.messages import Suspicion

if TYPE_CHECKING:
    from dht.ids import NodeId
    from dht.settings import RingSettings
    from dht.view import View


_NEVER = float("inf")


def observers_of(view: View, node: NodeId, count: int = 6) -> tuple[NodeId, ...]:
    """The up to `count` ring neighbours of the member `node`; they watch it, and it them."""
    members = view.members
    place = bisect_left(members, node, key=lambda member: member.id)
    reach = min(count // 2, len(members) - 1)
    steps = (step for offset in range(1, reach + 1) for step in (offset, -offset))
    neighbours = dict.fromkeys(members[(place + step) % len(members)].id for step in steps)
    neighbours.pop(node, None)
    return tuple(neighbours)


class Detector:
    """What this node itself has seen of the members; times are monotonic seconds."""

    def __init__(self, settings: RingSettings) -> None:
        self._settings = settings
        self._due: dict[NodeId, float] = {}  # observed member -> when its silence is suspect
        self._gone: dict[NodeId, int] = {}  # member -> the incarnation proven gone
        self._began: float | None = None  # when the first view was installed
        self._since: dict[NodeId, float] = {}  # newer member -> when a view first named it
        self._view: View | None = None
        self._next = float("-inf")  # no silence becomes suspect before that
        self._voters: dict[NodeId, float] = {}  # voter -> when its silence is noticed

    @property
    def observed(self) -> tuple[NodeId, ...]:
        """The members that this one watches, and by which it is watched."""
        return tuple(self._due)

    def install(self, view: View, me: NodeId, now: float) -> None:
        """Watch the neighbours that `view` gives `me`; new ones have time to appear."""
        watched = observers_of(view, me, self._settings.observers) if me in view else ()
        renewed, _ = view.since(self._view)
        self._next = float("-inf")
        fresh = now + self._settings.grace
        self._due = {
            node: fresh if node in renewed else self._due.get(node, fresh) for node in watched
        }
        self._voters = {
            node: fresh if node in renewed else self._voters.get(node, fresh)
            for node in view.voters
            if node != me
        }
        if self._began is None:
            self._began = now
        else:
            still = now - self._settings.grace
            self._since = {node: since for node, since in self._since.items() if since > still}
            self._since.update(dict.fromkeys(renewed, now))
        self._gone = {
            node: incarnation
            for node, incarnation in self._gone.items()
            if node in view and view.by_id[node].incarnation == incarnation
        }
        self._view = view

    def heard(self, node: NodeId, now: float) -> None:
        """`node` is alive: it spoke, or a link to it opened."""
        if node in self._due:
            due = self._due[node] = max(self._due[node], now + self._settings.suspect_after)
            self._next = min(self._next, due)
        if node in self._voters:
            self._voters[node] = max(self._voters[node], now + self._settings.suspect_after)
        self._gone.pop(node, None)

    def gone(self, node: NodeId) -> bool:
        """The process of `node` is proven gone; True if that is news about a member."""
        member = self._view.get(node) if self._view is not None else None
        if member is None or self._gone.get(node) == member.incarnation:
            return False
        self._gone[node] = member.incarnation
        return True

    def is_new(self, node: NodeId, now: float) -> bool:
        """Whether the member `node` may still be settling in."""
        began = now if self._began is None else self._began
        return now < self._since.get(node, began) + self._settings.grace

    def silent(self, now: float) -> frozenset[NodeId]:
        """All that should be heard of and are not, observed or voters."""
        return self.missing(now).union(node for node, due in self._due.items() if due <= now)

    def missing(self, now: float) -> frozenset[NodeId]:
        """Voters that have not been heard of late. They may not be this member's to accuse."""
        return frozenset(node for node, due in self._voters.items() if due <= now)

    def proven_gone(self) -> frozenset[NodeId]:
        """Members whose process is proven gone, observed or not."""
        return frozenset(self._gone)

    def vouched(self, voter: NodeId, until: float) -> None:
        """Others have heard of `voter`: it is not missed before `until`."""
        if voter in self._voters:
            self._voters[voter] = max(self._voters[voter], until)

    def excuse(self, now: float) -> None:
        """Our own loop was late: everyone watched gets two more beats."""
        until = now + 2 * self._settings.beat
        self._due = {node: max(due, until) for node, due in self._due.items()}
        self._voters = {node: max(due, until) for node, due in self._voters.items()}
        self._next = min(self._next, until)

    def suspicions(self, now: float) -> tuple[Suspicion, ...]:
        """The observed members that are silent or gone."""
        view = self._view
        return tuple(
            Suspicion(node, view.by_id[node].incarnation, node in self._gone)
            for node, due in (self._due.items() if view is not None else ())
            if view is not None and (due <= now or node in self._gone)
        )

    def next_deadline(self, now: float) -> float | None:
        """When the next silence may become suspect; those that are suspect already do not count.

        Asked after every message, nearly always in vain: an answer stands until it has come,
        though what was heard meanwhile has put it off.
        """
        if self._next <= now:
            self._next = min((due for due in self._due.values() if due > now), default=_NEVER)
        return self._next if self._next < _NEVER else None
