"""Placement is checked against brute force over the members."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.errors import LocalProtocolError, NoMembers
from dht.ids import SLOTS, distance, random_id, slot_midpoint, slot_of, to_id, to_int
from dht.placement import Placement, by_distance, closest
from dht.view import MemberState
from ring_views import member, random_view, view_of

keys = st.integers(0, 2**160 - 1)
# Ids that crowd together as well as ids that spread.
id_sets = st.sets(
    st.one_of(keys, st.integers(0, 15), st.integers(2**160 - 9, 2**160 - 1)), min_size=1
)


@given(id_sets, keys)
def test_closest_is_the_nearest_of_all(ids: set[int], key: int) -> None:
    ordered = sorted(ids)
    assert ordered[closest(ordered, key)] == min(ids, key=key.__xor__)


@given(id_sets, keys)
def test_by_distance_is_the_whole_order(ids: set[int], key: int) -> None:
    ordered = sorted(ids)
    assert [ordered[i] for i in by_distance(ordered, key)] == sorted(ids, key=key.__xor__)


def test_by_distance_of_nothing() -> None:
    assert list(by_distance([], 5)) == []


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_home_and_slots_against_brute_force(count: int) -> None:
    view = random_view(Random(count), count)
    placement = Placement(view)
    ids = [to_int(each.id) for each in view.members]
    for slot in range(0, SLOTS, 7):
        nearest = to_id(min(ids, key=slot_midpoint(slot).__xor__))
        assert placement.home(slot) == nearest
        assert slot in placement.slots_of(nearest)
    assert sum(len(placement.slots_of(m.id)) for m in view.members) == SLOTS
    assert sum(placement.share(m.id) for m in view.members) == pytest.approx(1.0)


def test_only_active_members_are_homes() -> None:
    rng = Random(1)
    states = [MemberState.JOINING, MemberState.ACTIVE, MemberState.LEAVING] * 5
    view = view_of(member(random_id(rng), state=state) for state in states)
    placement = Placement(view)
    homes = {placement.home(slot) for slot in range(SLOTS)}
    assert homes <= {m.id for m in view.active}
    for each in view.members:
        assert bool(placement.slots_of(each.id)) == (each.id in homes)


def test_a_view_without_active_members_has_no_home() -> None:
    placement = Placement(view_of([member(b"\1" * 20, state=MemberState.JOINING)]))
    with pytest.raises(NoMembers):
        placement.home(0)
    with pytest.raises(NoMembers):
        placement.replicas(0)
    assert placement.slots_of(b"\1" * 20) == ()
    assert placement.share(b"\1" * 20) == 0.0


def test_home_of_a_name_is_the_home_of_its_slot() -> None:
    placement = Placement(random_view(Random(3), 9))
    for name in ("/chat/room", "tag.secret", "tag"):
        assert placement.home_of(name) == placement.home(slot_of(name))
    assert placement.home_of("tag.one") == placement.home_of("tag.two")


@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, SLOTS - 1),
    st.integers(0, 99),
)
def test_replicas_spread_over_zones(
    count: int, zones: int, copies: int, slot: int, seed: int
) -> None:
    view = random_view(Random(seed), count, zones)
    replicas = Placement(view).replicas(slot, copies)
    key = to_id(slot_midpoint(slot))
    left = sorted(view.members, key=lambda each: distance(each.id, key))
    expected = [left.pop(0)]
    while left and len(expected) < copies:
        seen = {each.zone for each in expected}
        chosen = next((each for each in left if each.zone not in seen), left[0])
        left.remove(chosen)
        expected.append(chosen)
    assert replicas == tuple(each.id for each in expected)


def test_replicas_find_the_one_member_of_another_zone() -> None:
    rng = Random(5)
    crowd = [member(random_id(rng), "a") for _ in range(500)]
    lone = member(random_id(rng), "b")
    placement = Placement(view_of([*crowd, lone]))
    for slot in range(0, SLOTS, 64):
        replicas = placement.replicas(slot)
        assert len(set(replicas)) == 3
        assert lone.id in replicas[:2]


@pytest.mark.parametrize("count", [2, 3, 10, 100, 1000])
def test_every_parent_is_nearer_the_root(count: int) -> None:
    rng = Random(count)
    view = random_view(rng, count)
    placement = Placement(view, flat_limit=0)
    root = rng.choice(view.members).id
    for each in view.members:
        node, hops = each.id, 0
        while node != root:
            parent = placement.parent(node, root)
            assert distance(parent, root).bit_length() < distance(node, root).bit_length()
            node, hops = parent, hops + 1
        assert hops <= 20


@given(id_sets, st.data())
def test_trees_have_no_loops_however_ids_crowd(ids: set[int], data: st.DataObject) -> None:
    view = view_of(member(to_id(each)) for each in ids)
    placement = Placement(view, flat_limit=0)
    root = to_id(data.draw(st.sampled_from(sorted(ids))))
    node = to_id(data.draw(keys))  # a node that is no member finds its way too
    while node != root:
        parent = placement.parent(node, root)
        assert distance(parent, root) < distance(node, root)
        assert parent in view
        node = parent


def test_a_small_ring_is_flat() -> None:
    view = random_view(Random(8), 32)
    root = view.members[4].id
    placement = Placement(view)
    assert all(placement.parent(m.id, root) == root for m in view.members if m.id != root)


def test_the_root_has_no_parent() -> None:
    placement = Placement(random_view(Random(9), 3))
    root = placement.home(0)
    with pytest.raises(LocalProtocolError):
        placement.parent(root, root)


def test_a_root_outside_the_view_is_refused_rather_than_looped() -> None:
    lonely = member(to_id(1 << 159))
    placement = Placement(view_of([lonely]), flat_limit=0)
    with pytest.raises(LocalProtocolError):
        placement.parent(lonely.id, to_id(to_int(lonely.id) ^ (1 << 158)))
