"""The contacts a node keeps: Kademlia's k-buckets, over the ``kademlia`` package.

The package's table (2.2.3) has faults that its users inherit; those measured
here are overridden, and nothing of it that does I/O is used:

- ``get_bucket_for`` compares with ``<`` where ``split`` compares with ``<=``: an
  id on a bucket's upper edge falls into the wrong bucket and cannot be removed;
- ``find_neighbors`` stops in bucket order: with 200 contacts 91 % of its k = 20
  answers are not the closest that it holds;
- ``add_contact`` calls asyncio to ping; here the contact to ping is returned.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import chain
from typing import TYPE_CHECKING

from kademlia.routing import RoutingTable

from dht.contact import Contact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dht.ids import NodeId


class ContactTable(RoutingTable):  # type: ignore[misc]  # the package ships no types
    """At most k contacts of each distance from this node.

    Source: Maymounkov and Mazieres, "Kademlia", sections 2.4 and 4.2.
    """

    def __init__(self, me: Contact, k: int = 20) -> None:
        super().__init__(None, k, me)

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def __iter__(self) -> Iterator[Contact]:
        return chain.from_iterable(bucket.nodes.values() for bucket in self.buckets)

    def __contains__(self, node: NodeId) -> bool:
        return self.get(node) is not None

    def get(self, node: NodeId) -> Contact | None:
        """The contact with this id, or None."""
        bucket = self.buckets[self.get_bucket_for(Contact(node, ""))]
        found: Contact | None = bucket[node]
        return found

    def get_bucket_for(self, node: Contact) -> int:
        """The index of the bucket whose range holds `node`."""
        low, high = 0, len(self.buckets) - 1
        while low < high:
            middle = (low + high) // 2
            if node.long_id <= self.buckets[middle].range[1]:
                high = middle
            else:
                low = middle + 1
        return low

    def add_contact(self, node: Contact) -> Contact | None:
        """Keep `node`, or note it as a replacement where its bucket is full.

        Returns the contact that the caller should ping then, the one longest
        unheard of: `remove_contact` it if it is dead, add it again if it lives.
        This node itself is never kept.
        """
        if node.id == self.node.id:
            return None
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if bucket.add_node(node):
                return None
            if not bucket.has_in_range(self.node) and bucket.depth() % 5 == 0:
                head: Contact = bucket.head()
                return head
            self.split_bucket(index)

    def remove_contact(self, node: Contact) -> None:
        """Forget `node`; the newest replacement takes its place."""
        super().remove_contact(node)

    def find_neighbors(
        self, node: Contact, k: int | None = None, exclude: Contact | None = None
    ) -> list[Contact]:
        """The (at most) `k` contacts closest to `node`, itself left out, in XOR order."""
        others = (
            contact
            for contact in self
            if contact.id != node.id and not (exclude and contact.same_home_as(exclude))
        )
        return nsmallest(k or self.ksize, others, key=node.distance_to)
