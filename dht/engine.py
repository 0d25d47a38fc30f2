"""The ring engine: inputs and `now` in, effects out; no I/O, clock or chance of its own.

What a node is (a seeker, a member) and how that changes is in `dht.standing`; here
is what the driver calls: links, messages, time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.effects import Effect, Send
from dht.errors import RemoteProtocolError
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
from dht.settings import RingSettings
from dht.standing import Standing
from dht.status import Health, RingStatus, describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from dht.ballots import Memory
    from dht.ids import NodeId
    from dht.membership import Membership
    from dht.view import Member

DEFAULTS = RingSettings()


class RingEngine(Standing):
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
        super().__init__(
            me, seeds, expect, rng, settings, keeps_id=keeps_id, memory=memory, durable=durable
        )
        self._alone_at_once = not seeds and expect <= 1 and memory is None

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
            case Prepare() | Accept():
                return self._vote(sender, message)
            case ViewNews() | ViewDeltas() | Admitted() | PullView():
                return self._receive_news(sender, message)
            case FindNode():
                found = self._discovery.closest(message.target)
                return [Send(sender, FoundNodes(message.target, found))]
            case Seeking():
                return self._receive_seeking(sender, message)
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
        view = member.view
        effects = member.receive(sender, message, self._now)
        if message.ring == view.former:
            effects += self._history.tell(sender, 0, b"")
        elif message.ring != view.ring:
            self.foreign.note(message.ring, self._now)
        elif message.number > view.number:
            effects.append(Send(sender, PullView(view.number, view.digest)))
        elif message.number < view.number:  # it may be a member no more, and not know
            effects += self._history.tell(sender, message.number, message.digest)
        return effects

    # -- what the driver and the engines above ask ---------------------------------------

    def kept(self, serial: int, now: float) -> list[Effect]:
        """What the effect ``Keep`` with this number asked for is on disk."""
        self._now = now
        if self._departed:
            return []
        return self._loop_back(self._voter.acceptor.kept(serial))

    def holds_lease(self, now: float) -> bool:
        """Whether this node may acknowledge what it is home to, as far as the ring goes."""
        return self._member is not None and self._member.lease.is_held(now)

    def health(self, now: float) -> Health:
        """What is wrong, cheaply."""
        member = self._member
        waits_for = self._seeker.waits_for(self.me, now) if member is None else None
        return Health(
            frozen=member is not None and member.is_frozen(now),
            missing=tuple(sorted(member.missing_voters(now))) if member is not None else (),
            foreign=self.foreign.seen(now),
            waits_for=waits_for.ring if waits_for is not None else b"",
        )

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
            health=self.health(self._now),
            now=self._now,
        )
