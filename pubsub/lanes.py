"""The home's side of replication: changes out, acknowledgements in, commits.

All slots with the same other holders share a *lane*: what is staged for it in
one turn of the node's loop leaves as one batch, the same bytes for all of them.
Batches are numbered without a hole, so that one number acknowledges all before
it; a batch is committed when every holder has said so. When anything may have
been lost the lane starts over under another name with what is not committed,
and who has some of it already knows it by its slot and seq.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.slot_messages import Replicate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.slot import Slot
    from pubsub.slot_messages import Holders, LaneBroken, Operation, Replicated
    from pubsub.staging import Staged
    from pubsub.timings import Timings


class _Batch:
    """What one `Replicate` has carried."""

    __slots__ = ("items", "number", "since", "size")

    def __init__(self, number: int, items: list[Staged], size: int, since: float) -> None:
        self.number = number
        self.items = items
        self.size = size
        self.since = since


class Lane:
    """The way to one set of holders."""

    __slots__ = ("acked", "batches", "flying", "name", "number", "outbox", "resend_at", "since")

    def __init__(self, name: int, targets: Iterable[NodeId]) -> None:
        self.name = name
        self.number = 0
        self.acked = dict.fromkeys(targets, 0)
        self.outbox: deque[Staged] = deque()
        self.batches: deque[_Batch] = deque()
        self.flying = 0  # bytes in `batches`
        self.resend_at = inf
        self.since = 0.0  # when the oldest change in the outbox was staged

    @property
    def idle(self) -> bool:
        return not (self.outbox or self.batches)

    @property
    def waits_since(self) -> float:
        """When the oldest change that is not committed was staged; infinite if there is none."""
        if self.batches:
            return self.batches[0].since
        return self.since if self.outbox else inf


class Lanes:
    """All lanes of one node.

    `on_fenced` hears of slots that another home has taken over, `after_commits`
    when a run of changes has been committed.
    """

    on_fenced: Callable[[list[Slot], float, list[Effect]], None]
    after_commits: Callable[[float, list[Effect]], None]

    def __init__(self, core: Core, timings: Timings) -> None:
        self._core = core
        self._timings = timings
        self._by_targets: dict[tuple[NodeId, ...], Lane] = {}
        self._by_name: dict[int, Lane] = {}
        self._names = 0
        self._dirty: dict[Lane, None] = {}
        self._timer = inf
        self.staged_bytes = 0

    def __len__(self) -> int:
        """Changes that are not committed yet."""
        return sum(
            len(lane.outbox) + sum(len(batch.items) for batch in lane.batches)
            for lane in self._by_name.values()
        )

    def lag(self, now: float) -> float:
        """The age in seconds of the oldest change that is not committed; 0 if there is none."""
        oldest = min((lane.waits_since for lane in self._by_name.values()), default=inf)
        return max(0.0, now - oldest)

    @property
    def used(self) -> bool:
        """Whether any slot has another holder."""
        return bool(self._by_name)

    @property
    def unflushed(self) -> bool:
        """Whether there is something to send at the end of the turn."""
        return bool(self._dirty)

    def to(self, holders: Holders) -> Lane | None:
        """The lane to these holders; None if there is nobody but me."""
        targets = tuple([node for node, _ in holders if node != self._core.me])
        if not targets:
            return None
        lane = self._by_targets.get(targets)
        if lane is None:
            lane = self._by_targets[targets] = Lane(self._new_name(), targets)
            self._by_name[lane.name] = lane
        return lane

    def _new_name(self) -> int:
        self._names += 1
        return self._names

    def stage(self, lane: Lane, item: Staged, now: float) -> None:
        """Send this change with the next batch."""
        if not lane.outbox:
            lane.since = now
            self._dirty[lane] = None
        lane.outbox.append(item)
        self.staged_bytes += item.size

    # -- sending ------------------------------------------------------------------

    def flush(self, now: float, out: list[Effect]) -> None:
        """The turn is over: send what was staged."""
        dirty, self._dirty = self._dirty, {}
        for lane in dirty:
            self._send(lane, now, out)

    def _send(self, lane: Lane, now: float, out: list[Effect]) -> None:
        limits = self._core.limits
        outbox = lane.outbox
        while outbox and lane.flying < limits.lane_window:
            items: list[Staged] = []
            size = 0
            while outbox and size < limits.batch_bytes and len(items) < limits.batch_ops:
                item = outbox.popleft()
                items.append(item)
                size += item.size
            lane.number += 1
            lane.flying += size
            lane.batches.append(_Batch(lane.number, items, size, lane.since))
            ops: tuple[Operation, ...] = tuple([item.op for item in items])
            message = Replicate(lane.name, lane.number, ops)
            out.extend([Send(target, message) for target in lane.acked])
        lane.resend_at = now + limits.resend_seconds if lane.batches else inf
        self._timer = min(self._timer, lane.resend_at)

    def _restart(self, lane: Lane, now: float, out: list[Effect]) -> None:
        """Send everything that is not committed again."""
        del self._by_name[lane.name]
        lane.name = self._new_name()
        self._by_name[lane.name] = lane
        lane.number = lane.flying = 0
        lane.acked = dict.fromkeys(lane.acked, 0)
        if lane.batches:
            lane.since = lane.batches[0].since
        for batch in reversed(lane.batches):
            lane.outbox.extendleft(reversed(batch.items))
        lane.batches.clear()
        self._send(lane, now, out)

    # -- answers ------------------------------------------------------------------

    def receive_replicated(
        self, sender: NodeId, message: Replicated, now: float, out: list[Effect]
    ) -> None:
        """A replica has everything up to a batch."""
        lane = self._by_name.get(message.lane)
        if lane is None or message.number <= lane.acked.get(sender, inf):
            return
        fenced = []
        for number, epoch in message.refused:
            slot = self._core.slots.get(number)
            if slot is not None and slot.epoch == epoch and not slot.fenced:
                slot.fenced = True
                fenced.append(slot)
        if fenced:
            self.on_fenced(fenced, now, out)
        lane.acked[sender] = message.number
        upto = self._everywhere(lane)
        if lane.batches and lane.batches[0].number <= upto:
            held = self._core.leased(now)
            while lane.batches and lane.batches[0].number <= upto:
                self._commit(lane, lane.batches.popleft(), held, now, out)
            self.after_commits(now, out)
        lane.resend_at = now + self._core.limits.resend_seconds if lane.batches else inf
        if lane.outbox:
            self._send(lane, now, out)

    @staticmethod
    def _everywhere(lane: Lane) -> int:
        """The last batch that all holders have."""
        return min(lane.acked.values())

    def _commit(self, lane: Lane, batch: _Batch, held: bool, now: float, out: list[Effect]) -> None:
        lane.flying -= batch.size
        self.staged_bytes -= batch.size
        for item in batch.items:
            item.commit(held, now, out)
        self._timings.note(now - batch.since, len(batch.items))

    def receive_broken(
        self, sender: NodeId, message: LaneBroken, now: float, out: list[Effect]
    ) -> None:
        """A replica has missed a batch."""
        del sender
        lane = self._by_name.get(message.lane)
        if lane is not None:
            self._restart(lane, now, out)

    # -- ends of reigns ---------------------------------------------------------------

    def withdraw(self, slots: Collection[int]) -> list[Staged]:
        """What is staged for these slots, in order: it will not be committed here any more."""
        gone: list[Staged] = []
        for lane in self._by_name.values():
            if lane.idle:
                continue
            for batch in lane.batches:
                lane.flying -= batch.size
                batch.items = self._sift(batch.items, slots, gone)
                batch.size = sum(item.size for item in batch.items)
                lane.flying += batch.size
            lane.outbox = deque(self._sift(lane.outbox, slots, gone))
        self.staged_bytes -= sum(item.size for item in gone)
        return gone

    @staticmethod
    def _sift(items: Iterable[Staged], slots: Collection[int], gone: list[Staged]) -> list[Staged]:
        kept = []
        for item in items:
            if item.slot.number in slots:
                gone.append(item)
            else:
                kept.append(item)
        return kept

    def install_view(self) -> None:
        """Lanes to who is no member carry nothing any more: their slots have been taken over."""
        used = {slot.lane for slot in self._core.slots.values()}
        for targets, lane in list(self._by_targets.items()):
            if lane not in used and lane.idle:
                del self._by_targets[targets], self._by_name[lane.name]

    # -- links and time -----------------------------------------------------------------

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        for lane in list(self._by_name.values()):
            if node in lane.acked and lane.batches:
                self._restart(lane, now, out)

    def link_closed(self, node: NodeId, now: float) -> None:
        """What was under way may be lost: said again when there is a link, or to get one."""
        for lane in self._by_name.values():
            if node in lane.acked and lane.batches:
                lane.resend_at = min(lane.resend_at, now + self._core.limits.retry_cap_seconds)
                self._timer = min(self._timer, lane.resend_at)

    def next_deadline(self) -> float:
        return self._timer

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Send again what nobody has answered for."""
        self.flush(now, out)
        if now < self._timer:
            return
        patience = self._core.limits.request_seconds
        for lane in list(self._by_name.values()):
            if lane.batches and lane.resend_at <= now:
                for batch in lane.batches:
                    if batch.since + patience > now:
                        break
                    for item in batch.items:
                        item.expire(now, out)
                self._restart(lane, now, out)
        self._timer = min((lane.resend_at for lane in self._by_name.values()), default=inf)
