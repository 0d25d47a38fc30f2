from __future__ import annotations

from hashlib import sha1
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.ids import (
    SLOTS,
    digest,
    distance,
    random_id,
    slot_midpoint,
    slot_of,
    slot_of_key,
    tag_of,
    to_id,
    to_int,
)

keys = st.binary(min_size=20, max_size=20)


def test_a_digest_is_sha1() -> None:
    assert digest("/chat/räum") == sha1("/chat/räum".encode(), usedforsecurity=False).digest()


@given(keys)
def test_keys_are_numbers(key: bytes) -> None:
    assert to_id(to_int(key)) == key
    assert slot_of_key(key) == to_int(key) >> 148
    assert 0 <= slot_of_key(key) < SLOTS


@given(keys, keys, keys)
def test_distance_is_a_metric(one: bytes, two: bytes, three: bytes) -> None:
    assert distance(one, two) == distance(two, one)
    assert (distance(one, two) == 0) is (one == two)
    assert distance(one, three) <= distance(one, two) + distance(two, three)


@pytest.mark.parametrize("slot", [0, 1, 2048, SLOTS - 1])
def test_a_midpoint_lies_in_its_slot(slot: int) -> None:
    assert slot_of_key(to_id(slot_midpoint(slot))) == slot


@pytest.mark.parametrize(
    ("name", "tag"),
    [("/chat/room.one", "/chat/room.one"), ("tag.secret", "tag"), ("tag.a.b", "tag"), ("t", "t")],
)
def test_a_tag_decides_the_slot(name: str, tag: str) -> None:
    assert tag_of(name) == tag
    assert slot_of(name) == slot_of_key(digest(tag))


def test_random_ids_come_from_the_given_chance() -> None:
    assert random_id(Random(1)) == random_id(Random(1)) != random_id(Random(2))
