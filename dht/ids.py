"""Identifiers of the ring: 160-bit keys, XOR distance, and the 4,096 slots.

Everything here is a pure function. Keys are ``bytes`` of length 20 in network
order; arithmetic is done on the integers that they stand for.

Source: Maymounkov and Mazieres, "Kademlia", section 2 (ids, XOR metric); the
tag of a name follows Redis Cluster's hash tags.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec
from kademlia.utils import digest as _sha1

if TYPE_CHECKING:
    from random import Random

NodeId: TypeAlias = bytes

ID_BITS = 160
ID_BYTES = ID_BITS // 8
# An id in a message: the decoder refuses any other length.
WireId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
SLOT_BITS = 12
SLOTS = 1 << SLOT_BITS
_SLOT_SHIFT = ID_BITS - SLOT_BITS


def digest(text: str) -> bytes:
    """The 20-byte key of `text` (SHA-1 of its UTF-8 form)."""
    key: bytes = _sha1(text.encode())
    return key


def to_int(key: bytes) -> int:
    """The integer in [0, 2**160) that `key` stands for."""
    return int.from_bytes(key, "big")


def to_id(number: int) -> NodeId:
    """The 20-byte key for an integer in [0, 2**160)."""
    return number.to_bytes(ID_BYTES, "big")


def distance(left: bytes, right: bytes) -> int:
    """XOR distance of two keys."""
    return to_int(left) ^ to_int(right)


def tag_of(name: str) -> str:
    """The part of a topic or session name that decides its slot.

    A channel (it starts with ``/``) is its own tag. A session id or address
    ``<tag>.<rest>`` has its tag before the first dot; a name without a dot is
    its own tag.
    """
    if name.startswith("/"):
        return name
    return name.partition(".")[0]


@lru_cache(maxsize=16_384)
def _slot_of_tag(tag: str) -> int:
    return slot_of_key(digest(tag))


def slot_of(name: str) -> int:
    """The slot, in [0, 4096), of a channel, session id or session address."""
    return _slot_of_tag(tag_of(name))


def slot_of_key(key: bytes) -> int:
    """The slot of a 20-byte key: its top 12 bits."""
    return (key[0] << 4) | (key[1] >> 4)


def slot_midpoint(slot: int) -> int:
    """The integer in the middle of a slot's range; homes are closest to it."""
    return (slot << _SLOT_SHIFT) | (1 << (_SLOT_SHIFT - 1))


def random_id(rng: Random) -> NodeId:
    """A uniformly drawn id (tests, and a node's first id before one is dealt)."""
    return to_id(rng.getrandbits(ID_BITS))
