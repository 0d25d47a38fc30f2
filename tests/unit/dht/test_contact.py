from __future__ import annotations

import msgspec
import pytest
from kademlia.node import Node, NodeHeap

from dht.contact import Contact
from dht.ids import to_id

NEAR = Contact(to_id(5), "h:1")
FAR = Contact(to_id(1 << 150), "h:2")


def test_it_answers_what_kademlia_asks_of_a_node() -> None:
    stock = Node(NEAR.id, "h", 1)
    assert NEAR.long_id == stock.long_id == 5
    assert NEAR.distance_to(FAR) == stock.distance_to(Node(FAR.id)) == (1 << 150) | 5
    assert NEAR.same_home_as(Contact(FAR.id, "h:1"))
    assert not NEAR.same_home_as(FAR)
    heap = NodeHeap(Contact(to_id(0), ""), 5)
    heap.push([FAR, NEAR, FAR])
    assert list(heap) == [NEAR, FAR]


def test_it_travels() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(NEAR), type=Contact) == NEAR


def test_an_id_of_another_length_does_not() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode([b"short", "h:1"]), type=Contact)
