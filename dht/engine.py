"""The ring engine: inputs and `now` in, effects out; no I/O, clock or chance of its own.

A node is a seeker until a view lists it, and a member from then on:

    seeker   found a ring with other seekers (`founding`), or be admitted to one
    member   JOINING -> ACTIVE -> LEAVING -> struck off (Departed)

A member that finds itself struck off though it never asked (it hung, or was cut
off) is a seeker again, as a new incarnation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from dht.agreement import readmits, supersedes
from dht.ballots import electorate_of
from dht.contact import Contact
from dht.delta import apply
from dht.discovery import Discovery
from dht.effects import Departed, Effect, IdentityDealt, Send, ViewInstalled
from dht.errors import LocalProtocolError, RemoteProtocolError
from dht.history import History
from dht.ids import ID_BITS
from dht.membership import Membership
from dht.messages import (
    Accept,
    Admitted,
    FindNode,
    FoundNodes,
    Heartbeat,
    Prepare,
    PullView,
    RingMessage,
    Seeking,
    ViewDeltas,
    ViewNews,
)
from dht.placement import Placement
from dht.seeker import Seeker
from dht.settings import RingSettings
from dht.status import RingStatus, describe
from dht.view import MemberState
from dht.voter import Voter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from dht.ballots import Memory
    from dht.delta import Delta
    from dht.ids import NodeId
    from dht.view import Member, View

DEFAULTS = RingSettings()


class RingEngine:
    """One node's part in the ring. Times are monotonic seconds.

    The driver listens before it calls `start`; performs the effects of each
    call in order; calls `handle_timer` when `next_deadline` has come, and asks
    for the deadline anew after every call.
    """

    def __init__(
        self,
        me: Member,
        seeds: Sequence[str],
        expect: int,
        rng: Random,
        settings: RingSettings = DEFAULTS,
        *,
        keeps_id: bool = False,
        memory: Memory | None = None,
        durable: bool = False,
    ) -> None:
        """`me`: JOINING, with a random id or, if `keeps_id`, one dealt before.

        `me.incarnation` must be greater in every later process of the same id.
        `seeds`: HOST:PORT each. `expect`: members that found a ring together.
        `durable`: the driver keeps what ``Keep`` says; `memory`: the last such.
        """
        self.me = me
        self.view: View | None = None
        self.placement: Placement | None = None
        self._settings = settings
        self._rng = rng
        self._alone_at_once = not seeds and expect <= 1 and memory is None
        self._discovery = Discovery(Contact(me.id, me.peer), seeds, rng, settings)
        self._voter = Voter(me, memory, settings, durable=durable)
        self._seeker = Seeker(
            expect, self._discovery, rng, settings, keeps_id=keeps_id, voter=self._voter
        )
        self._history = History(settings.deltas)
        self._member: Membership | None = None
        self._beat_at: float | None = None
        self._now = 0.0  # of the latest input
        self._leaving = False
        self._handed_over = False
        self._leave_by: float | None = None
        self._departed = False

    # -- links --------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin. A node without seeds that expects nobody is a ring of one at once."""
        self._now = self._beat_at = now
        self._voter.start(now)
        if self._alone_at_once:
            return self._install(self._seeker.make_view(self.me, []))
        return self._beat()

    def link_opened(
        self, node: NodeId, peer: str, now: float, address: str | None = None
    ) -> list[Effect]:
        """An authenticated link is up. May be said again of an open link.

        `peer`: the HOST:PORT that the other node advertises in its hello;
        `address`: what we dialled, where we did (the name in the ``Dial``, or
        the member's address). With our own id as `node`: we dialled ourselves,
        and there is no link.
        """
        self._now = now
        effects = self._discovery.link_opened(node, peer, address, now)
        if node == self.me.id or self._departed:
            return effects
        if self._member is None:
            return [*effects, Send(node, self._seeker.seeking(self.me, now))]
        effects.append(Send(node, self._member.heartbeat(now)))
        return effects + self._member.link_opened(node, peer, now)

    def link_closed(self, node: NodeId, refused: bool, now: float) -> list[Effect]:
        """The link is down. `refused`: reconnecting was refused, so the process is gone."""
        self._now = now
        peer = self._discovery.links.get(node)
        self._discovery.link_closed(node)
        if self._departed:
            return []
        if self._member is None:
            self._seeker.founding.link_closed(node, gone=refused)
            return [] if refused or peer is None else self._discovery.dial(peer, now)
        if refused:
            return self._loop_back(self._member.gone(node, now))
        if self._member.watches(node):  # a refusal would prove its end, a link its life
            return self._discovery.dial(self._member.view.by_id[node].peer, now)
        return []

    def dial_failed(self, address: str, refused: bool, now: float) -> list[Effect]:
        """A dial, for a ``Dial`` or a ``Send``, found nobody at `address`.

        `refused`: nothing listens there (a reset or refusal, not a timeout).
        """
        self._now = now
        self._discovery.dial_failed(address, now)
        if not refused or self._departed:
            return []
        if self._member is not None:
            return self._member.gone(self._member.view.by_peer.get(address), now)
        self._seeker.founding.gone_at(address)
        return []

    # -- messages -------------------------------------------------------------------------

    def receive(self, sender: NodeId, message: RingMessage, now: float) -> list[Effect]:
        """A message on the link of `sender`. Raises RemoteProtocolError: close that link."""
        self._now = now
        if self._departed:
            return []
        return self._loop_back(self._receive(sender, message))

    def _receive(self, sender: NodeId, message: RingMessage) -> list[Effect]:
        match message:
            case FindNode():
                found = self._discovery.closest(message.target)
                return [Send(sender, FoundNodes(message.target, found))]
            case Seeking():
                return self._receive_seeking(sender, message)
            case PullView():
                return self._history.tell(sender, message.number, message.digest)
            case ViewNews():
                return self._receive_news(message.view)
            case ViewDeltas():
                return self._receive_deltas(sender, message)
            case Admitted():
                return self._receive_admitted(message)
            case Prepare() | Accept():
                return self._vote(sender, message)
            case _ if self._member is None:
                return self._seeker.receive(sender, message, self._now) + self._refound()
            case Heartbeat():
                return self._receive_heartbeat(sender, message, self._member)
            case _:
                return self._member.receive(sender, message, self._now) + self._decide()

    def _receive_seeking(self, sender: NodeId, message: Seeking) -> list[Effect]:
        if message.member.id != sender:
            msg = "a node may seek for itself alone"
            raise RemoteProtocolError(msg)
        if self._member is not None:
            links = self._discovery.links
            return self._member.receive_seeking(sender, message, links, self._now)
        self._seeker.founding.heard(sender, message, self._now)
        self._hasten()
        return []

    def _receive_heartbeat(
        self, sender: NodeId, message: Heartbeat, member: Membership
    ) -> list[Effect]:
        effects = member.receive(sender, message, self._now)
        if message.ring != member.view.ring:
            return effects
        if message.number > member.view.number:
            effects.append(Send(sender, PullView(member.view.number, member.view.digest)))
        elif message.number < member.view.number:  # it may be a member no more, and not know
            effects += self._history.tell(sender, message.number, message.digest)
        return effects

    def _receive_news(self, view: View) -> list[Effect]:
        if self.view is None or not supersedes(view, self.view):
            return []
        return self._install(view)

    def _receive_deltas(self, sender: NodeId, message: ViewDeltas) -> list[Effect]:
        view = self.view
        if view is None:
            return []
        for delta in message.deltas:
            if delta.follows(view):
                view = apply(view, delta)
        if view is not self.view:
            return self._install(view, message.deltas)
        if message.deltas[-1].ring == view.ring and message.deltas[-1].number > view.number:
            return [Send(sender, PullView(view.number, view.digest))]
        return []

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

    def kept(self, serial: int, now: float) -> list[Effect]:
        """What the effect ``Keep`` with this number asked for is on disk."""
        self._now = now
        if self._departed:
            return []
        return self._loop_back(self._voter.acceptor.kept(serial))

    def holds_lease(self, now: float) -> bool:
        """Whether this node may acknowledge what it is home to, as far as the ring goes."""
        return self._member is not None and self._member.lease.is_held(now)

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

    # -- views ------------------------------------------------------------------------------

    def _install(self, view: View, deltas: tuple[Delta, ...] = ()) -> list[Effect]:
        """Make `view` the current one, and become what it says of this node."""
        self.view = view
        self.placement = Placement(view, self._settings.flat_limit)
        self._history.install(view, deltas)
        self._discovery.install(view)
        effects = self._voter.install(view, self.me, self._now)
        effects.append(ViewInstalled(view))
        mine = view.get(self.me.id)
        if mine is None or (mine.incarnation, mine.peer) != (self.me.incarnation, self.me.peer):
            return effects + self._struck_off()
        self.me = mine
        if self._member is None:
            self._member = Membership(
                mine, view, self._voter, self._rng, self._settings, self._now
            )
            self._seeker.founding.start_over()
        else:
            self._member.install(view, self._now)
        if self._leaving and len(view.members) == 1:  # nobody is left to hand anything to
            return effects + self._depart()
        if mine.state is MemberState.LEAVING and not self._handed_over:
            self._leave_by = None  # handing over takes its time
        self._beat_at = self._now
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
        untold = {self.me.id, *dead, *(you for you, _ in proposal.admissions.values())}
        news = ViewDeltas((delta,), ID_BITS)
        told = {**old.by_id, **proposal.view.by_id}
        effects += [Send(node, news) for node in told if node not in untold]
        return effects + proposal.welcome()

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

    # -- time ---------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to call `handle_timer`; None before `start` and after ``Departed``."""
        if self._departed or self._beat_at is None:
            return None
        times = [self._beat_at, self._leave_by, self._voter.next_deadline()]
        if self._member is not None:
            times.append(self._member.next_deadline(self._now))
        else:
            times.append(self._seeker.next_deadline())
        return min(time for time in times if time is not None)

    def handle_timer(self, now: float) -> list[Effect]:
        """Do what is due at `now`."""
        due = self.next_deadline()
        if due is None or self._beat_at is None or due > now:
            return []
        self._now = now
        if self._leave_by is not None and self._leave_by <= now:
            return self._depart()
        effects: list[Effect] = []
        member = self._member
        if member is not None:
            if now - due > self._settings.own_lag:
                member.excuse(now)
            effects += self._loop_back(member.lead(now)) + self._decide()
        gone = member.council.gone if member is not None else ()
        effects += self._loop_back(self._voter.handle_timer(self.view, gone, now))
        if self._departed:
            return effects
        if self._beat_at <= now:
            effects += self._loop_back(self._beat())
        elif self._member is not None:
            effects += self._member.speak_up(now)
        else:
            effects += self._try_to_found()
        return effects

    def _beat(self) -> list[Effect]:
        self._beat_at = self._now + self._settings.beat
        if self._member is not None:
            effects = self._discovery.redial(self._member.view.by_peer, self._now)
            return effects + self._member.beat(self._now)
        effects = self._discovery.redial((), self._now)
        effects += self._seeker.beat(self.me, self._now)
        return effects + self._try_to_found()

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

    def _hasten(self) -> None:
        """Bring the next beat forward if the other seekers should hear some news."""
        if self._beat_at is not None and self._seeker.has_news(self.me, self._now):
            self._beat_at = min(self._beat_at, self._now + self._settings.hasten)

    def status(self) -> RingStatus:
        """What this node knows of the ring now."""
        member = self._member
        return describe(
            me=self.me,
            view=self.view,
            suspected=member.suspicions(self._now) if member else (),
            member=member,
            discovery=self._discovery,
            seekers=len(self._seeker.founding.known(self._now)),
            now=self._now,
        )
