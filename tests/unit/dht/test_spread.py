"""Spreading over buckets: everyone is told, by few hops, whoever has just died or joined."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from dht.dealing import deal_ids
from dht.ids import ID_BITS, to_id
from dht.spread import contacts
from ring_views import member, random_view, view_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from dht.ids import NodeId
    from dht.view import View


def dealt(count: int, seed: int = 1) -> View:
    return view_of(member(node) for node in deal_ids((), count, Random(seed)))


def spread(
    view: View, before: View, start: NodeId, silent: Collection[NodeId] = ()
) -> tuple[dict[NodeId, int], list[int]]:
    """Who has been told, after how many hops, and how many each told has told."""
    reached, fans = {start: 0}, list[int]()
    passed = {start: ID_BITS}
    pending = deque([(start, 0)])
    while pending:
        node, depth = pending.popleft()
        if node in silent or depth >= passed[node]:
            continue
        until, passed[node] = passed[node], depth
        told = list(contacts(view, before, node, depth, until))
        fans.append(len(told))
        for other, shared in told:
            assert other != node
            reached.setdefault(other, reached[node] + 1)
            passed.setdefault(other, ID_BITS)
            pending.append((other, shared))
    return reached, fans


@pytest.mark.parametrize(("count", "hops"), [(1, 0), (2, 1), (9, 2), (100, 4), (3000, 6)])
def test_everyone_is_told_within_few_hops_by_few_messages(count: int, hops: int) -> None:
    view = dealt(count)
    reached, fans = spread(view, view, view.members[count // 2].id)
    assert set(reached) == set(view.by_id)
    assert max(reached.values()) <= hops
    assert max(fans) <= 14 * hops
    assert sum(fans) <= 2 * count


def test_ids_as_they_come_will_do_too() -> None:
    view = random_view(Random(3), 500)
    reached, _ = spread(view, view, view.members[0].id)
    assert set(reached) == set(view.by_id)
    near = view_of(member(to_id(1 << 150 | low)) for low in range(20))  # they share 150 bits
    reached, _ = spread(near, near, near.members[7].id)
    assert set(reached) == set(near.by_id)


def test_one_that_has_died_a_moment_ago_takes_no_large_range_with_it() -> None:
    view = dealt(1000)
    start = view.members[0].id
    for seed in range(20):
        silent = {Random(seed).choice(view.members).id} - {start}
        reached, _ = spread(view, view, start, silent)
        assert len(view.members) - len(reached) < 16


def test_new_members_are_not_relied_on() -> None:
    """They have not got the view before, and are told all of this one by who let them in."""
    before = dealt(64)
    new = [member(node) for node in deal_ids(before.by_id, 64, Random(5))]
    again = msgspec.structs.replace(before.members[5], incarnation=9)
    rest = [each for each in before.members if each.id != again.id]
    view = view_of([*rest, *new, again], number=2)
    reached, _ = spread(view, before, before.members[0].id)
    assert set(reached) == {each.id for each in rest}


def test_who_has_told_a_part_tells_the_rest() -> None:
    view = dealt(300)
    me = view.members[100].id
    inner = {node for node, _ in contacts(view, view, me, 3, ID_BITS)}
    outer = dict(contacts(view, view, me, 0, 3))
    assert set(outer.values()) == {3}
    assert not inner & set(outer)
    assert list(contacts(view, view, me, 3, 3)) == []
