"""A node as a holder in a takeover: sealed, installed, and at last retired.

What a new home asks binds this node at once: having answered `Seal` for a view it
takes no changes of an earlier reign, and installs none. If it was home itself,
and its own view is behind, it stops serving the slot there and then.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from dht.errors import NoMembers
from pubsub import pledges
from pubsub.past_views import PastViews
from pubsub.slot import Slot
from pubsub.slot_messages import Claim, Installed, Retirable, Retire, Sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.ids import MessageIds
    from pubsub.pulls import Pulls
    from pubsub.slot_messages import Holders, Install, InstallGroup, Seal
    from pubsub.transfer import Unpacker


class Sealing:
    """The holder's half of takeovers. `part` stops serving slots that are open here."""

    part: Callable[[list[int], float, list[Effect]], None]

    def __init__(self, core: Core, ids: MessageIds, pulls: Pulls) -> None:
        self._core = core
        self._ids = ids
        self._pulls = pulls
        self.past = PastViews(core)
        self._wanted: dict[int, tuple[NodeId, int, InstallGroup]] = {}  # copies on their way here
        self._ask_at = inf

    # -- sealing ------------------------------------------------------------------

    def receive_seal(self, sender: NodeId, message: Seal, now: float, out: list[Effect]) -> None:
        """A new home asks what is here of some slots."""
        core, view = self._core, message.view
        is_behind = core.view_number > view
        claims: dict[Claim, list[int]] = {}
        for holders, numbers in message.groups:
            if is_behind:  # it will hear of the view in which another is home
                asked = [number for number in numbers if core.home(number) == sender]
            else:
                asked = list(numbers)
            mine = [number for number in asked if number in core.slots]
            self.part([number for number in mine if core.slots[number].epoch < view], now, out)
            for number in asked:
                claim = self.seal(number, view, holders, now)
                if claim is not None:
                    claims.setdefault(claim, []).append(number)
        groups = tuple((claim, tuple(numbers)) for claim, numbers in claims.items())
        out.append(Send(sender, Sealed(view, groups)))

    def seal(self, number: int, view: int, holders: Holders, now: float) -> Claim | None:
        """Pledge a slot to the reign that is to begin with `view`, and say what is here of it.

        None if it is pledged to a later one, or installed for it already.
        """
        core = self._core
        slot = core.copies.get(number)
        before = core.pledges.get(number, ())
        if (before and before[-1][0] > view) or (slot is not None and slot.epoch >= view):
            return None
        after = pledges.add(before, view, holders)
        if after is not before:
            core.pledges[number] = after
        told = tuple(pledge for pledge in before if pledge[0] < view)
        past = self.past
        if slot is None:
            since, is_complete = past.known(view, now)
            seen = past.seen(number, view)
            return Claim(0, 0, 0, (), told, seen, since, 0, core.first, is_complete)
        slot.fenced = True
        until = past.struck_off_since(slot.epoch)
        if not until and core.view_number + 1 < view:  # in between it may have been struck off
            until = max(slot.epoch, core.listed_until)
        state = (slot.epoch, slot.seq, slot.lineage, slot.holders)
        if not until and not told:  # nobody can have gone on without it
            return Claim(*state, (), (), view, 0, core.first)
        since, is_complete = past.known(view, now)
        seen = past.seen(number, view)
        return Claim(*state, told, seen, since, until, core.first, is_complete)

    # -- installing ---------------------------------------------------------------

    def receive_install(
        self, sender: NodeId, message: Install, now: float, out: list[Effect]
    ) -> None:
        """A new home says what the slots' state is to be."""
        core = self._core
        done: list[int] = []
        for group in message.groups:
            for number in group.slots:
                if core.pledged(number) > message.view:
                    continue
                if core.view_number > message.view and core.home(number) != sender:
                    continue
                if number in core.slots and core.slots[number].epoch < message.view:
                    self.part([number], now, out)
                if self._install(number, sender, message.view, group, now):
                    done.append(number)
        if done:
            out.append(Send(sender, Installed(message.view, tuple(done))))
        self._pulls.post(now, out)

    def _install(
        self, number: int, sender: NodeId, view: int, group: InstallGroup, now: float
    ) -> bool:
        """Whether the state is here and installed; if not it is fetched."""
        core = self._core
        slot = core.copies.get(number)
        if slot is not None and slot.epoch > view:
            return False
        if slot is not None and slot.epoch == view:
            return True
        before = core.pledges.get(number, ())
        core.pledges[number] = pledges.add(before, view, group.holders)
        if group.seq == 0:  # an empty slot needs no fetching
            self.put(Slot(number, view, group.lineage), view, group.holders)
        elif slot is not None and (slot.epoch, slot.seq, slot.lineage) == (
            group.epoch,
            group.seq,
            group.lineage,
        ):
            self.put(slot, view, group.holders)
        else:
            if slot is not None:
                slot.fenced = True
            self._wanted[number] = (sender, view, group)
            self._pulls.want(number, sender, now)
            return False
        return True

    def put(self, slot: Slot, view: int, holders: Holders) -> None:
        """Let this be the slot's state here, in the reign that begins with `view`."""
        number = slot.number
        old = self._core.copies.get(number)
        if old is not None and old is not slot:
            self._ids.forget((old,))
            old.release()
        slot.epoch, slot.holders, slot.fenced, slot.lane = view, holders, False, None
        self._core.copies[number] = slot
        self._core.pledges.pop(number, None)
        self._forget_wish(number)

    def begin_lineage(self, slot: Slot, view: int) -> None:
        """What this copy lacks may have been acknowledged: no older position means anything.

        Nor does a message id: who asks again has to have its message committed anew.
        """
        slot.lineage = view
        slot.seq += 1
        for topic in list((slot.topics or {}).values()):
            slot.raise_floor(topic.last.offset)
            slot.drop_topic(topic.name)
        self._ids.forget((slot,))

    def _forget_wish(self, number: int) -> None:
        if self._wanted.pop(number, None) is not None:
            self._pulls.drop(number)

    def wishes(self, number: int) -> bool:
        """Whether a copy is on its way here because its home has it installed."""
        return number in self._wanted

    def take(self, unpacker: Unpacker, now: float) -> Slot:
        """The slot that has come, its message ids remembered."""
        slot = unpacker.slot
        for item in unpacker.seen:
            self._ids.remember_chosen(slot, item, now)
        for recent in unpacker.recent:
            self._ids.remember_minted(slot, recent, now)
        return slot

    def pulled(
        self, sender: NodeId, whole: list[Unpacker], now: float, out: list[Effect]
    ) -> list[Unpacker]:
        """Copies have come from their home; returns those that are not for this half."""
        others: list[Unpacker] = []
        done: dict[int, list[int]] = {}
        for unpacker in whole:
            number = unpacker.slot.number
            wanted = self._wanted.get(number)
            if wanted is None or wanted[0] != sender:
                others.append(unpacker)
                continue
            _, view, group = self._wanted.pop(number)
            if self._core.pledged(number) > view or unpacker.slot.seq != group.seq:
                unpacker.clear()
            else:
                self.put(self.take(unpacker, now), view, group.holders)
                done.setdefault(view, []).append(number)
        for view, numbers in done.items():
            out.append(Send(sender, Installed(view, tuple(numbers))))
        return others

    def missing(self, sender: NodeId, numbers: Iterable[int]) -> None:
        """The home does not have them: it will say if it wants them installed still."""
        for number in numbers:
            wanted = self._wanted.get(number)
            if wanted is not None and wanted[0] == sender:
                del self._wanted[number]

    # -- retiring -----------------------------------------------------------------

    def receive_retire(
        self, sender: NodeId, message: Retire, now: float, out: list[Effect]
    ) -> None:
        """Slots are open elsewhere, and this node is not to hold them."""
        del sender
        core = self._core
        if (core.me, self._incarnation()) in message.holders:
            return
        for number in message.slots:
            slot = core.copies.get(number)
            if core.pledged(number) > message.epoch:
                continue
            if slot is not None and slot.epoch < message.epoch:
                if number in core.slots:
                    self.part([number], now, out)
                self.drop(number)
            if slot is None or slot.epoch < message.epoch:
                core.pledges[number] = ((message.epoch, message.holders),)

    def drop(self, number: int) -> None:
        """Give up a copy."""
        slot = self._core.copies.pop(number, None)
        if slot is not None:
            self._ids.forget((slot,))
            slot.release()

    def drop_all(self) -> None:
        """Give up all copies."""
        for number in list(self._core.copies):
            self.drop(number)
        self._core.pledges.clear()

    def _incarnation(self) -> int:
        member = self._core.members.get(self._core.me)
        return 0 if member is None else member.incarnation

    def receive_retirable(
        self, sender: NodeId, message: Retirable, now: float, out: list[Effect]
    ) -> None:
        """Somebody holds copies still: what is open here without it, it need not keep."""
        del now
        open_here = [self._core.slots[n] for n in message.slots if n in self._core.slots]
        self.retire(sender, open_here, out)

    @staticmethod
    def retire(node: NodeId, slots: Iterable[Slot], out: list[Effect]) -> None:
        """Tell `node` which of these slots it need not keep."""
        groups: dict[tuple[int, Holders], list[int]] = {}
        for slot in slots:
            if all(holder != node for holder, _ in slot.holders):
                groups.setdefault((slot.epoch, slot.holders), []).append(slot.number)
        for (epoch, holders), numbers in groups.items():
            out.append(Send(node, Retire(epoch, holders, tuple(numbers))))

    def strays(self) -> list[int]:
        """Copies that are not for this node to hold in the present view."""
        core = self._core
        mine = (core.me, self._incarnation())
        strays: list[int] = []
        for number in core.copies:
            try:
                if mine not in core.holders(number):
                    strays.append(number)
            except NoMembers:
                return []
        return strays

    def _ask(self, now: float, out: list[Effect]) -> None:
        """Ask the homes whether strays are needed still."""
        by_home: dict[NodeId, list[int]] = {}
        for number in self.strays():
            home = self._core.home(number)
            if home is not None and home != self._core.me:
                by_home.setdefault(home, []).append(number)
        for home, numbers in by_home.items():
            out.append(Send(home, Retirable(tuple(numbers))))
        self._ask_at = now + self._core.limits.retire_seconds if by_home else inf

    # -- views and time -----------------------------------------------------------

    def install_view(self, now: float) -> None:
        """Fence what the new view has another home for; nobody else is listened to there."""
        core = self._core
        for number, slot in core.copies.items():
            if number in core.slots or core.view_number <= slot.epoch:
                continue
            try:
                same = core.holders(number)[0] == slot.holders[0]
            except NoMembers:
                same = False
            slot.fenced = not same or core.pledged(number) > slot.epoch
        for number, (sender, _, _) in list(self._wanted.items()):
            if core.home(number) != sender:
                self._forget_wish(number)
        if self.strays():
            self._ask_at = min(self._ask_at, now + core.limits.retire_seconds)

    def change_ring(self) -> None:
        """What was held means nothing in another ring."""
        self.drop_all()
        for number in list(self._wanted):
            self._forget_wish(number)
        self.past.clear()

    def next_deadline(self) -> float:
        return self._ask_at

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask, while there are strays."""
        if now >= self._ask_at:
            self._ask(now, out)
