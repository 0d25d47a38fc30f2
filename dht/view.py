"""The view: the numbered list of members that the whole ring agrees on.

A view is immutable. Placement, observers and the multicast trees are pure
functions of it, so two nodes with the same (number, digest) agree on all of
them without another word.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from hashlib import blake2b
from typing import TypeAlias

import msgspec

from dht.ids import NodeId, WireId, to_int

DIGEST_BYTES = 8


class MemberState(IntEnum):
    """A member's life: it may own slots only while ACTIVE."""

    JOINING = 1
    ACTIVE = 2
    LEAVING = 3


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One process in the ring. A restarted process is a new incarnation."""

    id: WireId
    incarnation: int
    peer: str  # HOST:PORT where other nodes link to it
    client: str  # HOST:PORT where clients reach it
    zone: str  # replicas prefer other zones; a host name where none is set
    state: MemberState

    def with_state(self, state: MemberState) -> Member:
        return msgspec.structs.replace(self, state=state)

    def renamed(self, node: NodeId) -> Member:
        return msgspec.structs.replace(self, id=node)


Changes: TypeAlias = tuple[frozenset[NodeId], frozenset[NodeId]]


class View(msgspec.Struct, frozen=True, array_like=True, dict=True):
    """View `number` of the ring `ring` (a random 16-byte id): members sorted by id."""

    number: int
    ring: bytes
    members: tuple[Member, ...]
    voters: tuple[WireId, ...] = ()  # the most senior first; the first live one leads
    former: bytes = b""  # the ring that an operator gave up for this one (`ring recover`)

    @cached_property
    def digest(self) -> bytes:
        """8 bytes that differ when anything in the view differs."""
        return blake2b(msgspec.msgpack.encode(self), digest_size=DIGEST_BYTES).digest()

    @cached_property
    def by_id(self) -> dict[NodeId, Member]:
        return {member.id: member for member in self.members}

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The ids of all members as numbers, ascending."""
        return tuple(to_int(member.id) for member in self.members)

    @cached_property
    def incarnations(self) -> dict[NodeId, int]:
        """The members' processes: which of them is the present one."""
        return {member.id: member.incarnation for member in self.members}

    @cached_property
    def active(self) -> tuple[Member, ...]:
        """The members that may be home to a slot, sorted by id."""
        return tuple(m for m in self.members if m.state is MemberState.ACTIVE)

    @cached_property
    def by_peer(self) -> dict[str, NodeId]:
        """The members by the addresses at which other nodes link to them."""
        return {member.peer: member.id for member in self.members}

    def since(self, old: View | None) -> Changes:
        """Members whose process `old` did not list, and those of it that are members no more.

        Kept for the one `old` that it was asked for last: in a large ring everyone
        who goes on from it needs that, and looking through all members takes a while.
        """
        before = old.digest if old is not None else b""
        known: tuple[bytes, Changes] | None = self.__dict__.get("_since")
        if known is not None and known[0] == before:
            return known[1]
        listed = old.by_id if old is not None else {}
        new = frozenset(
            node
            for node, member in self.by_id.items()
            if node not in listed or listed[node].incarnation != member.incarnation
        )
        changes = new, frozenset(listed.keys() - self.by_id.keys())
        self.__dict__["_since"] = before, changes
        return changes

    def get(self, node: NodeId) -> Member | None:
        return self.by_id.get(node)

    def __contains__(self, node: object) -> bool:
        return node in self.by_id

    def successor(
        self, members: dict[NodeId, Member], voters: tuple[NodeId, ...] | None = None
    ) -> View:
        """View number + 1 of the same ring with these members."""
        ordered = tuple(members[node] for node in sorted(members))
        chosen = self.voters if voters is None else voters
        return View(self.number + 1, self.ring, ordered, chosen, self.former)
