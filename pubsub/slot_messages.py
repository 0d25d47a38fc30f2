"""What the holders of a slot say to each other: replication, and takeovers.

`Replicate` carries *operations*: each changes the state of one slot, and says in
which reign (`epoch`) and as the how-manieth change of that slot (`seq`). A seq
of 0 is for topics that have fewer copies than their slot: those count by
offsets alone.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from dht.ids import WireId
from pubsub.values import Cursor, Entry, Record

Holders: TypeAlias = tuple[tuple[WireId, int], ...]
"""Who holds a slot, home first: each process by its id and incarnation."""
Pledge: TypeAlias = tuple[int, Holders]
"""A view that somebody was sealed for, and who were to hold the slot in it."""

# -- operations -----------------------------------------------------------------


class EntryPut(msgspec.Struct, frozen=True, array_like=True, tag=60, gc=False):
    """An entry at the end of a topic's log. `remember`: see `pubsub.homes`."""

    slot: int
    seq: int
    topic: str
    entry: Entry  # its epoch is the operation's
    remember: int


class RecordPut(msgspec.Struct, frozen=True, array_like=True, tag=61):
    """A session record as it is now."""

    slot: int
    epoch: int
    seq: int
    record: Record


class RecordDrop(msgspec.Struct, frozen=True, array_like=True, tag=62):
    """The session is over: its record and its inbox go."""

    slot: int
    epoch: int
    seq: int
    address: str


class CursorsPut(msgspec.Struct, frozen=True, array_like=True, tag=63):
    """How far the clients of some sessions have been served, all alike; lazily."""

    slot: int
    epoch: int
    seq: int
    addresses: tuple[str, ...]
    inbox: Cursor  # of each in its own
    cursors: tuple[tuple[str, Cursor], ...]


