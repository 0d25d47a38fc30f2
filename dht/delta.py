"""The difference between a view and the next: what is voted on, spread, and kept on disk.

A delta names the digest of the view that it starts from and of the one that it
leads to, so it can be applied to no other, and a mistake on the way shows. One
without a base starts from nothing: it says the whole of a view, for voters that
have all been restarted (`dht.refounding`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec

from dht.errors import RemoteProtocolError
from dht.ids import WireId
from dht.view import Member, MemberState, View

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.ids import NodeId


_NEXT = "_next"  # under this a view remembers the delta that it met last, and where that leads


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """How view `number` of `ring` differs from the one before."""

    ring: bytes
    number: int
    base: bytes  # the digest of view number - 1; empty: from nothing
    changed: tuple[Member, ...]  # new members and those listed differently, sorted by id
    struck: tuple[WireId, ...]  # members no more, sorted
    voters: tuple[tuple[WireId, int], ...]  # of view `number`, each with its incarnation
    digest: bytes  # of view `number`

    def follows(self, view: View) -> bool:
        """Whether this leads on from `view`."""
        if not self.base:
            return self.ring == view.ring and self.number > view.number
        return (self.ring, self.number - 1, self.base) == (view.ring, view.number, view.digest)


def incarnations_of(view: View) -> tuple[tuple[NodeId, int], ...]:
    """The voters of `view`, each with its incarnation."""
    return tuple((node, view.by_id[node].incarnation) for node in view.voters if node in view)


def between(old: View, new: View) -> Delta:
    """What leads from `old` to its successor `new`."""
    before = old.by_id
    changed = tuple(member for member in new.members if before.get(member.id) != member)
    struck = tuple(member.id for member in old.members if member.id not in new)
    voters = incarnations_of(new)
    delta = Delta(new.ring, new.number, old.digest, changed, struck, voters, new.digest)
    old.__dict__[_NEXT] = delta, new
    return delta


def whole(view: View) -> Delta:
    """What leads to `view` from nothing."""
    voters = incarnations_of(view)
    return Delta(view.ring, view.number, b"", view.members, (), voters, view.digest)


def apply(view: View, delta: Delta) -> View:
    """The view that `delta` leads to. Raises RemoteProtocolError if it does not follow `view`."""
    if not delta.follows(view):
        msg = "a delta of another view"
        raise RemoteProtocolError(msg)
    known: tuple[Delta, View] | None = view.__dict__.get(_NEXT)
    if known is not None and known[0] == delta:
        return known[1]
    members = _merge(view.members if delta.base else (), delta.changed, delta.struck)
    voters = tuple(node for node, _ in delta.voters)
    new = View(delta.number, view.ring, tuple(members), voters, view.former)
    if new.digest != delta.digest:
        msg = "a delta that does not lead where it says"
        raise RemoteProtocolError(msg)
    view.__dict__[_NEXT] = delta, new
    return new


def evicted(view: View, delta: Delta) -> Iterable[NodeId]:
    """The members that may hold a lease and that `delta` strikes off without their own doing.

    Not those that were JOINING or LEAVING, which are home to nothing, nor those
    whose address another process has now: theirs has ended.
    """
    if not delta.base:
        yield from (member.id for member in view.active)
        return
    taken_over = {member.peer for member in delta.changed}
    for node in delta.struck:
        member = view.get(node)
        if (
            member is not None
            and member.state is MemberState.ACTIVE
            and member.peer not in taken_over
        ):
            yield node


def _merge(
    members: tuple[Member, ...], changed: Iterable[Member], struck: Iterable[NodeId]
) -> list[Member]:
    merged = list(members)
    for member in changed:
        place = bisect_left(merged, member.id, key=lambda each: each.id)
        if place < len(merged) and merged[place].id == member.id:
            merged[place] = member
        else:
            merged.insert(place, member)
    for node in struck:
        place = bisect_left(merged, node, key=lambda each: each.id)
        if place < len(merged) and merged[place].id == node:
            del merged[place]
    return merged
