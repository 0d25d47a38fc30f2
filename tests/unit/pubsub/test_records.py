"""Session records in memory: what they keep, and how little."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from pubsub.messages import Cursor, Record
from pubsub.records import SessionRecord, Sharer

ADDRESS = "tag." + "a" * 20
CURSORS = st.builds(Cursor, st.integers(1, 5), st.integers(0, 50))
TOPICS = st.sampled_from(["/a", "/b", "/c", "/d"])
MANY = st.dictionaries(TOPICS, CURSORS).map(lambda d: tuple(d.items()))


def record(cursors: tuple[tuple[str, Cursor], ...] = ()) -> SessionRecord:
    made = SessionRecord(ADDRESS, b"edge", 3, Cursor(1, 7), b"extra")
    made.cursors = cursors
    return made


@settings(deadline=None)
@given(MANY)
def test_the_wire_form_is_the_whole_record(cursors: tuple[tuple[str, Cursor], ...]) -> None:
    wire = record(cursors).to_wire()
    assert wire == Record(ADDRESS, b"edge", 3, ((ADDRESS, Cursor(1, 7)), *cursors), b"extra")
    again = SessionRecord.from_wire(wire, Sharer())
    assert again.to_wire() == wire


@settings(deadline=None)
@given(MANY, MANY)
def test_cursors_only_move_forward(
    before: tuple[tuple[str, Cursor], ...], moves: tuple[tuple[str, Cursor], ...]
) -> None:
    made = record(before)
    made.advance(moves, Sharer())
    after, moved = dict(made.cursors), dict(moves)
    assert after.keys() == dict(before).keys()
    for topic, cursor in before:
        assert after[topic] == max(cursor, moved.get(topic, cursor))


@settings(deadline=None)
@given(MANY, MANY, st.lists(TOPICS))
def test_subscribing_twice_is_subscribing_once(
    before: tuple[tuple[str, Cursor], ...],
    added: tuple[tuple[str, Cursor], ...],
    dropped: list[str],
) -> None:
    made = record(before)
    made.subscribe(added, tuple(dropped), Sharer())
    once = dict(made.cursors)
    assert once.keys() == (dict(before).keys() - set(dropped)) | dict(added).keys()
    made.subscribe(added, (), Sharer())
    assert dict(made.cursors) == once


def test_the_inbox_is_no_subscription() -> None:
    made = record()
    made.subscribe(((ADDRESS, Cursor(1, 1)), ("/a", Cursor(1, 2))), (), Sharer())
    assert made.cursors == (("/a", Cursor(1, 2)),)


def test_equal_cursors_are_one_object() -> None:
    sharer = Sharer()
    one, two = record(), record()
    for made in (one, two):
        made.subscribe((("/a", Cursor(1, 2)),), (), sharer)
    assert one.cursors is two.cursors
    assert sharer.share(()) == ()


def test_the_sharer_forgets_before_it_grows() -> None:
    sharer = Sharer()
    for offset in range(20_000):
        sharer.share((("/a", Cursor(1, offset)),))
    assert len(sharer._known) <= 8_192


def test_a_record_is_small() -> None:
    inbox, sharer, count = Cursor(1, 0), Sharer(), 5_000
    addresses = [f"tag.{index:020d}" for index in range(count)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    records = [SessionRecord(address, b"edge", 1, inbox) for address in addresses]
    for made in records:
        made.subscribe((("/chat/room", Cursor(1, 5)),), (), sharer)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown / count < 110
