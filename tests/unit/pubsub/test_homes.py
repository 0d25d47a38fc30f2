"""A home's appends: positions, repeats, bounds."""

from __future__ import annotations

import pytest

from dht.ids import slot_of
from pubsub.effects import Deliver
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import Append, Appended, Cursor, Entries, Failed
from pubsub_rig import Node, Rig


def home_and_other(rig: Rig, topic: str) -> tuple[Node, Node]:
    return rig.home(topic), rig.others(topic)[0]


def test_offsets_start_at_one_in_the_epoch_of_the_view() -> None:
    rig = Rig()
    home = rig.home("/a")
    for offset in (1, 2, 3):
        result = home.append("/a", f"m{offset}")
        assert result == Appended(offset, Cursor(1, offset), False, "/a")


def test_a_local_append_without_replicas_is_answered_in_the_effects_of_the_call() -> None:
    rig = Rig(1)
    home = rig.home("/a")
    home.join("/a")
    for topic in ("/a", "/a"):
        effects = home.engine.append(7, topic, b"{}", "m", 0.0, rig.now)
        assert {type(effect).__name__ for effect in effects} == {"Answer", "Deliver"}


def test_a_publisher_elsewhere_is_answered_over_the_link() -> None:
    rig = Rig()
    home, other = home_and_other(rig, "/a")
    home.join("/a")
    assert other.append("/a", "m1").cursor == Cursor(1, 1)
    assert home.append("/a", "m2").cursor == Cursor(1, 2)
    feed = home.engine.feed("/a")
    assert feed is not None
    # How many links each crossed to its home is part of the entry.
    assert [(e.message_id, e.hops, e.at) for e in feed.log.after(0, 9)] == [
        ("m1", 1, 1.5),
        ("m2", 0, 1.5),
    ]
    assert [d.depth for d in home.took(Deliver)] == [0, 0]


@pytest.mark.parametrize("client_id", [False, True])
def test_a_repeat_is_answered_with_the_first_position(client_id: bool) -> None:
    rig = Rig()
    home, other = home_and_other(rig, "/a")
    home.join("/a")
    first = other.append("/a", "m1", client_id=client_id)
    home.append("/a", "between")
    message = Append(99, "/a", "m1", b"{}", 0.0, 1, client_id)
    home.do(home.engine.receive(other.id, message, rig.now))
    assert rig.sent.pop()[2] == Appended(99, first.cursor, False, "/a")
    assert len(home.took(Deliver)) == 2


def test_an_applications_id_is_its_own_in_each_topic() -> None:
    rig = Rig(1)
    (home,) = rig.nodes
    one, two = rig.topics(home, 2)
    assert home.append(one, "same", client_id=True).cursor == Cursor(1, 1)
    assert home.append(two, "same", client_id=True).cursor == Cursor(1, 1)
    assert home.append(one, "same", client_id=True).cursor == Cursor(1, 1)
    assert home.append(one, "new", client_id=True).cursor == Cursor(1, 2)


def test_ids_are_remembered_for_two_minutes_and_not_forever() -> None:
    rig = Rig(1)
    (home,) = rig.nodes
    home.append("/a", "m", client_id=True)
    rig.tick(119.0)
    assert home.append("/a", "m", client_id=True).cursor == Cursor(1, 1)
    rig.tick(260.0)
    assert home.append("/a", "m", client_id=True).cursor == Cursor(1, 2)
    rig.tick(300.0)
    assert home.engine.next_deadline() is None  # nothing is left to forget


def test_minted_ids_are_remembered_as_long_as_retries_last() -> None:
    rig = Rig()
    home, other = home_and_other(rig, "/a")

    def repeat() -> Cursor:
        (appended,) = home.says(other.id, Append(5, "/a", "m", b"{}", 0.0, 1))
        cursor: Cursor = appended.cursor
        return cursor

    assert repeat() == Cursor(1, 1)
    rig.tick(rig.limits.request_seconds)
    assert repeat() == Cursor(1, 1)
    rig.tick(60.0)
    assert repeat() == Cursor(1, 2)


def test_the_number_of_remembered_ids_is_bounded() -> None:
    rig = Rig(1, limits=Limits(client_ids=10, remembered=15))
    (home,) = rig.nodes
    one, two = rig.topics(home, 2)
    for index in range(100):
        home.append(one, f"m{index}", client_id=True)
    window = rig.nodes[0].engine._parts.core.slots[slot_of(one)].client_ids
    assert window is not None
    assert 10 <= len(window) <= 20
    assert home.append(one, "m99", client_id=True).cursor == Cursor(1, 100)
    for index in range(100):  # the node's own bound is met: a small window must do
        home.append(two, f"m{index}", client_id=True)
    assert home.engine._parts.homes.ids._remembered <= 25


def test_inboxes_are_for_known_sessions_only() -> None:
    rig = Rig()
    home, other = home_and_other(rig, rig.address(rig.nodes[0]))
    address = rig.address(home)
    for node in (home, other):
        result = node.append(address, "m")
        assert isinstance(result, Failed)
        assert result.code == Code.UNKNOWN_SESSION
        assert node.append("neither", "m").code == Code.UNKNOWN_SESSION


def test_when_topics_are_too_many_one_that_nobody_reads_is_forgotten() -> None:
    rig = Rig(1, limits=Limits(topics=3))
    (home,) = rig.nodes
    read, *rest = rig.topics(home, 5)
    home.join(read)
    for topic in rest:
        assert isinstance(home.append(topic, "m1"), Appended)
    assert home.engine.statistics().topics == 3
    assert home.engine.feed(read) is not None
    # No position of the forgotten topic is ever used again.
    assert home.append(rest[0], "m2").cursor == Cursor(1, 2)


def test_topics_that_are_read_are_not_forgotten_for_others() -> None:
    rig = Rig(1, limits=Limits(topics=2))
    (home,) = rig.nodes
    one, two, three = rig.topics(home, 3)
    home.join(one)
    home.join(two)
    assert home.append(three, "m").code == Code.OVERLOADED
    assert home.join(three).code == Code.OVERLOADED
    assert home.engine.statistics().refused == 1
    home.leave(two)
    assert isinstance(home.append(three, "m"), Appended)


def test_logs_shrink_and_then_appends_are_refused_when_memory_is_short() -> None:
    limits = Limits(total_log_bytes=10_000, log_bytes=4_096, log_entries=64)
    rig = Rig(1, limits=limits)
    (home,) = rig.nodes
    results = [
        home.append(topic, f"{topic}{index}", payload=bytes(100))
        for topic in rig.topics(home, 200)
        for index in range(20)
    ]
    codes = {result.code for result in results if isinstance(result, Failed)}
    assert codes == {Code.OVERLOADED}
    assert isinstance(results[0], Appended)
    stats = home.engine.statistics()
    assert 5_000 < stats.log_bytes <= 10_000 + 100
    assert stats.refused == sum(isinstance(result, Failed) for result in results)


def test_entries_are_bytes_shared_by_all_children() -> None:
    rig = Rig(4)
    home = rig.home("/a")
    for node in rig.others("/a"):
        node.join("/a")
    rig.log.clear()
    home.append("/a", "m")
    sent = rig.messages(Entries)
    assert len(sent) == 3
    assert len({id(message) for message in sent}) == 1
