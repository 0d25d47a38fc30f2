"""A node as new home: how a slot's next reign begins, whatever ended the last one.

    seal      everybody who may hold a copy, and hear what there is
    adopt     a copy of the latest reign (`verdict`), fetched if it is not here
    install   that state on all holders of the new view
    open

Crash, join, leave and restart are all this. Thousands of slots go through it
together: each peer gets one message for all that it is asked at a time, and
slots of which it has the very state already cost it nothing but a number.

Where the latest changes may be with processes that are gone, the slot waits for
them until they are known to be dead, or for `lossy_seconds`; then it opens
*lossy*: with a new lineage, in which no older cursor means anything, so that
every reader is told of the gap.
"""

from __future__ import annotations

from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING

from dht.effects import Dial, Send
from pubsub import pledges
from pubsub.slot import Slot
from pubsub.slot_messages import Install, InstallGroup, Reregister, Seal
from pubsub.timings import Timings
from pubsub.verdict import Verdict, weigh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import Member
    from pubsub.core import Core
    from pubsub.pulls import Pulls
    from pubsub.sealing import Sealing
    from pubsub.slot_messages import Claim, Holders, Installed, Sealed
    from pubsub.transfer import Unpacker

FRESH = "fresh"
TAKEN_OVER = "taken_over"
LOSSY = "lossy"
_LOOK_SECONDS = 1.0  # between two looks at who may be dead
_ASK_ALL = 64  # members up to which everybody is asked at once
_DEAD = 10_000  # processes that are remembered as dead


class _Opening:
    """One slot on its way."""

    __slots__ = (
        "asked",
        "awaited",
        "best",
        "claims",
        "holders",
        "missing",
        "number",
        "reference",
        "since",
        "view",
    )

    def __init__(self, number: int, view: int, holders: Holders, since: float) -> None:
        self.number = number
        self.view = view
        self.holders = holders
        self.since = since
        self.claims: dict[NodeId, Claim] = {}
        self.asked: set[NodeId] = set()
        self.awaited: frozenset[NodeId] = frozenset()  # before that there is nothing to decide
        self.best = 0  # the latest reign that anybody has a copy of
        self.reference: tuple[int, int, int] | None = None  # the state's epoch, seq, lineage
        self.missing: set[NodeId] = set()  # holders that have not installed it


class _Peer:
    """What one node is asked and has not answered."""

    __slots__ = ("install", "retry_at", "seal", "unsent")

    def __init__(self) -> None:
        self.seal: dict[int, None] = {}
        self.install: dict[int, None] = {}
        self.unsent: dict[int, None] = {}  # of both
        self.retry_at = inf


