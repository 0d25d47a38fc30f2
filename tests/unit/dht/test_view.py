from __future__ import annotations

import msgspec
import pytest

from dht.ids import to_id
from dht.view import DIGEST_BYTES, Member, MemberState, View
from ring_views import member, view_of

ONE, TWO, THREE = (member(to_id(number)) for number in (1, 2, 3))
LEAVING = TWO.with_state(MemberState.LEAVING)


def test_members_by_id_and_by_state() -> None:
    view = view_of([THREE, ONE, LEAVING])
    assert [each.id for each in view.members] == [ONE.id, TWO.id, THREE.id]
    assert view.active == (ONE, THREE)
    assert view.get(TWO.id) == LEAVING
    assert view.get(to_id(9)) is None
    assert ONE.id in view
    assert to_id(9) not in view


def test_a_successor_is_the_next_number_of_the_same_ring() -> None:
    view = view_of([ONE, TWO])
    after = view.successor({THREE.id: THREE, ONE.id: ONE}, (ONE.id,))
    assert (after.number, after.ring, after.voters) == (2, view.ring, (ONE.id,))
    assert after.members == (ONE, THREE)
    assert after.successor({ONE.id: ONE}).voters == (ONE.id,)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"ring": b"x" * 16},
        {"members": (ONE,)},
        {"members": (ONE, LEAVING)},
        {"members": (ONE, msgspec.structs.replace(TWO, incarnation=2))},
        {"voters": (ONE.id,)},
    ],
)
def test_a_digest_differs_when_anything_does(change: dict[str, object]) -> None:
    view = view_of([ONE, TWO])
    assert len(view.digest) == DIGEST_BYTES
    assert msgspec.structs.replace(view, **change).digest != view.digest
    assert view_of([TWO, ONE]).digest == view.digest


def test_views_travel_whole() -> None:
    view = view_of([ONE, LEAVING])
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(view), type=View)
    assert again == view
    assert again.digest == view.digest


def test_a_member_with_a_short_id_does_not_travel() -> None:
    data = msgspec.msgpack.encode(msgspec.structs.replace(ONE, id=b"short"))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=Member)


def test_a_member_may_be_renamed() -> None:
    assert ONE.renamed(TWO.id).id == TWO.id
    assert ONE.renamed(TWO.id).peer == ONE.peer


def test_what_has_changed_since_another_view() -> None:
    a, b, c = (member(to_id(number)) for number in (1, 2, 3))
    old = view_of([a, b])
    new = view_of([msgspec.structs.replace(a, incarnation=9), c.with_state(MemberState.JOINING)], 2)
    assert new.since(old) == (frozenset({a.id, c.id}), frozenset({b.id}))
    assert new.since(old) is new.since(old)
    assert new.since(None) == (frozenset({a.id, c.id}), frozenset())
    moved = old.successor({a.id: a.with_state(MemberState.LEAVING), b.id: b})
    assert moved.since(old) == (frozenset(), frozenset())
