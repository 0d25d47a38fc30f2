"""The ring engine: inputs and `now` in, effects out; no I/O, clock or chance of its own.

A node is a seeker until a view lists it, and a member from then on:

    seeker   found a ring with other seekers (`founding`), or be admitted to one
    member   JOINING -> ACTIVE -> LEAVING -> struck off (Departed)

A member that finds itself struck off though it never asked (it hung, or was cut
off) is a seeker again, as a new incarnation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.agreement import readmits, supersedes
from dht.contact import Contact
from dht.discovery import Discovery
from dht.effects import Departed, Effect, IdentityDealt, Send, ViewInstalled
from dht.errors import LocalProtocolError, RemoteProtocolError
from dht.membership import Membership
from dht.messages import (
    Admitted,
    FindNode,
    FoundNodes,
    PullView,
    RingMessage,
    Seeking,
    ViewNews,
)
from dht.placement import Placement
from dht.seeker import Seeker
from dht.settings import RingSettings
from dht.status import RingStatus, describe
from dht.view import MemberState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

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
    ) -> None:
        """`me`: JOINING, with a random id or, if `keeps_id`, one dealt before.

        `me.incarnation` must be greater in every later process of the same id.
        `seeds`: HOST:PORT each. `expect`: members that found a ring together.
        """
        self.me = me
        self.view: View | None = None
        self.placement: Placement | None = None
        self._settings = settings
        self._rng = rng
        self._alone_at_once = not seeds and expect <= 1
        self._discovery = Discovery(Contact(me.id, me.peer), seeds, rng, settings)
        self._seeker = Seeker(expect, self._discovery, rng, settings, keeps_id=keeps_id)
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
        if self._alone_at_once:
            view, effects = self._seeker.make_view(self.me, [])
            return self._install(view) + effects
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
        effects.append(Send(node, self._member.heartbeat()))
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
            return self._member.gone(node, now)
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
            return self._member.gone(self._member.peers.get(address), now)
        self._seeker.founding.gone_at(address)
        return []

    # -- messages -------------------------------------------------------------------------

    def receive(self, sender: NodeId, message: RingMessage, now: float) -> list[Effect]:
        """A message on the link of `sender`. Raises RemoteProtocolError: close that link."""
        self._now = now
        if self._departed:
            return []
        match message:
            case FindNode():
                found = self._discovery.closest(message.target)
                return [Send(sender, FoundNodes(message.target, found))]
            case Seeking():
                return self._receive_seeking(sender, message)
            case PullView():
                return [] if self.view is None else [Send(sender, ViewNews(self.view))]
            case ViewNews():
                return self._receive_news(message.view)
            case Admitted():
                return self._receive_admitted(message)
            case _ if self._member is None:
                return self._seeker.receive(sender, message, now)
            case _:
                return self._member.receive(sender, message, now) + self._decide()

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

    def _receive_news(self, view: View) -> list[Effect]:
        if self.view is None or not supersedes(view, self.view):
            return []
        return self._install(view)

    def _receive_admitted(self, message: Admitted) -> list[Effect]:
        if self._member is not None:
            return []  # said again before the leader saw that we had heard
        mine = self._seeker.accept(self.me, message)
        if mine is None or (self.view is not None and not readmits(message.view, self.view)):
            return []
        effects: list[Effect] = []
        if message.you != self.me.id:
            self.me = mine
            self._discovery.rename(Contact(mine.id, mine.peer))
            effects.append(IdentityDealt(mine.id))
        return effects + self._install(message.view)

    # -- views ------------------------------------------------------------------------------

    def _install(self, view: View) -> list[Effect]:
        """Make `view` the current one, and become what it says of this node."""
        self.view = view
        self.placement = Placement(view, self._settings.flat_limit)
        self._discovery.install(view)
        effects: list[Effect] = [ViewInstalled(view)]
        mine = view.get(self.me.id)
        if mine is None or (mine.incarnation, mine.peer) != (self.me.incarnation, self.me.peer):
            return effects + self._struck_off()
        self.me = mine
        if self._member is None:
            self._member = Membership(mine, view, self._rng, self._settings, self._now)
            self._seeker.founding.start_over()
        else:
            self._member.install(view, self._now)
        if self._leaving and len(view.members) == 1:  # nobody is left to hand anything to
            return effects + self._depart()
        if mine.state is MemberState.LEAVING and not self._handed_over:
            self._leave_by = None  # handing over takes its time
        self._beat_at = self._now
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
        proposal = member.council.decision() if member is not None else None
        if member is None or proposal is None:
            return []
        news = proposal.news(member.view, self.me.id, member.council.dead)
        return news if proposal.view is member.view else self._install(proposal.view) + news

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
        return self._member.leave(now)

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
        return self._member.hand_over(now)

    def _depart(self) -> list[Effect]:
        self._departed = True
        self._member = None
        return [Departed()]

    # -- time ---------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to call `handle_timer`; None before `start` and after ``Departed``."""
        if self._departed or self._beat_at is None:
            return None
        times = [self._beat_at, self._leave_by]
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
        if self._member is not None:
            if now - due > self._settings.own_lag:
                self._member.excuse(now)
            effects += self._member.lead(now) + self._decide()
        if self._departed:
            return effects
        if self._beat_at <= now:
            effects += self._beat()
        elif self._member is not None:
            effects += self._member.speak_up(now)
        else:
            effects += self._try_to_found()
        return effects

    def _beat(self) -> list[Effect]:
        self._beat_at = self._now + self._settings.beat
        if self._member is not None:
            effects = self._discovery.redial(self._member.peers, self._now)
            return effects + self._member.beat(self._now)
        effects = self._discovery.redial((), self._now)
        effects += self._seeker.beat(self.me, self._now)
        return effects + self._try_to_found()

    def _try_to_found(self) -> list[Effect]:
        founded = self._seeker.found(self.me, self._now)
        if founded is None:
            return []
        view, effects = founded
        return self._install(view) + effects

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
            council=member.council if member else None,
            discovery=self._discovery,
            seekers=len(self._seeker.founding.known(self._now)),
        )