class Openings:
    """The slots that this node is about to be home to. The engine sets `opened`."""

    opened: Callable[[list[Slot], float, list[Effect]], None]

    def __init__(self, core: Core, sealing: Sealing, pulls: Pulls) -> None:
        self._core = core
        self._sealing = sealing
        self._pulls = pulls
        self._openings: dict[int, _Opening] = {}
        self._peers: dict[NodeId, _Peer] = {}
        self._dead: dict[tuple[NodeId, int], None] = {}
        self._addresses: dict[tuple[NodeId, int], str] = {}  # of members that are gone
        self._look_at = inf
        self._lost: dict[int, float] = {}  # slots that opened lossy of late, and when
        self._retired: dict[NodeId, list[Slot]] = {}  # who may give up what, once it is open
        self.outcomes = {FRESH: 0, TAKEN_OVER: 0, LOSSY: 0}
        self.timings = Timings()

    def __len__(self) -> int:
        return len(self._openings)

    def __contains__(self, number: int) -> bool:
        return number in self._openings

    def __iter__(self) -> Iterator[int]:
        return iter(self._openings)

    # -- beginning and end --------------------------------------------------------

    def give_up(self) -> dict[int, float]:
        """The view has changed: none of these takeovers goes on. Returns when they began."""
        since = {number: opening.since for number, opening in self._openings.items()}
        for number in since:
            self._pulls.drop(number)
        self._openings.clear()
        self._peers.clear()
        return since

    def begin(
        self, numbers: Iterable[int], now: float, since: Mapping[int, float] = MappingProxyType({})
    ) -> None:
        """Take these slots over in the present view. `proceed` has to follow.

        `since`: when a takeover of some of them began that came to nothing.
        """
        core = self._core
        everybody = [node for node in core.members if node != core.me]
        for number in numbers:
            holders = core.holders(number)
            opening = _Opening(number, core.view_number, holders, since.get(number, now))
            self._openings[number] = opening
            claim = self._sealing.seal(number, opening.view, holders, now)
            if claim is None:  # sealed here for a view that has not come yet: another is home
                del self._openings[number]
                continue
            opening.claims[core.me] = claim
            opening.best = claim.epoch
            if len(everybody) <= _ASK_ALL:
                self._ask(opening, everybody)
            else:
                likely = {node for node, _ in (*claim.holders, *holders)}
                for _, pledged in (*claim.pledges, *claim.seen):
                    likely.update(node for node, _ in pledged)
                self._ask(opening, [n for n in sorted(likely) if n in core.members])

    def begin_fresh(self, numbers: Iterable[int]) -> list[Slot]:
        """Nobody can have held these before: the ring has just begun."""
        core = self._core
        for number in numbers:
            holders = core.holders(number)
            slot = Slot(number, core.view_number, core.view_number, holders)
            self._sealing.put(slot, core.view_number, holders)
        mine = [slot for slot in core.copies.values() if slot.holders[0][0] == core.me]
        self.outcomes[FRESH] += len(mine)
        return mine

    def _ask(self, opening: _Opening, nodes: Iterable[NodeId]) -> None:
        for node in nodes:
            if node not in opening.asked and node != self._core.me:
                opening.asked.add(node)
                peer = self._peers.setdefault(node, _Peer())
                peer.seal[opening.number] = peer.unsent[opening.number] = None

    def proceed(self, numbers: Iterable[int], now: float, out: list[Effect]) -> None:
        """See how far these slots can get, and send what is to be sent."""
        done: list[Slot] = []
        for number in list(numbers):
            opening = self._openings.get(number)
            if opening is not None:
                self._step(opening, now, done)
        self._finish(done, now, out)
        self._pulls.post(now, out)
        self._post(now, out)

    def _step(self, opening: _Opening, now: float, done: list[Slot]) -> None:
        core = self._core
        if self._superseded(opening):
            return
        if opening.reference is None:
            if not opening.awaited <= opening.claims.keys():
                return
            verdict = weigh(opening.view, opening.claims, core.alive, core.me)
            if not verdict.settled:
                opening.awaited = frozenset(verdict.wait_for)
                self._ask(opening, verdict.wait_for)
                return
            self._adopt(opening, verdict, now)
        if opening.reference is not None and not opening.missing:
            self._open(opening, now, done)

    def _superseded(self, opening: _Opening) -> bool:
        """Whether this node was sealed for a later view meanwhile: then this reign never begins.

        The later home was told what was here, and may have installed its own state
        by now; the view that names it is on its way.
        """
        number = opening.number
        copy = self._core.copies.get(number)
        held = 0 if copy is None else copy.epoch
        if max(self._core.pledged(number), held) <= opening.view:
            return False
        del self._openings[number]
        if not self._sealing.wishes(number):
            self._pulls.drop(number)
        for peer in self._peers.values():
            for asked in (peer.seal, peer.install, peer.unsent):
                asked.pop(number, None)
        return True

    # -- adopting -----------------------------------------------------------------

    def _adopt(self, opening: _Opening, verdict: Verdict, now: float) -> None:
        """Everything that can be known is known."""
        core, number = self._core, opening.number
        is_lossy = False
        if verdict.doubtful:
            if not self._may_lose(opening, verdict, now):
                return
            is_lossy = True
        if verdict.source is None:
            self.outcomes[LOSSY if is_lossy else FRESH] += 1
            slot = Slot(number, opening.view, opening.view)
            self._install(opening, slot, (0, 0, opening.view))
            self._note_lost(slot, now)
        elif verdict.source == core.me:
            self._adopt_copy(opening, core.copies[number], is_lossy=is_lossy, now=now)
        else:
            claim = opening.claims[verdict.source]
            if claim.seq:
                self._pulls.want(number, verdict.source, now)
                return
            slot = Slot(number, claim.epoch, claim.lineage, claim.holders)
            self._adopt_copy(opening, slot, is_lossy=is_lossy, now=now)

    def _adopt_copy(self, opening: _Opening, slot: Slot, *, is_lossy: bool, now: float) -> None:
        self.outcomes[LOSSY if is_lossy else TAKEN_OVER] += 1
        reference = (slot.epoch, slot.seq, slot.lineage)
        if is_lossy:
            self._sealing.begin_lineage(slot, opening.view)
            reference = (opening.view, slot.seq, slot.lineage)
        if is_lossy or slot.lineage == slot.epoch > 1:
            self._note_lost(slot, now)  # by this takeover, or by one that had just come through
        self._install(opening, slot, reference)

    def _install(self, opening: _Opening, slot: Slot, reference: tuple[int, int, int]) -> None:
        """Let all holders have this state."""
        opening.reference = reference
        self._sealing.put(slot, opening.view, opening.holders)
        slot.fenced = True  # until it is open
        for node, _ in opening.holders:
            if node != self._core.me:
                opening.missing.add(node)
                peer = self._peers.setdefault(node, _Peer())
                peer.install[opening.number] = peer.unsent[opening.number] = None
        for peer in self._peers.values():
            peer.seal.pop(opening.number, None)

    def _note_lost(self, slot: Slot, now: float) -> None:
        slot.settled_at = now + self._core.limits.settle_seconds
        self._lost[slot.number] = now

    def _may_lose(self, opening: _Opening, verdict: Verdict, now: float) -> bool:
        """Whether it is no use to wait for those who are gone."""
        core = self._core
        if now >= opening.since + core.limits.lossy_seconds:
            return True
        if not verdict.unknown and all(
            holder in self._dead or self._is_another(holder, opening) for holder in verdict.gone
        ):
            return True
        # A later home has to know of them too.
        own = core.pledges.get(opening.number, ())
        for claim in opening.claims.values():
            for number, holders in sorted((*claim.pledges, *claim.seen)):
                if number < opening.view and (number, holders) not in own:
                    own = tuple(sorted((*own, (number, holders))))
        if own:
            core.pledges[opening.number] = own[-pledges.MOST :]
        self._look_at = min(self._look_at, now + _LOOK_SECONDS)
        return False

    def _is_another(self, holder: tuple[NodeId, int], opening: _Opening) -> bool:
        """Its place in the ring is another process's now, which has said what it has."""
        node, incarnation = holder
        member = self._core.members.get(node)
        return member is not None and member.incarnation != incarnation and node in opening.claims

    # -- answers ------------------------------------------------------------------

    def receive_sealed(
        self, sender: NodeId, message: Sealed, now: float, out: list[Effect]
    ) -> None:
        """What a peer has of some slots."""
        peer = self._peers.get(sender)
        heard: list[int] = []
        for claim, numbers in message.claims:
            if not 0 < claim.first <= self._core.alive.get(sender, 0):
                continue  # not (or not yet) the process that the view lists: it is asked again
            for number in numbers:
                opening = self._openings.get(number)
                if opening is None or opening.view != message.view or peer is None:
                    continue
                peer.seal.pop(number, None)
                if opening.reference is None:
                    opening.claims[sender] = claim
                    if claim.epoch > opening.best:
                        opening.best = claim.epoch
                        opening.awaited = frozenset()  # others matter now
                    heard.append(number)
        self.proceed(heard, now, out)

    def receive_installed(
        self, sender: NodeId, message: Installed, now: float, out: list[Effect]
    ) -> None:
        """A holder has some slots as they are to be."""
        peer = self._peers.get(sender)
        heard: list[int] = []
        for number in message.slots:
            opening = self._openings.get(number)
            if opening is not None and opening.view == message.view and peer is not None:
                peer.install.pop(number, None)
                opening.missing.discard(sender)
                heard.append(number)
        self.proceed(heard, now, out)

    def pulled(self, sender: NodeId, unpacker: Unpacker, now: float) -> bool:
        """A copy has come; False if it was not for this half. `proceed` has to follow."""
        number = unpacker.slot.number
        opening = self._openings.get(number)
        claim = None if opening is None else opening.claims.get(sender)
        if opening is None or claim is None or opening.reference is not None:
            return False
        if (claim.seq, claim.lineage) != (unpacker.slot.seq, unpacker.slot.lineage):
            unpacker.clear()
            self.missing(sender, [number])
            return True
        if self._superseded(opening):
            unpacker.clear()
            return True
        slot = self._sealing.take(unpacker, now)
        slot.epoch, slot.holders = claim.epoch, claim.holders
        verdict = weigh(opening.view, opening.claims, self._core.alive, self._core.me)
        self._adopt_copy(opening, slot, is_lossy=verdict.doubtful, now=now)
        return True

    def missing(self, sender: NodeId, numbers: Iterable[int]) -> None:
        """A peer has not what it said: it is asked anew."""
        for number in numbers:
            opening = self._openings.get(number)
            if opening is not None and opening.reference is None:
                opening.claims.pop(sender, None)
                opening.asked.discard(sender)
                self._ask(opening, [sender])

    # -- opening ------------------------------------------------------------------

    def _open(self, opening: _Opening, now: float, done: list[Slot]) -> None:
        del self._openings[opening.number]
        self.timings.note(now - opening.since)
        slot = self._core.copies[opening.number]
        done.append(slot)
        for node, claim in opening.claims.items():
            if claim.epoch and all(node != holder for holder, _ in opening.holders):
                self._retired.setdefault(node, []).append(slot)

    def _finish(self, done: list[Slot], now: float, out: list[Effect]) -> None:
        if not done:
            return
        self.opened(done, now, out)
        retired, self._retired = self._retired, {}
        for node, slots in retired.items():
            self._sealing.retire(node, slots, out)
        lost = tuple(slot.number for slot in done if slot.number in self._lost)
        if lost:
            out.extend(
                [Send(n, Reregister(lost)) for n in self._core.members if n != self._core.me]
            )

    # -- sending ------------------------------------------------------------------

    def _post(self, now: float, out: list[Effect]) -> None:
        """Ask everybody what is to be asked of it and was not sent yet."""
        for node, peer in list(self._peers.items()):
            if not peer.seal and not peer.install:
                del self._peers[node]
            elif peer.unsent:
                self._send(node, peer, peer.unsent, now, out)

    def _send(
        self, node: NodeId, peer: _Peer, numbers: Iterable[int], now: float, out: list[Effect]
    ) -> None:
        seals: dict[int, dict[Holders, list[int]]] = {}
        installs: dict[int, dict[tuple[int, int, int, Holders], list[int]]] = {}
        for number in numbers:
            opening = self._openings.get(number)
            if opening is None:
                continue
            if number in peer.install and opening.reference is not None:
                state = (*opening.reference, opening.holders)
                installs.setdefault(opening.view, {}).setdefault(state, []).append(number)
            elif number in peer.seal:
                by_holders = seals.setdefault(opening.view, {})
                by_holders.setdefault(opening.holders, []).append(number)
        peer.unsent = {}
        peer.retry_at = now + self._core.limits.takeover_retry_seconds
        for view, by_holders in seals.items():
            groups = tuple((holders, tuple(each)) for holders, each in by_holders.items())
            out.append(Send(node, Seal(view, groups)))
        for view, by_state in installs.items():
            states = tuple(
                InstallGroup(epoch, seq, lineage, holders, tuple(each))
                for (epoch, seq, lineage, holders), each in by_state.items()
            )
            out.append(Send(node, Install(view, states)))

    def _repeat(self, node: NodeId, peer: _Peer, now: float, out: list[Effect]) -> None:
        self._send(node, peer, {**peer.seal, **peer.install}, now, out)

    # -- views, links and time ----------------------------------------------------

    def install_view(self, gone: Iterable[Member]) -> None:
        """Note who is not there any more."""
        for member in gone:
            self._addresses[member.id, member.incarnation] = member.peer
            for opening in self._openings.values():
                self._note_gone(opening, member.id)
        while len(self._addresses) > _DEAD:
            del self._addresses[next(iter(self._addresses))]

    def _note_gone(self, opening: _Opening, node: NodeId) -> None:
        """Who has told of a reign is gone: that there was one must not be forgotten."""
        claim = opening.claims.get(node)
        if claim is None or opening.reference is not None:
            return
        told = claim.pledges if not claim.epoch else ((claim.epoch, claim.holders), *claim.pledges)
        pledged = self._core.pledges
        own = {*pledged.get(opening.number, ()), *told}
        pledged[opening.number] = tuple(sorted(own))[-pledges.MOST :]

    def died(self, node: NodeId, incarnation: int) -> None:
        """That process has ended: whatever it held is lost. `proceed` may follow."""
        self._dead[node, incarnation] = None
        if len(self._dead) > _DEAD:
            del self._dead[next(iter(self._dead))]
        if self._look_at < inf:
            self._look_at = 0.0

    def address_dead(self, address: str) -> None:
        """Nobody is at this address any more."""
        for (node, incarnation), where in self._addresses.items():
            if where == address:
                self.died(node, incarnation)

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        """What was under way may be lost."""
        peer = self._peers.get(node)
        if peer is not None:
            self._repeat(node, peer, now, out)
        lost = tuple(n for n in self._lost if n in self._core.slots)
        if lost:
            out.append(Send(node, Reregister(lost)))

    def next_deadline(self) -> float:
        return min(self._look_at, self._retry_deadline())

    def _retry_deadline(self) -> float:
        return min((peer.retry_at for peer in self._peers.values()), default=inf)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask again where no answer has come; look whether waiting is any use."""
        for node, peer in list(self._peers.items()):
            if peer.retry_at <= now:
                self._repeat(node, peer, now, out)
        if now >= self._look_at:
            self._look_at = inf
            waiting = [n for n, each in self._openings.items() if each.reference is None]
            for (node, incarnation), address in self._addresses.items():
                if (node, incarnation) not in self._dead:
                    out.append(Dial(address))
            self.proceed(waiting, now, out)
        settle = self._core.limits.settle_seconds
        while self._lost and next(iter(self._lost.values())) + settle <= now:
            del self._lost[next(iter(self._lost))]
