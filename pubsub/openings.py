"""A node as new home: how a slot's next reign begins, whatever ended the last one.

    seal      everybody who may hold a copy, and hear what there is
    adopt     a copy of the latest reign (`verdict`), fetched if it is not here
    install   that state on all holders of the new view
    open

Crash, join, leave and restart are all this. Thousands of slots go through it
together; slots of which a peer has the very state already cost it nothing but a
number. How peers are asked is in `asking`.

Where the latest changes may be with processes that are gone, the slot waits for
them (`losses`); then it opens *lossy*: with a new lineage, in which no older
cursor means anything, so that every reader is told of the gap.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pubsub.asking import Asking
from pubsub.losses import Losses
from pubsub.opening import Opening
from pubsub.slot import Slot
from pubsub.timings import Timings
from pubsub.verdict import weigh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import Member
    from pubsub.core import Core
    from pubsub.pulls import Pulls
    from pubsub.sealing import Sealing
    from pubsub.slot_messages import Installed, Sealed
    from pubsub.transfer import Unpacker
    from pubsub.verdict import Verdict

FRESH = "fresh"
TAKEN_OVER = "taken_over"
LOSSY = "lossy"
_ASK_ALL = 64  # members up to which everybody is asked at once


class Openings:
    """The slots that this node is about to be home to. The engine sets `opened`."""

    opened: Callable[[list[Slot], float, list[Effect]], None]

    def __init__(self, core: Core, sealing: Sealing, pulls: Pulls) -> None:
        self._core = core
        self._sealing = sealing
        self._pulls = pulls
        self._openings: dict[int, Opening] = {}
        self._asking = Asking(core, self._openings)
        self._losses = Losses(core)
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
        self._asking.clear()
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
            opening = Opening(number, core.view_number, holders, since.get(number, now))
            self._openings[number] = opening
            claim = self._sealing.seal(number, opening.view, holders, now)
            if claim is None:  # sealed here for a view that has not come yet: another is home
                del self._openings[number]
                continue
            opening.claims[core.me] = claim
            opening.best = claim.epoch
            if len(everybody) <= _ASK_ALL:
                self._asking.seal(opening, everybody)
            else:
                likely = {node for node, _ in (*claim.holders, *holders)}
                for _, pledged in (*claim.pledges, *claim.seen):
                    likely.update(node for node, _ in pledged)
                self._asking.seal(opening, [n for n in sorted(likely) if n in core.members])

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

    def proceed(self, numbers: Iterable[int], now: float, out: list[Effect]) -> None:
        """See how far these slots can get, and send what is to be sent."""
        done: list[Slot] = []
        for number in list(numbers):
            opening = self._openings.get(number)
            if opening is not None:
                self._step(opening, now, done)
        self._finish(done, now, out)
        self._pulls.post(now, out)
        self._asking.post(now, out)

    def _step(self, opening: Opening, now: float, done: list[Slot]) -> None:
        core = self._core
        if self._superseded(opening):
            return
        if opening.reference is None:
            if not opening.awaited <= opening.claims.keys():
                return
            verdict = weigh(opening.view, opening.claims, core.alive, core.me)
            if not verdict.settled:
                opening.awaited = frozenset(verdict.wait_for)
                self._asking.seal(opening, verdict.wait_for)
                return
            self._adopt(opening, verdict, now)
        if opening.reference is not None and not opening.missing:
            self._open(opening, now, done)

    def _superseded(self, opening: Opening) -> bool:
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
        self._asking.drop(number)
        return True

    # -- adopting -----------------------------------------------------------------

    def _adopt(self, opening: Opening, verdict: Verdict, now: float) -> None:
        """Everything that can be known is known."""
        core, number = self._core, opening.number
        is_lossy = False
        if verdict.doubtful:
            if not self._losses.may_lose(opening, verdict, now):
                return
            is_lossy = True
        if verdict.source is None:
            self.outcomes[LOSSY if is_lossy else FRESH] += 1
            slot = Slot(number, opening.view, opening.view)
            self._install(opening, slot, (0, 0, opening.view))
            self._losses.note(slot, now)
        elif verdict.source == core.me:
            self._adopt_copy(opening, core.copies[number], is_lossy=is_lossy, now=now)
        else:
            claim = opening.claims[verdict.source]
            if claim.seq:
                self._pulls.want(number, verdict.source, now)
                return
            slot = Slot(number, claim.epoch, claim.lineage, claim.holders)
            self._adopt_copy(opening, slot, is_lossy=is_lossy, now=now)

    def _adopt_copy(self, opening: Opening, slot: Slot, *, is_lossy: bool, now: float) -> None:
        self.outcomes[LOSSY if is_lossy else TAKEN_OVER] += 1
        reference = (slot.epoch, slot.seq, slot.lineage)
        if is_lossy:
            self._sealing.begin_lineage(slot, opening.view)
            reference = (opening.view, slot.seq, slot.lineage)
        if is_lossy or slot.lineage == slot.epoch > 1:
            self._losses.note(slot, now)  # by this takeover, or by one that had just come through
        self._install(opening, slot, reference)

    def _install(self, opening: Opening, slot: Slot, reference: tuple[int, int, int]) -> None:
        """Let all holders have this state."""
        opening.reference = reference
        self._sealing.put(slot, opening.view, opening.holders)
        slot.fenced = True  # until it is open
        self._asking.install(opening)

    # -- answers ------------------------------------------------------------------

    def receive_sealed(
        self, sender: NodeId, message: Sealed, now: float, out: list[Effect]
    ) -> None:
        """What a peer has of some slots."""
        is_asked = sender in self._asking
        heard: list[int] = []
        for claim, numbers in message.claims:
            if not 0 < claim.first <= self._core.alive.get(sender, 0):
                continue  # not (or not yet) the process that the view lists: it is asked again
            for number in numbers:
                opening = self._openings.get(number)
                if opening is None or opening.view != message.view or not is_asked:
                    continue
                self._asking.sealed(sender, number)
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
        is_asked = sender in self._asking
        heard: list[int] = []
        for number in message.slots:
            opening = self._openings.get(number)
            if opening is not None and opening.view == message.view and is_asked:
                self._asking.installed(sender, number)
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
        verdict = weigh(opening.view, opening.claims, self._core.alive, self._core.me)
        is_due = not verdict.doubtful or self._losses.may_lose(opening, verdict, now)
        if not verdict.settled or not is_due:  # others have spoken meanwhile: it is not the time
            unpacker.clear()
            return True
        slot = self._sealing.take(unpacker, now)
        slot.epoch, slot.holders = claim.epoch, claim.holders
        self._adopt_copy(opening, slot, is_lossy=verdict.doubtful, now=now)
        return True

    def missing(self, sender: NodeId, numbers: Iterable[int]) -> None:
        """A peer has not what it said: it is asked anew."""
        for number in numbers:
            opening = self._openings.get(number)
            if opening is not None and opening.reference is None:
                opening.claims.pop(sender, None)
                opening.asked.discard(sender)
                self._asking.seal(opening, [sender])

    # -- opening ------------------------------------------------------------------

    def _open(self, opening: Opening, now: float, done: list[Slot]) -> None:
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
        self._losses.opened(done, out)

    # -- views, links and time ----------------------------------------------------

    def install_view(self, gone: Iterable[Member]) -> None:
        """Note who is not there any more."""
        self._losses.install_view(gone, self._openings.values())

    def died(self, node: NodeId, incarnation: int) -> None:
        """That process has ended: whatever it held is lost. `proceed` may follow."""
        self._losses.died(node, incarnation)

    def address_dead(self, address: str) -> None:
        """Nobody is at this address any more."""
        self._losses.address_dead(address)

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        """What was under way may be lost."""
        self._asking.link_opened(node, now, out)
        self._losses.link_opened(node, out)

    def next_deadline(self) -> float:
        return min(self._losses.look_at, self._asking.next_deadline())

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask again where no answer has come; look whether waiting is any use."""
        self._asking.handle_timer(now, out)
        if self._losses.look(now, out):
            waiting = [n for n, each in self._openings.items() if each.reference is None]
            self.proceed(waiting, now, out)
        self._losses.handle_timer(now)
