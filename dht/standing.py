"""A process's standing in the ring: whether a view lists it, which, and what follows.

    seeker   founds a ring with other seekers (`founding`), goes on with one that
             they remember (`refounding`), or is admitted to one
    member   JOINING -> ACTIVE -> LEAVING -> struck off (Departed)

A member that finds itself struck off though it never asked (it hung, or was cut
off) is a seeker again, as a new incarnation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dht.agreement import readmits, replaces, supersedes
from dht.ballots import electorate_of
from dht.contact import Contact
from dht.delta import apply
from dht.discovery import Discovery
from dht.effects import Departed, Effect, IdentityDealt, Send, ViewInstalled
from dht.errors import LocalProtocolError
from dht.foreign import ForeignRings
from dht.history import History
from dht.ids import ID_BITS
from dht.membership import Membership
from dht.messages import (
    Accept,
    Admitted,
    Prepare,
    PullView,
    RingMessage,
    ViewDeltas,
    ViewNews,
)
from dht.placement import placement_of
from dht.seeker import Seeker
from dht.spread import contacts
from dht.view import MemberState
from dht.voter import Voter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from dht.ballots import Memory
    from dht.delta import Delta
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.settings import RingSettings
    from dht.view import Member, View


class Standing:
    """What a `RingEngine` is at the moment. See there for the parameters."""

    def __init__(
        self,
        me: Member,
        seeds: Sequence[str],
        expect: int,
        rng: Random,
        settings: RingSettings,
        *,
        keeps_id: bool,
        memory: Memory | None,
        durable: bool,
    ) -> None:
        self.me = me
        self.view: View | None = None
        self._before: View | None = None  # the view that it followed
        self.placement: Placement | None = None
        self._settings = settings
        self._rng = rng
        self._discovery = Discovery(Contact(me.id, me.peer), seeds, rng, settings)
        self._voter = Voter(me, memory, settings, durable=durable)
        self._seeker = Seeker(
            expect, self._discovery, rng, settings, keeps_id=keeps_id, voter=self._voter
        )
        self._history = History(settings.deltas)
        self.foreign = ForeignRings()
        self._member: Membership | None = None
        self._passed = ID_BITS  # the range that has been told of the view: see `dht.spread`
        self._owed = (0, ID_BITS)  # a view still to come, and the range to be told of it then
        self._beat_at: float | None = None
        self._now = 0.0  # of the latest input
        self._leaving = False
        self._handed_over = False
        self._leave_by: float | None = None
        self._departed = False

    def _receive(self, sender: NodeId, message: RingMessage) -> list[Effect]:
        raise NotImplementedError

    def _loop_back(self, effects: list[Effect]) -> list[Effect]:
        """Take at once what this node says to itself as one voter among others."""
        told = [each for each in effects if not isinstance(each, Send) or each.to != self.me.id]
        if len(told) == len(effects):
            return effects
        for each in effects:
            if isinstance(each, Send) and each.to == self.me.id:
                message = cast("RingMessage", each.message)
                told += self._loop_back(self._receive(self.me.id, message))
        return told

    # -- founding, and being admitted ---------------------------------------------------

    def _try_to_found(self) -> list[Effect]:
        view, effects = self._seeker.found(self.me, self._now)
        effects = self._loop_back(effects)
        if view is not None:
            return self._found(view)
        return effects + self._refound()

    def _refound(self) -> list[Effect]:
        """Install the view by which a remembered ring goes on, if it has been chosen."""
        view = self._seeker.decision(self._now) if self._member is None else None
        return self._found(view) if view is not None else []

    def _found(self, view: View) -> list[Effect]:
        news = self._seeker.welcome(self.me, view)
        mine = view.get(self.me.id)
        if mine is None or mine.incarnation != self.me.incarnation:
            self._voter.acceptor.advance(electorate_of(view), self._now)
            return news  # chosen before this process began: those in it will let it in
        return self._install(view) + news

    def _receive_admitted(self, message: Admitted) -> list[Effect]:
        if self._member is not None:
            return []  # said again before the leader saw that we had heard
        mine = self._seeker.accept(self.me, message)
        if mine is None or (self.view is not None and not readmits(message.view, self.view)):
            return []
        effects: list[Effect] = []
        if message.you != self.me.id:
            self.me = mine
            self._voter.acceptor.rename(mine)
            self._discovery.rename(Contact(mine.id, mine.peer))
            effects.append(IdentityDealt(mine.id))
        return effects + self._install(message.view)

    # -- votes ------------------------------------------------------------------------------

    def _vote(self, sender: NodeId, message: Prepare | Accept) -> list[Effect]:
        electorate, view = message.electorate, self.view
        if view is not None and view.ring == electorate.ring and electorate.number <= view.number:
            return self._history.tell(sender, electorate.number - 1, b"")
        gone = self._member.council.gone if self._member is not None else ()
        effects = self._voter.receive(sender, message, view, gone, self._now)
        if self._member is not None and electorate.number > self._member.view.number + 1:
            number, digest = self._member.view.number, self._member.view.digest
            effects.append(Send(sender, PullView(number, digest)))
        return effects

    # -- views ------------------------------------------------------------------------------

    def _receive_news(
        self, sender: NodeId, message: ViewNews | ViewDeltas | Admitted | PullView
    ) -> list[Effect]:
        match message:
            case PullView():
                return self._history.tell(sender, message.number, message.digest)
            case ViewDeltas():
                return self._receive_deltas(sender, message)
            case Admitted():
                return self._receive_admitted(message)
            case ViewNews():
                return self._install(message.view) if self._is_news(message.view) else []

    def _is_news(self, view: View) -> bool:
        if self.view is None:
            return False
        if replaces(view, self.view) and self._member is not None:
            # An operator has given this ring up. With a majority that is a mistake.
            if self._member.is_frozen(self._now):
                return True
            self.foreign.note(view.ring, self._now)
        return supersedes(view, self.view)

    def _receive_deltas(self, sender: NodeId, message: ViewDeltas) -> list[Effect]:
        view = self.view
        if view is None or not message.deltas:
            return []
        last = message.deltas[-1]
        if message.depth < ID_BITS and last.ring == view.ring and last.number > self._owed[0]:
            self._owed = last.number, message.depth
        for delta in message.deltas:
            if delta.follows(view):
                view = apply(view, delta)
        if view is not self.view:
            return self._install(view, message.deltas)
        if last.ring == view.ring and last.number > view.number:
            return [Send(sender, PullView(view.number, view.digest))]
        return self._pass_on(last, message.depth) if last.digest == view.digest else []

    def _pass_on(self, delta: Delta, depth: int) -> list[Effect]:
        """Tell the members that share `depth` bits with this one, unless they have been told."""
        view, before, until = self.view, self._before, self._passed
        if view is None or before is None or delta.base != before.digest or depth >= until:
            return []
        self._passed = depth
        told = contacts(view, before, self.me.id, depth, until)
        return [Send(node, ViewDeltas((delta,), shared)) for node, shared in told]

    def _decide(self) -> list[Effect]:
        """Install the view that has been voted for at this node's asking; tell everyone."""
        member = self._member
        decided = member.council.decision(member.view) if member is not None else None
        if member is None or decided is None:
            return []
        proposal, delta = decided
        if delta is None:
            return proposal.welcome()
        old, dead = member.view, member.council.dead
        effects = self._install(proposal.view, (delta,))
        news = ViewDeltas((delta,), ID_BITS)
        told = [node for node in delta.struck if node not in dead and node != self.me.id]
        if len(old.members) > self._settings.flat_limit:
            effects += self._pass_on(delta, 0)
        else:
            admitted = {self.me.id, *(you for you, _ in proposal.admissions.values())}
            told += [node for node in proposal.view.by_id if node not in admitted]
        effects += [Send(node, news) for node in told]
        return effects + proposal.welcome()

    def _install(self, view: View, deltas: tuple[Delta, ...] = ()) -> list[Effect]:
        """Make `view` the current one, and become what it says of this node."""
        self._before, self._passed = self.view, ID_BITS
        self.view = view
        self.placement = placement_of(view, self._settings.flat_limit)
        self._history.install(view, deltas)
        self._discovery.install(view)
        effects = self._voter.install(view, self.me, self._now)
        effects.append(ViewInstalled(view))
        mine = view.get(self.me.id)
        if mine is None or (mine.incarnation, mine.peer) != (self.me.incarnation, self.me.peer):
            return effects + self._struck_off()
        self.me = mine
        if self._member is None:
            self._member = Membership(mine, view, self._voter, self._rng, self._settings, self._now)
            self._seeker.founding.start_over()
        else:
            self._member.install(view, self._now)
        if self._leaving and len(view.members) == 1:  # nobody is left to hand anything to
            return effects + self._depart()
        if mine.state is MemberState.LEAVING and not self._handed_over:
            self._leave_by = None  # handing over takes its time
        self._beat_at = self._now
        if deltas and self._owed[0] == view.number:
            effects += self._pass_on(deltas[-1], self._owed[1])
        if view.voters == (mine.id,):  # its own lease is its own to give
            effects += self._loop_back(self._member.grant_own(self._now))
        return effects

    def _struck_off(self) -> list[Effect]:
        if self._leaving:
            return self._depart()
        if self._member is not None:
            self._member = None
            self._seeker.keeps_id = True
            self._seeker.founding.ring_seen(None, self._now)
            self.me = msgspec.structs.replace(
                self.me, incarnation=self.me.incarnation + 1, state=MemberState.JOINING
            )
            self._beat_at = self._now
        return []

    # -- recovering ----------------------------------------------------------------------------

    def recover(self, now: float) -> list[Effect]:
        """Go on without the majority of voters that is lost: for an operator alone to decide.

        A member makes a new ring of those that it can see, who follow if they are
        frozen too; should the old ring's majority live, there are two rings then, and
        they never merge. A seeker that waits for a ring that it remembers forgets it,
        and founds one with whoever is here.
        Raises LocalProtocolError, with the reason, where there is nothing to recover.
        """
        self._now = now
        member = self._member
        if self._departed or self._leaving:
            msg = "this node is leaving"
            raise LocalProtocolError(msg)
        if member is None:
            if self._seeker.waits_for(self.me, now) is None:
                msg = "this node is looking for a ring, and remembers none that it waits for"
                raise LocalProtocolError(msg)
            self._seeker.founding.expect = 1
            return self._voter.acceptor.forget(self.me)
        if not member.is_frozen(now):
            msg = "a majority of voters answers this node: there is nothing to recover"
            raise LocalProtocolError(msg)
        view = self._seeker.successor_ring(member.view, self.me, member.council.absent)
        news = ViewNews(view)
        effects = self._install(view)
        return effects + [Send(node, news) for node in view.by_id if node != self.me.id]

    # -- leaving ------------------------------------------------------------------------------

    def leave(self, now: float) -> list[Effect]:
        """Ask to be listed as LEAVING, so that every slot moves elsewhere.

        The LEAVING view comes as ``ViewInstalled``; answer with `handed_over`
        when the engines above have nothing left, or are not to be waited for.
        ``Departed`` follows; before that only if nobody lists this node as
        LEAVING, or it is struck off meanwhile.
        """
        self._now = now
        if self._leaving or self._departed:
            return []
        self._leaving = True
        if self._member is None or len(self._member.view.members) == 1:
            return self._depart()
        self._leave_by = now + self._settings.leave_patience
        return self._loop_back(self._member.leave(now))

    def handed_over(self, now: float) -> list[Effect]:
        """Everything has been given away. Raises LocalProtocolError before `leave`."""
        self._now = now
        if not self._leaving:
            msg = "handed_over before leave"
            raise LocalProtocolError(msg)
        if self._departed or self._member is None:
            return []
        self._handed_over = True
        self._leave_by = now + self._settings.leave_patience
        return self._loop_back(self._member.hand_over(now))

    def _depart(self) -> list[Effect]:
        self._departed = True
        self._member = None
        return [Departed()]
