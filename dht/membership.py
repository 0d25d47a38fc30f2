"""What a member does: beat, watch its neighbours, accuse, wish, and lead if it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.agreement import seniority
from dht.contact import Contact
from dht.council import Council
from dht.detector import Detector
from dht.docket import Applicant
from dht.effects import Send
from dht.messages import (
    Accuse,
    Assent,
    Heartbeat,
    Left,
    Propose,
    PullView,
    Redirect,
    ViewNews,
    Wish,
)
from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.messages import RingMessage, Seeking, Suspicion
    from dht.settings import RingSettings
    from dht.view import Member, View

_TOLD_OF_SUSPICIONS = 5  # the most senior members, any of which may have to lead


class Membership:
    """One process's time as a member, from the view that first lists it on."""

    def __init__(
        self, me: Member, view: View, rng: Random, settings: RingSettings, now: float
    ) -> None:
        self.me = me
        self.view = view
        self.peers: dict[str, NodeId] = {}  # the members by their addresses
        self.council = Council(rng, settings)
        self._detector = Detector(settings)
        self._named_any = False  # whether the last Accuse did
        self._leaving = False
        self._handed_over = False
        self.install(view, now)

    def install(self, view: View, now: float) -> None:
        """Go on from `view`, which lists this process."""
        self.view = view
        self.me = view.by_id[self.me.id]
        self.peers = {member.peer: member.id for member in view.members}
        self._detector.install(view, self.me.id, now)
        self.council.install(view)

    # -- time ---------------------------------------------------------------------------

    def beat(self, now: float) -> list[Effect]:
        """Everything that is said again every beat."""
        heartbeat = self.heartbeat()
        effects: list[Effect] = [Send(node, heartbeat) for node in self._detector.observed]
        effects += self.speak_up(now)
        effects += self.council.ask()
        return effects + self._tell_wish(now)

    def speak_up(self, now: float) -> list[Effect]:
        """Accuse whom this member suspects, and weigh what all have said."""
        suspicions = self.suspicions(now)
        self._consider(now)
        if not suspicions and not self._named_any:
            return []
        self._named_any = bool(suspicions)
        absent = self.council.absent | {self.me.id}
        told = [node for node in seniority(self.view) if node not in absent]
        accuse = Accuse(self.view.number, suspicions)
        return [Send(node, accuse) for node in told[:_TOLD_OF_SUSPICIONS]]

    def next_deadline(self, now: float) -> float | None:
        """When a view is to be decided, or a silence becomes suspect."""
        poll = self.council.poll
        times = (
            self.council.decide_at,
            self._detector.next_deadline(now),
            poll.deadline if poll is not None and poll.deadline > now else None,
        )
        return min((time for time in times if time is not None), default=None)

    def excuse(self, now: float) -> None:
        """Our own loop was late: accuse nobody for it."""
        self._detector.excuse(now)

    def lead(self, now: float) -> list[Effect]:
        """Propose a view, if this member leads and one is due."""
        if self.council.decide_at is None or self.council.decide_at > now:
            return []
        self._consider(now)
        if self.council.decide_at is None:
            return []
        return self.council.propose(self.view, self.me.id, now)

    # -- what is seen of the others -------------------------------------------------------

    def suspicions(self, now: float) -> tuple[Suspicion, ...]:
        """Whom this member itself suspects now."""
        return self._detector.suspicions(now)

    def watches(self, node: NodeId) -> bool:
        """Whether this member observes `node`."""
        return node in self._detector.observed

    def heartbeat(self) -> Heartbeat:
        """What this member tells of its view."""
        return Heartbeat(self.view.ring, self.view.number, self.view.digest)

    def link_opened(self, node: NodeId, peer: str, now: float) -> list[Effect]:
        """`node` lives, and listens at `peer`."""
        self._detector.heard(node, now)
        displaced = self.peers.get(peer, node)
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
        """What a member says; from any other sender only a heartbeat is answered."""
        match message:
            case Heartbeat():
                return self._receive_heartbeat(sender, message, now)
            case _ if sender not in self.view:
                return []
            case Accuse():
                self.council.accuse(sender, message.suspicions, now)
            case Wish():
                self.council.docket.wish(sender, message.incarnation, message.state)
            case Left():
                self.council.docket.left(sender, message.incarnation)
            case Assent() if self.council.poll is not None:
                self.council.poll.count(sender, message.digest, now)
            case Propose():
                return self._receive_proposal(sender, message.view, now)
        self._detector.heard(sender, now)
        self._consider(now)
        return []

    def receive_seeking(
        self, sender: NodeId, seeking: Seeking, links: Collection[NodeId], now: float
    ) -> list[Effect]:
        """A node wants in: the leader notes it, anyone tells it who leads."""
        effects: list[Effect] = []
        listed = self.view.get(sender)
        if listed is not None and listed.incarnation < seeking.member.incarnation:
            effects += self.gone(sender, now)  # restarted, faster than anyone noticed
        leader = self.council.leader(self.view)
        if leader is None:
            return effects
        contact = Contact(leader, self.view.by_id[leader].peer)
        effects.append(Send(sender, Redirect(self.view.ring, contact)))
        tenant = self.peers.get(seeking.member.peer, sender)
        if leader == self.me.id and (tenant == sender or tenant not in links):
            self.council.docket.apply(Applicant(sender, seeking.member, seeking.keeps_id))
            self._consider(now)
        return effects

    def _receive_heartbeat(self, sender: NodeId, message: Heartbeat, now: float) -> list[Effect]:
        if message.ring != self.view.ring:
            return []
        self._detector.heard(sender, now)
        theirs, mine = (message.number, message.digest), (self.view.number, self.view.digest)
        if theirs > mine:
            return [Send(sender, PullView())]
        if theirs < mine:  # it may not be a member any more, and not know
            return [Send(sender, ViewNews(self.view))]
        return []

    def _receive_proposal(self, sender: NodeId, proposed: View, now: float) -> list[Effect]:
        if proposed.ring != self.view.ring or self.me.id not in self.view.voters:
            return []
        if proposed.number <= self.view.number:
            return [Send(sender, ViewNews(self.view))]
        if proposed.number > self.view.number + 1:
            return [Send(sender, PullView())]
        if not self.council.assents(proposed, sender, now):
            return []
        return [Send(sender, Assent(proposed.digest))]

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
            return []
        leader = self.council.leader(self.view)
        if leader == self.me.id:
            return self.receive(self.me.id, wish, now)
        return [] if leader is None else [Send(leader, wish)]

    def _consider(self, now: float) -> None:
        self.council.consider(
            self.view, self.me.id, self.suspicions(now), self._detector.proven_gone(), now
        )
