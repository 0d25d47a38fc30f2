"""Ballots, and what a voter must remember of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.delta import Delta, incarnations_of
from dht.ids import ID_BYTES, WireId

if TYPE_CHECKING:
    from dht.ids import NodeId
    from dht.view import View


class Ballot(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A number that no two proposers share, and no two attempts of one; greater ones win."""

    round: int
    incarnation: int  # of the proposer: a restarted one does not repeat itself
    node: WireId


NO_BALLOT = Ballot(0, 0, bytes(ID_BYTES))


class Electorate(msgspec.Struct, frozen=True, array_like=True):
    """Who decides on view `number` of `ring`: the voters of the view before.

    Each by id and incarnation, as that view lists it.
    """

    ring: bytes
    number: int
    voters: tuple[tuple[WireId, int], ...]

    @property
    def majority(self) -> int:
        """Voters that must agree."""
        return len(self.voters) // 2 + 1

    def incarnation_of(self, node: NodeId) -> int | None:
        """The incarnation of the voter `node`; None if it has no vote."""
        return next((incarnation for voter, incarnation in self.voters if voter == node), None)


NOBODY_VOTES = Electorate(b"", 0, ())


def electorate_of(view: View) -> Electorate:
    """Who decides on the view after `view`."""
    return Electorate(view.ring, view.number + 1, incarnations_of(view))


def electorate_after(delta: Delta) -> Electorate:
    """Who decides on the view after the one that `delta` leads to."""
    return Electorate(delta.ring, delta.number + 1, delta.voters)


class Memory(msgspec.Struct, frozen=True, array_like=True):
    """What one acceptor has said to its latest electorate.

    `since`: the first incarnation of the node from which on nothing is forgotten.
    """

    id: WireId
    since: int
    electorate: Electorate = NOBODY_VOTES
    promised: Ballot = NO_BALLOT
    accepted: Ballot = NO_BALLOT
    delta: Delta | None = None

    @property
    def ring(self) -> bytes:
        """The ring that it votes in; empty for none."""
        return self.electorate.ring

    @property
    def number(self) -> int:
        """The view that is voted on."""
        return self.electorate.number
