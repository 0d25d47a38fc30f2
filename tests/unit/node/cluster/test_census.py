from __future__ import annotations

from msgspec.structs import replace

from dht.view import Member, MemberState, View
from node.cluster.census import gone

A, B, C = (
    Member(bytes([i]) * 20, 1, f"10.0.0.{i}:7400", f"10.0.0.{i}:8080", "zone", MemberState.ACTIVE)
    for i in (1, 2, 3)
)
RING = b"r" * 16


def view(number: int, *members: Member, ring: bytes = RING) -> View:
    return View(number, ring, members)


def test_who_stays_or_comes_is_not_gone() -> None:
    assert list(gone(None, view(1, A))) == []
    assert list(gone(view(1, A, B), view(2, A, B, C))) == []


def test_a_leaver_has_left_and_whoever_vanishes_has_died() -> None:
    leaving = replace(B, state=MemberState.LEAVING)
    assert list(gone(view(1, A, leaving, C), view(2, A))) == ["left", "died"]


def test_another_life_is_a_restart() -> None:
    assert list(gone(view(1, A, B), view(2, A, replace(B, incarnation=2)))) == ["restarted"]


def test_the_members_of_another_ring_are_none_of_ours() -> None:
    assert list(gone(view(9, A, B), view(1, A, ring=b"s" * 16))) == []
