"""Voting on the next view: one proposer at a time, a majority of voters, timed promises.

The leader asks the voters of view v to assent to its view v + 1, and installs
it once a majority has. A voter that has assented stands by it for `assent_life`
seconds: longer than the leader's poll is open, so that by the time it may
assent to another the first has been decided, and told, or given up. The side
of a cut without a majority decides nothing, however its suspicions come in.

Voters that are proven gone do not count, so that the survivors of a crash go
on by themselves. That, and promises that lapse, leave a gap that Paxos with a
memory on disk will close: when a leader decides and is cut off, or dies, before
a majority hears of it, the others may make another view of the same number.
The greater digest stands then, everywhere (`dht.agreement.supersedes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.ids import NodeId

if TYPE_CHECKING:
    from collections.abc import Collection

    from dht.docket import Proposal
    from dht.settings import RingSettings
    from dht.view import View


class _Promise(msgspec.Struct, frozen=True):
    number: int
    digest: bytes
    proposer: NodeId
    until: float


class Voter:
    """A voter's memory: the one view that it stands by."""

    def __init__(self, settings: RingSettings) -> None:
        self._life = settings.assent_life
        self._promise: _Promise | None = None

    def assents(
        self, proposed: View, proposer: NodeId, gone: Collection[NodeId], now: float
    ) -> bool:
        """Whether to assent to `proposed`, the successor of the voter's own view.

        A proposer may better its own proposal: it counts assents to the last
        one only. One that is `gone` decides nothing any more.
        """
        promise = self._promise
        if (
            promise is not None
            and promise.number == proposed.number
            and promise.digest != proposed.digest
            and promise.proposer != proposer
            and promise.proposer not in gone
            and now < promise.until
        ):
            return False
        self._promise = _Promise(proposed.number, proposed.digest, proposer, now + self._life)
        return True


class Poll:
    """The leader's count for one proposal; void after `deadline`."""

    def __init__(self, proposal: Proposal, voters: Collection[NodeId], deadline: float) -> None:
        self.proposal = proposal
        self.deadline = deadline
        self._voters = frozenset(voters)
        self._assents: set[NodeId] = set()

    def count(self, voter: NodeId, digest: bytes, now: float) -> None:
        """`voter` assents to the view with this digest; who has no vote does not count."""
        if voter in self._voters and digest == self.proposal.view.digest and now < self.deadline:
            self._assents.add(voter)

    def missing(self) -> frozenset[NodeId]:
        """Voters that have not assented."""
        return self._voters - self._assents

    def is_won(self, gone: Collection[NodeId]) -> bool:
        """Whether a majority of the voters that are not `gone` has assented."""
        counted = self._voters.difference(gone)
        return not counted or 2 * len(counted & self._assents) > len(counted)