class TopicDrop(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """A topic that is forgotten for want of room: offsets of the slot go on above `floor`."""

    slot: int
    epoch: int
    seq: int
    topic: str
    floor: int


class MarkPut(msgspec.Struct, frozen=True, array_like=True, tag=65):
    """How far something that follows a topic (`name`) has got in it."""

    slot: int
    epoch: int
    seq: int
    topic: str
    name: str
    cursor: Cursor


class TopicLimit(msgspec.Struct, frozen=True, array_like=True, tag=66):
    """A topic has fewer copies than its slot; `last` is its last position as this reign begins."""

    slot: int
    epoch: int
    seq: int
    topic: str
    copies: int
    last: Cursor


Operation = EntryPut | RecordPut | RecordDrop | CursorsPut | TopicDrop | MarkPut | TopicLimit

# -- replication ----------------------------------------------------------------


class Replicate(msgspec.Struct, frozen=True, array_like=True, tag=67):
    """Home -> replicas: a batch of operations, the `number`-th in this lane (from 1 on)."""

    lane: int
    number: int
    ops: tuple[Operation, ...]


class Replicated(msgspec.Struct, frozen=True, array_like=True, tag=68):
    """Replica -> home: all batches of the lane up to `number` are here.

    But for operations on the slots in `refused`: their reigns, which are named
    too, have ended.
    """

    lane: int
    number: int
    refused: tuple[tuple[int, int], ...] = ()


class LaneBroken(msgspec.Struct, frozen=True, array_like=True, tag=69):
    """Replica -> home: a batch is missing. What is not acknowledged is sent again."""

    lane: int


# -- takeover -------------------------------------------------------------------


class Seal(msgspec.Struct, frozen=True, array_like=True, tag=70):
    """New home -> everybody who may hold a copy: serve no earlier reign, and say what you have.

    `groups`: who is to hold slots in view `view`, and which slots.
    """

    view: int
    groups: tuple[tuple[Holders, tuple[int, ...]], ...]


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What a node has of a slot. `epoch` 0: no copy.

    `pledges`: the views that it has been sealed for since `epoch`, before this
    time, oldest first. `seen`: who was to hold the slot in the views before the
    asker's, of which it knows every one from `since` on. Both are left out where
    nobody can have gone on without its copy. `until`: it was struck off after
    that view, and let in again, or may have been; 0: never since `epoch`. `first`: the incarnation
    with which its process began, which is another one now if so. `complete`:
    before `since` is longer ago than copies are waited for, or the ring was not
    there.
    """

    epoch: int
    seq: int
    lineage: int
    holders: Holders
    pledges: tuple[Pledge, ...]
    seen: tuple[Pledge, ...] = ()
    since: int = 0
    until: int = 0
    first: int = 0
    complete: bool = False


class Sealed(msgspec.Struct, frozen=True, array_like=True, tag=71):
    """Holder -> new home. Slots that are sealed for a later view are left out."""

    view: int
    claims: tuple[tuple[Claim, tuple[int, ...]], ...]


class InstallGroup(msgspec.Struct, frozen=True, array_like=True):
    """Slots whose state is the one that `epoch`, `seq` and `lineage` name.

    Whoever has just that has nothing to fetch. `epoch` 0: they are empty.
    """

    epoch: int
    seq: int
    lineage: int
    holders: Holders
    slots: tuple[int, ...]


class Install(msgspec.Struct, frozen=True, array_like=True, tag=72):
    """New home -> new holders: hold this state in the reign that begins with `view`."""

    view: int
    groups: tuple[InstallGroup, ...]


class Installed(msgspec.Struct, frozen=True, array_like=True, tag=73):
    """Holder -> new home: these are installed here."""

    view: int
    slots: tuple[int, ...]


class Pull(msgspec.Struct, frozen=True, array_like=True, tag=74):
    """Who needs a copy -> who has it. Answered up to a window's worth of bytes."""

    query: int
    slots: tuple[int, ...]


class TopicState(msgspec.Struct, frozen=True, array_like=True):
    """A topic's log as it moves between nodes. `cursor` is the last position assigned."""

    topic: str
    cursor: Cursor
    entries: tuple[Entry, ...]
    seen: tuple[tuple[str, Cursor], ...]  # application-chosen message ids, oldest first
    marks: tuple[tuple[str, Cursor], ...] = ()
    copies: int = 0  # fewer than the slot has; 0: as many
    lineage: int = 0  # later than the slot's, if not 0


class SlotState(msgspec.Struct, frozen=True, array_like=True):
    """What a node holds of one slot, or a part of it: parts count from 0, `final` ends them.

    A large topic is spread over several parts, each with a run of its entries.
    """

    slot: int
    seq: int
    lineage: int  # the oldest epoch whose offsets the logs here continue
    floor: int  # topics that were forgotten had no offset above this
    topics: tuple[TopicState, ...]
    records: tuple[Record, ...]
    recent: tuple[tuple[str, Cursor], ...] = ()  # message ids that nodes minted, oldest first
    part: int = 0
    final: bool = True


class Pulled(msgspec.Struct, frozen=True, array_like=True, tag=75):
    """Copies of slots. `missing` are not to be had here; `last` ends the answer to a query."""

    query: int
    states: tuple[SlotState, ...]
    missing: tuple[int, ...]
    last: bool


class Retire(msgspec.Struct, frozen=True, array_like=True, tag=76):
    """Home -> who holds copies still: these slots are open in this epoch, with these holders."""

    epoch: int
    holders: Holders
    slots: tuple[int, ...]


class Retirable(msgspec.Struct, frozen=True, array_like=True, tag=77):
    """Who holds copies still -> home: tell me which of these I need not keep."""

    slots: tuple[int, ...]


class Reregister(msgspec.Struct, frozen=True, array_like=True, tag=78):
    """Home -> everybody: these slots began without their records; send those that you hold."""

    slots: tuple[int, ...]


SlotMessage = (
    Replicate
    | Replicated
    | LaneBroken
    | Seal
    | Sealed
    | Install
    | Installed
    | Pull
    | Pulled
    | Retire
    | Retirable
    | Reregister
)
