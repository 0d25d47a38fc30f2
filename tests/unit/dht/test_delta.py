from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.delta import apply, between, evicted, whole
from dht.errors import RemoteProtocolError
from dht.ids import to_id
from dht.view import MemberState, View
from ring_views import member, view_of

J, A, L = MemberState.JOINING, MemberState.ACTIVE, MemberState.LEAVING
states = st.dictionaries(st.integers(0, 40), st.sampled_from(MemberState), min_size=1, max_size=12)


def view(some: dict[int, MemberState], number: int = 4) -> View:
    ring = view_of((member(to_id(each), "", state) for each, state in some.items()), number)
    voters = tuple(m.id for m in ring.active[:3])
    return msgspec.structs.replace(ring, voters=voters)


@given(states, states)
def test_from_any_view_to_any_other(
    old: dict[int, MemberState], new: dict[int, MemberState]
) -> None:
    before, after = view(old), view(new, 5)
    delta = between(before, after)
    assert delta.follows(before)
    assert apply(before, delta) == after
    assert apply(before, delta).digest == after.digest
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(delta), type=type(delta))
    assert again == delta


@given(states, states)
def test_a_whole_view_follows_any_earlier_one(
    old: dict[int, MemberState], new: dict[int, MemberState]
) -> None:
    after = view(new, 9)
    assert apply(view(old), whole(after)) == after
    assert not whole(after).follows(after)
    assert not whole(after).follows(msgspec.structs.replace(view(old), ring=b"x" * 16))


def test_it_says_no_more_than_what_differs() -> None:
    before = view(dict.fromkeys(range(100), A))
    after = before.successor({n: m for n, m in before.by_id.items() if n != to_id(7)})
    delta = between(before, after)
    assert (delta.changed, delta.struck) == ((), (to_id(7),))


def test_it_applies_to_no_other_view() -> None:
    before, after = view({1: A, 2: A}), view({1: A}, 5)
    with pytest.raises(RemoteProtocolError):
        apply(view({1: A, 3: A}), between(before, after))
    with pytest.raises(RemoteProtocolError):
        apply(before, msgspec.structs.replace(between(before, after), struck=()))


def test_who_is_struck_off_without_its_own_doing() -> None:
    before = view({1: A, 2: A, 3: L, 4: J, 5: A})
    heir = msgspec.structs.replace(member(to_id(9), "", J), peer=member(to_id(5)).peer)
    after = before.successor({to_id(1): before.by_id[to_id(1)], heir.id: heir})
    assert list(evicted(before, between(before, after))) == [to_id(2)]
    assert set(evicted(before, whole(after))) == {to_id(1), to_id(2), to_id(5)}
