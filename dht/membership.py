"""What a member does: beat, watch its neighbours, accuse, wish, and vote or lead if it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.agreement import deputies, leader_of
from dht.contact import Contact
from dht.council import Council
from dht.detector import Detector
from dht.docket import Applicant
from dht.effects import Send
from dht.leases import Lease as LeaseTerm
from dht.messages import (
    Accepted,
    Accuse,
    Heartbeat,
    Lease,
    Left,
    Promise,
    Redirect,
    Refused,
    Vouches,
    Wish,
)
from dht.placement import placement_of
from dht.relay import Relay
from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import RingMessage, Seeking, Suspicion
    from dht.settings import RingSettings
    from dht.view import Member, View
    from dht.voter import Voter


_FEW = 12  # accusers whose words are weighed one by one


class Membership:
    """One process's time as a member, from the view that first lists it on.

    `voter`: the process's own, which may be asked to vote.
    """

    def __init__(
        self,
        me: Member,
        view: View,
        voter: Voter,
        rng: Random,
        settings: RingSettings,
        now: float,
    ) -> None:
        self.me = me
        self.view = view
        self.council = Council(rng, settings)
        self.lease = LeaseTerm(settings.lease)
        self._relay = Relay(me.id, voter, self.lease)
        self._settings = settings
        self._voter = voter
        self._detector = Detector(settings)
        self._numbers: dict[NodeId, int] = {}  # member -> the view it said it was on
        self._said: tuple[Suspicion, ...] = ()  # by the last Accuse
        self._weighed_at = float("-inf")
        self._weigh_at: float | None = None  # when to weigh what has been said since
        self._leaving = False
        self._handed_over = False
        self._wish_since: tuple[float, MemberState] | None = None
        self._since = now
        self.install(view, now)

    def install(self, view: View, now: float) -> None:
        """Go on from `view`, which lists this process."""
        self.view = view
        self.me = view.by_id[self.me.id]
        self._detector.install(view, self.me.id, now)
        self._numbers = {node: each for node, each in self._numbers.items() if node in view}
        self.council.install(view)
        self.lease.install(view)
        self._relay.install(placement_of(view, self._settings.flat_limit))

    def is_frozen(self, now: float) -> bool:
        """Whether no majority of voters has answered this member for some time."""
        return now >= max(self.lease.until, self._since) + self._settings.frozen_after

    def heard_views(self, now: float) -> tuple[int, tuple[NodeId, ...]]:
        """How many members tell their view, and those that are on another than this one.

        Who is silent tells nothing any more.
        """
        number, silent = self.view.number, self._detector.silent(now)
        told = {node: each for node, each in self._numbers.items() if node not in silent}
        return len(told), tuple(sorted(node for node, each in told.items() if each != number))

    def missing_voters(self, now: float) -> frozenset[NodeId]:
        """Voters that this member has not heard of late, or knows to be gone."""
        away = self.council.absent | self._detector.missing(now)
        return frozenset(node for node in self.view.voters if node in away)

    # -- time ---------------------------------------------------------------------------

    def beat(self, now: float) -> list[Effect]:
        """Everything that is said again every beat."""
        effects = self.tell_beat(now)
        effects += self._relay.vouch(self.council.dead, self.council.gone, now)
        effects += self.speak_up(now, again=True)
        effects += self.council.campaign.ask()
        return effects + self._tell_wish(now)

    def tell_beat(self, now: float) -> list[Effect]:
        """A heartbeat for everyone who watches over this member, or can tell who vouches for it."""
        heartbeat = self.heartbeat(now)
        parents = self._relay.parents
        told = dict.fromkeys((*self._detector.observed, *(parents or self.view.voters)))
        silent = self._detector.silent(now)
        if not silent and not parents:
            return [Send(node, heartbeat) for node in told]
        beats = {
            (deaf, asks): msgspec.structs.replace(heartbeat, deaf=deaf, asks=asks)
            for deaf in (False, True)
            for asks in (False, True)
        }
        return [Send(node, beats[node in silent, node in parents]) for node in told]

    def grant_own(self, now: float) -> list[Effect]:
        """What a member that is the only voter says to itself."""
        if self._relay.is_large:
            return self._relay.vouch(self.council.dead, self.council.gone, now)
        return [Send(self.me.id, self.heartbeat(now))]

    def speak_up(self, now: float, *, again: bool = False) -> list[Effect]:
        """Accuse whom this member suspects, and weigh what all have said.

        `again`: though nothing has changed since it said so last.
        """
        suspicions = self.suspicions(now)
        self._weigh(now)
        if suspicions == self._said and not (again and suspicions):
            return []
        self._said = suspicions
        accuse = Accuse(self.view.number, suspicions)
        return [Send(node, accuse) for node in self._deputies() if node != self.me.id]

    def next_deadline(self, now: float) -> float | None:
        """When a view is to be decided, or a silence becomes suspect."""
        times = (
            self.council.decide_at,
            self._detector.next_deadline(now),
            self.council.campaign.next_deadline(now),
            self._weigh_at,
        )
        return min((time for time in times if time is not None), default=None)

    def excuse(self, now: float) -> None:
        """Our own loop was late: accuse nobody for it."""
        self._detector.excuse(now)

    def lead(self, now: float) -> list[Effect]:
        """Propose a view, if it is this member's turn and one is due."""
        if self._weigh_at is not None and self._weigh_at <= now:
            self._consider(now)
        if not self.council.is_due(now):
            return []
        self._consider(now)
        if not self.council.is_due(now):
            return []
        return self.council.propose(self.view, self.me, now, unresolved=self._is_unresolved(now))

    # -- what is seen of the others -------------------------------------------------------

    def suspicions(self, now: float) -> tuple[Suspicion, ...]:
        """Whom this member itself suspects now."""
        return self._detector.suspicions(now)

    def watches(self, node: NodeId) -> bool:
        """Whether this member observes `node`."""
        return node in self._detector.observed

    def heartbeat(self, now: float) -> Heartbeat:
        """What this member tells of its view."""
        return Heartbeat(self.view.ring, self.view.number, self.view.digest, now)

    def link_opened(self, node: NodeId, peer: str, now: float) -> list[Effect]:
        """`node` lives, and listens at `peer`."""
        self._detector.heard(node, now)
        displaced = self.view.by_peer.get(peer, node)
        if displaced != node and not self._detector.is_new(displaced, now):
            # Two processes cannot listen at one address: the member's has ended. (A new
            # member may still be presenting itself under the id that it had before.)
            return self.gone(displaced, now)
        return []

    def gone(self, node: NodeId | None, now: float) -> list[Effect]:
        """There is proof that the process of the member `node` has ended."""
        return self.speak_up(now) if node is not None and self._detector.gone(node) else []

    # -- what is said by the others ---------------------------------------------------------

    def receive(self, sender: NodeId, message: RingMessage, now: float) -> list[Effect]:
        """What a member says; nobody else has a say."""
        if sender not in self.view:
            return []
        effects: list[Effect] = []
        match message:
            case Heartbeat():
                return self._beat_of(sender, message, now)
            case Lease() | Vouches():
                return self._vouched_for(sender, message, now)
            case Accuse():
                self.council.accusations.record(sender, message.suspicions, now)
                self._weigh(now)
            case Wish():
                self.council.docket.wish(sender, message.incarnation, message.state, now)
            case Left():
                self.council.docket.left(sender, message.incarnation, now)
            case Promise() | Accepted() | Refused():
                effects = self.council.campaign.receive(sender, message, now)
        if not isinstance(message, Accuse):
            self._consider(now)
        return effects

    def _beat_of(self, sender: NodeId, message: Heartbeat, now: float) -> list[Effect]:
        if message.ring != self.view.ring:
            return []
        if message.deaf:
            # If this gets through, it is deaf no more; both might wait for each other otherwise.
            return [Send(sender, self.heartbeat(now))]
        self._numbers[sender] = message.number
        self._detector.heard(sender, now)
        if not self._relay.is_large:
            return self._voter.grant(sender, message, self.view, self.council.dead, now)
        if not message.asks:
            return []
        return self._relay.asked(sender, message, self.council.dead, self.council.gone, now)

    def _vouched_for(self, sender: NodeId, message: Lease | Vouches, now: float) -> list[Effect]:
        self._detector.heard(sender, now)
        if isinstance(message, Lease):
            self.lease.answered(sender, message.number, message.sent)
            return []
        council = self.council
        news, effects = self._relay.hear(message, council.dead, council.gone, now)
        for voter, since in news:
            self._detector.vouched(voter, since + self._settings.lease + self._settings.beat)
        return effects

    def receive_seeking(
        self, sender: NodeId, seeking: Seeking, links: Collection[NodeId], now: float
    ) -> list[Effect]:
        """A node wants in: a voter notes it, anyone tells it whom to ask."""
        effects: list[Effect] = []
        listed = self.view.get(sender)
        if listed is not None and listed.incarnation < seeking.member.incarnation:
            effects += self.gone(sender, now)  # restarted, faster than anyone noticed
        for voter in self._to_ask(now):
            contact = Contact(voter, self.view.by_id[voter].peer)
            redirect = Redirect(self.view.ring, self.view.number, contact)
            effects.append(Send(sender, redirect))
        tenant = self.view.by_peer.get(seeking.member.peer, sender)
        if self.me.id in self._deputies() and (tenant == sender or tenant not in links):
            applicant = Applicant(sender, seeking.member, seeking.keeps_id)
            self.council.docket.apply(applicant, now)
            self._consider(now)
        return effects

    def _deputies(self) -> tuple[NodeId, ...]:
        """Who may have to propose a view, this member itself perhaps among them."""
        return deputies(self.view, self.council.absent)

    def _to_ask(self, now: float) -> tuple[NodeId, ...]:
        """The leader; where that is this member, and it cannot lead, all other deputies too."""
        leader = leader_of(self.view, self.council.absent)
        if leader is None or (leader == self.me.id and self.is_frozen(now)):
            return self._deputies()
        return (leader,)

    # -- leaving --------------------------------------------------------------------------

    def leave(self, now: float) -> list[Effect]:
        """Wish to be LEAVING."""
        self._leaving = True
        return self._tell_wish(now)

    def hand_over(self, now: float) -> list[Effect]:
        """Wish to be struck off, once LEAVING."""
        self._handed_over = True
        return self._tell_wish(now)

    def _tell_wish(self, now: float) -> list[Effect]:
        """Say to the leader what this member wants to become, if anything."""
        state, incarnation = self.me.state, self.me.incarnation
        wish: Wish | Left
        if self._leaving and state is MemberState.LEAVING:
            if not self._handed_over:
                return []
            wish = Left(incarnation)
        elif self._leaving:
            wish = Wish(incarnation, MemberState.LEAVING)
        elif state is MemberState.JOINING:
            wish = Wish(incarnation, MemberState.ACTIVE)
        else:
            self._wish_since = None
            return []
        if self._wish_since is None or self._wish_since[1] is not state:
            self._wish_since = now, state
        told = self._deputies()
        if now < self._wish_since[0] + self._settings.wish_patience:
            told = told[:1]
        return [Send(node, wish) for node in told]

    def _is_unresolved(self, now: float) -> bool:
        since = self._voter.unresolved_since()
        return since is not None and now >= since + self._settings.unresolved

    def _weigh(self, now: float) -> None:
        """Consider what has been said; of much at once, most of it together a moment later."""
        free_at = self._weighed_at + self._settings.weigh
        if free_at <= now or len(self.council.accusations) <= _FEW:
            self._consider(now)
        else:
            self._weigh_at = free_at

    def _consider(self, now: float) -> None:
        self._weighed_at, self._weigh_at = now, None
        self.council.consider(
            self.view,
            self.me.id,
            self.suspicions(now),
            self._detector.missing(now),
            self._detector.proven_gone(),
            now,
            unresolved=self._is_unresolved(now),
        )
