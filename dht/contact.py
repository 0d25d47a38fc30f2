"""A contact: how to reach a node, as Kademlia knows it.

The structures of the ``kademlia`` package (buckets, table, heap) ask three
things of a node: ``id``, ``long_id`` and ``distance_to``. A contact answers
them, but is immutable and can travel in a message; ``kademlia.node.Node`` is
neither.
"""

from __future__ import annotations

import msgspec

from dht.ids import WireId, to_int


class Contact(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """A node's id and the HOST:PORT at which other nodes link to it."""

    id: WireId
    peer: str

    @property
    def long_id(self) -> int:
        """The id as an integer."""
        return to_int(self.id)

    def distance_to(self, other: Contact) -> int:
        """XOR distance."""
        return self.long_id ^ other.long_id

    def same_home_as(self, other: Contact) -> bool:
        """Whether both are reached at one address (`kademlia` asks this of what it excludes)."""
        return self.peer == other.peer
