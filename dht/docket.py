"""What the next view will change: applicants, wishes, the departed and the dead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.agreement import choose_voters
from dht.dealing import deal_ids
from dht.effects import Send
from dht.ids import NodeId
from dht.messages import Admitted
from dht.view import Member, MemberState, View

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from dht.effects import Effect

# A member's life. Whoever is struck off has none.
_NEXT_STATES = {
    MemberState.JOINING: frozenset({MemberState.ACTIVE, MemberState.LEAVING}),
    MemberState.ACTIVE: frozenset({MemberState.LEAVING}),
    MemberState.LEAVING: frozenset[MemberState](),
}


class Applicant(msgspec.Struct, frozen=True):
    """A node that asks to be let in. `link` is the id its link has now."""

    link: NodeId
    member: Member
    keeps_id: bool


class Proposal(msgspec.Struct, frozen=True):
    """A view to be, and who is let in by it: link's id -> (member id, incarnation)."""

    view: View
    admissions: dict[NodeId, tuple[NodeId, int]]

    def welcome(self) -> list[Effect]:
        """What those who are let in are told."""
        return [
            Send(link, Admitted(you, incarnation, self.view))
            for link, (you, incarnation) in self.admissions.items()
        ]


class Docket:
    """Requests to the voters, kept until a view has answered them. Bounded: one a node.

    They are repeated by whoever makes them: one that is not lapses after `life`
    seconds. So a voter that does not lead may note them too, and never acts on
    what is long settled.
    """

    def __init__(self, most_applicants: int, life: float) -> None:
        self._most_applicants = most_applicants
        self._life = life
        self._applicants: dict[str, tuple[float, Applicant]] = {}  # by peer address
        self._wishes: dict[NodeId, tuple[float, int, MemberState]] = {}
        self._left: dict[NodeId, tuple[float, int]] = {}
        # Applicant's address -> what it was dealt. A proposal that is made again is the
        # same then, and the votes that are on their way still count.
        self._dealt: dict[str, tuple[int, NodeId]] = {}

    def __bool__(self) -> bool:
        return bool(self._applicants or self._wishes or self._left)

    def apply(self, applicant: Applicant, now: float) -> None:
        """`applicant` wants in. With too many waiting it is ignored: it asks again."""
        peer = applicant.member.peer
        if peer in self._applicants or len(self._applicants) < self._most_applicants:
            self._applicants[peer] = now + self._life, applicant

    def wish(self, node: NodeId, incarnation: int, state: MemberState, now: float) -> None:
        """The member `node` wants to be listed as `state`."""
        self._wishes[node] = now + self._life, incarnation, state

    def left(self, node: NodeId, incarnation: int, now: float) -> None:
        """The member `node` has handed everything over."""
        self._left[node] = now + self._life, incarnation

    def expire(self, now: float) -> None:
        """Forget what has not been repeated."""
        if self:
            self._applicants = {
                key: each for key, each in self._applicants.items() if each[0] > now
            }
            self._wishes = {key: each for key, each in self._wishes.items() if each[0] > now}
            self._left = {key: each for key, each in self._left.items() if each[0] > now}

    def settle(self, view: View) -> None:
        """Drop the requests that `view` has answered, or made void."""
        self._applicants = {
            peer: (until, applicant)
            for peer, (until, applicant) in self._applicants.items()
            if not _lists(view, view.by_peer.get(peer), applicant.member.incarnation)
        }
        self._wishes = {
            node: (until, incarnation, state)
            for node, (until, incarnation, state) in self._wishes.items()
            if _lists(view, node, incarnation) and state in _NEXT_STATES[view.by_id[node].state]
        }
        self._left = {
            node: (until, incarnation)
            for node, (until, incarnation) in self._left.items()
            if _lists(view, node, incarnation)
        }
        self._dealt.clear()

    def propose(
        self,
        view: View,
        leader: NodeId,
        dead: Collection[NodeId],
        absent: Collection[NodeId],
        rng: Random,
    ) -> Proposal | None:
        """View number + 1 with all of it, or None if nothing would change.

        The `absent` stay members, but become voters only where there is no one else.

        Applicants are answered by it, so they are forgotten here; one that
        `view` lists already is told so without a new view.
        """
        members = {node: member for node, member in view.by_id.items() if node not in dead}
        for node, (_, incarnation) in self._left.items():
            if _lists(view, node, incarnation):
                members.pop(node, None)
        self._grant_wishes(members)
        admissions = self._admit(members, leader, rng)
        _keep_one_active(members, view, leader)
        if members == view.by_id:
            return Proposal(view, admissions) if admissions else None
        voters = choose_voters(members.values(), view.voters, absent)
        return Proposal(view.successor(members, voters), admissions)

    def _grant_wishes(self, members: dict[NodeId, Member]) -> None:
        for node, (_, incarnation, state) in self._wishes.items():
            member = members.get(node)
            if (
                member is not None
                and member.incarnation == incarnation
                and state in _NEXT_STATES[member.state]
            ):
                members[node] = member.with_state(state)

    def _admit(
        self, members: dict[NodeId, Member], leader: NodeId, rng: Random
    ) -> dict[NodeId, tuple[NodeId, int]]:
        by_peer = {member.peer: member for member in members.values()}
        admissions: dict[NodeId, tuple[NodeId, int]] = {}
        to_deal: list[Applicant] = []
        for _, applicant in self._applicants.values():
            new = applicant.member
            old = by_peer.get(new.peer)
            if old is not None and old.incarnation == new.incarnation:
                admissions[applicant.link] = (old.id, new.incarnation)
                continue
            if leader in (new.id, old and old.id):
                continue  # no one takes the place of a leader that lives
            if old is not None and old.incarnation > new.incarnation:
                continue  # said before that process was let in
            if old is not None:  # its address is the applicant's now: that process has ended
                members.pop(old.id, None)
            node = self._id_for(applicant, members)
            if node is None:
                to_deal.append(applicant)
            else:
                members[node] = new.renamed(node).with_state(MemberState.JOINING)
                admissions[applicant.link] = (node, new.incarnation)
        self._applicants.clear()
        for node, applicant in zip(deal_ids(members, len(to_deal), rng), to_deal, strict=True):
            new = applicant.member
            members[node] = new.renamed(node).with_state(MemberState.JOINING)
            admissions[applicant.link] = (node, new.incarnation)
            self._dealt[new.peer] = (new.incarnation, node)
        return admissions

    def _id_for(self, applicant: Applicant, members: dict[NodeId, Member]) -> NodeId | None:
        """The id that `applicant` keeps, or has been dealt already; None: to be dealt."""
        new = applicant.member
        holder = members.get(new.id)
        if applicant.keeps_id and (holder is None or holder.incarnation < new.incarnation):
            return new.id
        incarnation, node = self._dealt.get(new.peer, (None, None))
        return node if incarnation == new.incarnation and node not in members else None


def _lists(view: View, node: NodeId | None, incarnation: int) -> bool:
    member = view.by_id.get(node) if node is not None else None
    return member is not None and member.incarnation == incarnation


def _keep_one_active(members: dict[NodeId, Member], view: View, leader: NodeId) -> None:
    """A view without ACTIVE members has no homes and no voters: somebody stays, or becomes so.

    The leader, who makes it, or else who was a member before; with nobody such
    left the leader itself, though it wanted to go.
    """
    if any(member.state is MemberState.ACTIVE for member in members.values()):
        return
    old = (node for node, member in members.items() if _lists(view, node, member.incarnation))
    keeper = leader if leader in members else next(old, leader)
    members[keeper] = view.by_id[keeper].with_state(MemberState.ACTIVE)
