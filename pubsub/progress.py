"""How far sessions have been served, told by their home to the other copies of its slots.

Lazily, because it is needed only if the home dies, and then costs no more than
that clients are told again what lies between; and together, because the readers
of a group stand alike: sessions of one slot with the same cursors are one change.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dht.ids import slot_of
from pubsub.slot_messages import CursorsPut
from pubsub.staging import ENVELOPE, Staged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pubsub.core import Core
    from pubsub.lanes import Lanes
    from pubsub.records import SessionRecord
    from pubsub.slot import Slot
    from pubsub.values import Cursor

_TOGETHER: Final = 256  # sessions that one change tells of, at most
_ADDRESS_BYTES: Final = 30  # that each of them adds to it, roughly


class Progress:
    """The sessions whose cursors are further than the other copies know."""

    def __init__(self, core: Core, lanes: Lanes) -> None:
        self._core = core
        self._lanes = lanes
        self._behind: dict[str, None] = {}  # (a dict, because its order is the same in every run)
        self.next_deadline = inf

    def note(self, address: str, now: float) -> None:
        """A session's record has moved forward."""
        if self._lanes.used:
            self._behind[address] = None
            self.next_deadline = min(self.next_deadline, now + self._core.limits.cursors_seconds)

    def forget(self, address: str) -> None:
        """The session is over."""
        self._behind.pop(address, None)

    def tell(self, now: float) -> None:
        """Stage it all."""
        core = self._core
        behind, self._behind = self._behind, {}
        self.next_deadline = inf
        alike: dict[tuple[Slot, Cursor, int], list[SessionRecord]] = {}
        for address in behind:
            number = slot_of(address)
            slot = core.slots.get(number)
            record = None if slot is None else slot.record(address)
            if slot is None and core.home(number) == core.me:  # it is about to open again
                self.note(address, now)
            elif slot is not None and record is not None and slot.lane is not None:
                # (Equal cursors are one object, mostly: `Sharer`.)
                alike.setdefault((slot, record.inbox, id(record.cursors)), []).append(record)
        for (slot, inbox, _), records in alike.items():
            for start in range(0, len(records), _TOGETHER):
                self._stage(slot, inbox, records[start : start + _TOGETHER], now)

    def _stage(
        self, slot: Slot, inbox: Cursor, records: Sequence[SessionRecord], now: float
    ) -> None:
        if slot.lane is None:
            return
        slot.seq += 1
        addresses = tuple([record.address for record in records])
        op = CursorsPut(slot.number, slot.epoch, slot.seq, addresses, inbox, records[0].cursors)
        size = ENVELOPE + len(addresses) * _ADDRESS_BYTES
        self._lanes.stage(slot.lane, Staged(slot, op, size), now)
