"""A slot's state goes over in parts and arrives as it was."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.ids import slot_of
from pubsub.core import Core
from pubsub.dedupe import Window
from pubsub.limits import Limits
from pubsub.messages import Cursor, Entry
from pubsub.records import SessionRecord
from pubsub.slot import Slot, Topic
from pubsub.slot_messages import Pulled, SlotState
from pubsub.transfer import Unpacker, pack

NUMBER = slot_of("/a")


def make_core() -> Core:
    return Core(b"me", Limits(), lambda _: True)


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    slot = Slot(NUMBER, 5, 3, (), draw(st.integers(0, 4)))
    slot.seq = draw(st.integers(0, 1 << 40))
    core = make_core()
    names = draw(st.lists(st.sampled_from(["/a", "/b", "/c", "t.x", "t.y"]), unique=True))
    for name in names:
        first = draw(st.integers(1, 9))
        log = core.new_log(first - 1)
        for offset in range(first, first + draw(st.integers(0, 12))):
            payload = bytes(draw(st.integers(0, 200)))
            log.append(Entry(5, offset, f"{name}{offset}", payload, 1.5, 1))
        topic = Topic(name, slot, log, Cursor(5, log.last))
        topic.copies = draw(st.sampled_from([0, 0, 2]))
        topic.begun = draw(st.sampled_from([0, 4]))
        if draw(st.booleans()):
            topic.marks = {"/**": Cursor(5, first)}
        slot.put_topic(topic)
    for index in range(draw(st.integers(0, 6))):
        record = SessionRecord(f"t.{index}", b"edge", index + 1, Cursor(5, index), b"extra")
        record.cursors = (("/a", Cursor(5, index)), ("/b", Cursor(4, 0)))[: index % 3]
        slot.put_record(record)
    if draw(st.booleans()):
        slot.client_ids = Window(0.0)
        for index in range(draw(st.integers(1, 30))):
            slot.client_ids.put(
                (draw(st.sampled_from(["/a", "t.z"])), f"c{index}"), Cursor(5, index)
            )
    if draw(st.booleans()):
        slot.recent_ids = Window(0.0)
        for index in range(draw(st.integers(1, 30))):
            slot.recent_ids.put(f"r{index}", Cursor(5, index))
    return slot


@settings(deadline=None)
@given(slots(), st.integers(100, 3_000), st.booleans())
def test_what_is_unpacked_is_what_was_packed(slot: Slot, limit: int, interrupted: bool) -> None:
    parts = list(pack(slot, limit))
    states = [state for state, _ in parts]
    assert [state.part for state in states] == list(range(len(states)))
    assert [state.final for state in states] == [False] * (len(states) - 1) + [True]
    # Every part but one with a single large item is about as small as it was asked to be.
    for state, size in parts:
        items = len(state.records) + len(state.recent)
        items += sum(max(1, len(t.entries)) for t in state.topics)
        assert size <= limit or items <= 2
        wire = len(msgspec.msgpack.encode(Pulled(1, (state,), (), True)))
        assert wire <= 2 * size + 100
    core = make_core()
    unpacker = Unpacker(core, NUMBER)
    if interrupted:  # the link broke, and everything comes again
        for state in states[:-1]:
            assert unpacker.take(state)
    for state in states:
        assert unpacker.take(msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=SlotState))
    got = unpacker.slot
    assert (got.number, got.seq, got.lineage, got.floor) == (NUMBER, slot.seq, 3, slot.floor)
    assert {a: r.to_wire() for a, r in (got.records or {}).items()} == {
        a: r.to_wire() for a, r in (slot.records or {}).items()
    }
    # A topic without entries leaves nothing behind that anybody needs, unless it says so.
    sent = {n: t for n, t in (slot.topics or {}).items() if len(t.log) or t.copies}
    topics = got.topics or {}
    assert topics.keys() == sent.keys()
    for name, topic in topics.items():
        log = sent[name].log
        assert topic.log.after(0, 1_000) == log.after(0, 1_000)
        assert (topic.last, topic.assigned) == (sent[name].last, sent[name].assigned)
        assert (topic.copies, topic.begun, topic.marks) == (
            sent[name].copies,
            sent[name].begun,
            sent[name].marks,
        )
        assert topic.slot is got
        assert topic.record is got.record(name)
    assert dict(unpacker.seen) == dict(slot.client_ids.items() if slot.client_ids else ())
    assert unpacker.recent == list(slot.recent_ids.items() if slot.recent_ids else ())
    assert core.budget.used == sum(topic.log.size_bytes for topic in sent.values())
    unpacker.clear()
    assert core.budget.used == 0


def test_a_part_out_of_order_is_not_taken() -> None:
    unpacker = Unpacker(make_core(), NUMBER)
    parts = [SlotState(NUMBER, 5, 5, 0, (), (), (), part, part == 2) for part in range(3)]
    assert not unpacker.take(parts[1])
    assert unpacker.take(parts[0])
    assert not unpacker.take(parts[2])
    assert unpacker.take(parts[1])
    assert unpacker.take(parts[2])


def test_thousands_of_ids_go_in_runs() -> None:
    slot = Slot(NUMBER, 5, 5)
    slot.client_ids = Window(0.0)
    for index in range(5_000):
        slot.client_ids.put(("/a", f"c{index}"), Cursor(5, index))
    states = [state for state, _ in pack(slot, 100_000)]
    assert len(states) > 2
    assert sum(len(t.seen) for state in states for t in state.topics) == 5_000
    assert [t.seen[0][0] for state in states for t in state.topics][:2] == ["c0", "c1000"]
