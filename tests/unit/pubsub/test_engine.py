"""The engine as its driver sees it."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from dht.effects import Send
from pubsub.assembly import Assembly
from pubsub.effects import Answer, Deliver
from pubsub.engine import PubSubEngine
from pubsub.limits import Limits
from pubsub.messages import Appended, Cursor, Leave, PubSubMessage, SessionDone
from pubsub.slot_messages import Replicate, Replicated
from pubsub_rig import Rig


def test_every_message_has_a_tag_of_its_own_and_a_handler() -> None:
    kinds = get_args(PubSubMessage)
    tags = [kind.__struct_config__.tag for kind in kinds]
    assert len(set(tags)) == len(kinds)
    assert all(32 <= tag <= 95 for tag in tags)
    parts = Assembly(b"x" * 20, Limits(), lambda _: True, lambda _: 0)
    handled = {*parts._handlers, *parts._for_channel} & {*parts._handlers, *parts._for_inbox}
    assert handled == set(kinds)
    # The whole union can be decoded by tag alone.
    decoder = msgspec.msgpack.Decoder(PubSubMessage)
    wire = msgspec.msgpack.encode(Leave("/a"))
    assert decoder.decode(wire) == Leave("/a")


def test_without_a_view_nothing_is_served_and_nothing_breaks() -> None:
    engine = PubSubEngine(b"x" * 20)
    assert engine.next_deadline() is None
    assert engine.handle_timer(5.0) == []
    assert engine.feed("/a") is None
    assert engine.record("t.x") is None
    assert not engine.serving(0)
    assert engine.drained()
    assert engine.link_opened(b"y" * 20, 5.0) == []
    assert engine.link_closed(b"y" * 20, 5.0) == []
    assert engine.leave("/a", 5.0) == []


def test_a_ring_of_one_is_home_to_everything() -> None:
    rig = Rig(1)
    (node,) = rig.nodes
    assert all(node.engine.serving(slot) for slot in range(4096))
    assert not node.engine.drained()
    assert node.engine.statistics().slots == {
        "home": 4096,
        "replica": 0,
        "opening": 0,
        "parting": 0,
    }


def test_effects_of_one_publish_are_in_one_call() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    other.join("/a")
    assert home.engine.append(42, "/a", b"{}", "m", 0.0, rig.now) == []
    replicate, again = home.engine.flush(rig.now)
    assert isinstance(replicate, Send)
    assert isinstance(again, Send)
    assert replicate.message is again.message  # encoded once
    message = replicate.message
    assert isinstance(message, Replicate)
    replicas = [rig.by_id[send.to] for send in (replicate, again)]
    for replica in replicas:
        assert replica.engine.receive(home.id, message, rig.now) == []
    (first,), (second,) = (replica.engine.flush(rig.now) for replica in replicas)
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    assert isinstance(first.message, Replicated)
    assert isinstance(second.message, Replicated)
    assert home.engine.receive(replicas[0].id, first.message, rig.now) == []
    effects = home.engine.receive(replicas[1].id, second.message, rig.now)
    assert [type(effect) for effect in effects] == [Answer, Send, Deliver]
    assert effects[0] == Answer(42, Appended(42, Cursor(1, 1), False, "/a"))


def test_it_sleeps_when_nothing_is_due() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    other.join("/a")
    other.append("/a", "m")
    address = rig.address(home)
    other.open(address)
    home.append(address, "d")
    other.consumed(address, 1, (address, Cursor(1, 1)))
    rig.tick(120.0)
    assert [node.engine.next_deadline() for node in rig.nodes] == [None] * 3


def test_statistics_count_what_is_there() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    other.join("/a")
    home.append("/a", "m", payload=bytes(100))
    address = rig.address(home)
    other.open(address)
    stats, there = home.engine.statistics(), other.engine.statistics()
    assert (stats.topics, stats.feeds, stats.tree_children, stats.tree_depth) == (1, 1, 1, 0)
    assert (stats.log_bytes, there.log_bytes) == (100, 200)  # there: a replica, and a feed
    assert (stats.records, stats.held, there.records, there.held) == (1, 0, 0, 1)
    assert there.tree_depth == 1
    assert stats.takeovers["fresh"] + stats.slots["home"] == 2 * stats.slots["home"]
    assert stats.pending == there.pending == stats.staged == stats.refused == 0


def test_an_unknown_message_is_our_own_fault() -> None:
    rig = Rig(1)
    with pytest.raises(KeyError):
        rig.nodes[0].engine.receive(b"x" * 20, Cursor(1, 1), 0.0)  # type: ignore[arg-type]


def test_without_a_lease_a_home_reads_on_and_acknowledges_nothing() -> None:
    rig = Rig(1)
    (node,) = rig.nodes
    lease = [True]
    engine = PubSubEngine(node.id, leased=lambda _: lease[0])
    placement = node.engine._parts.core.placement
    assert placement is not None
    engine.install_view(placement.view, placement, rig.now)
    (answer,) = engine.append(1, "/a", b"{}", "m1", 0.0, rig.now)
    assert isinstance(answer, Answer)
    assert isinstance(answer.result, Appended)
    lease[0] = False
    assert engine.append(2, "/a", b"{}", "m2", 0.0, rig.now) == []
    assert engine.append(3, "/new", b"{}", "m3", 0.0, rig.now) == []
    assert engine.open_session(4, "tag.abcdefghij0123456789", b"", rig.now) == []
    assert [each.request for each in engine.join(5, "/a", None, rig.now)] == [5]  # type: ignore[attr-defined]
    lease[0] = True
    due = engine.next_deadline()
    assert due is not None
    answers = engine.handle_timer(due)
    assert [type(each.result) for each in answers if isinstance(each, Answer)] == [
        Appended,
        Appended,
        SessionDone,
    ]
