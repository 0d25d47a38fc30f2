"""Patterns step by step: who is told, who waits, what is forwarded, what is dropped."""

from __future__ import annotations

from typing import Any

import pytest

from dht.view import MemberState
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import (
    Appended,
    Cursor,
    Failed,
    Forward,
    Forwarded,
    Joined,
    PatternAll,
    PatternAsk,
    PatternHeld,
    PatternNews,
    PatternOpen,
)
from pubsub.patterns_news import PatternNewsDesk
from pubsub_rig import Node, Rig

DEEP = "/a/**"


def ids(node: Node, pattern: str) -> list[str]:
    feed = node.engine.feed(pattern)
    assert feed is not None
    return [entry.message_id for entry in feed.log.after(0, 10_000)]


def sources(node: Node, pattern: str) -> list[tuple[str, int]]:
    feed = node.engine.feed(pattern)
    assert feed is not None
    entries = feed.log.after(0, 10_000)
    return [(e.source.topic, e.source.offset) for e in entries if e.source is not None]


def pending(node: Node, pattern: str) -> int:
    """Ask to read; returns the number of answers so far."""
    node.do(node.engine.join(node.next_request(), pattern, None, node.rig.now))
    node.rig.carry()
    return len(node.results())


@pytest.mark.parametrize("pattern", ["/a/*", "/a/**", "/**"])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_reader_of_a_pattern_gets_what_it_covers(pattern: str, count: int) -> None:
    rig = Rig(count)
    reader = rig.nodes[-1]
    assert isinstance(reader.join(pattern), Joined)
    for number, channel in enumerate(["/a/b", "/a/c", "/b", "/a/b"]):
        assert isinstance(rig.nodes[0].append(channel, f"m{number}"), Appended)
    expected = ["m0", "m1", "m3"] if pattern != "/**" else ["m0", "m1", "m2", "m3"]
    assert sorted(ids(reader, pattern)) == sorted(expected)
    assert ("/a/b", 2) in sources(reader, pattern)
    rig.tick(1.0)
    assert sum(n.engine.statistics().forward_lag for n in rig.nodes) == 0
    forwarded = sum(n.engine.statistics().forwarded for n in rig.nodes)
    assert forwarded == len(expected)


def test_two_levels_and_one() -> None:
    rig = Rig(3)
    for pattern in ("/a/*", "/a/**"):
        rig.nodes[1].join(pattern)
    rig.nodes[0].append("/a/b/c", "deep")
    rig.nodes[0].append("/a/b", "flat")
    assert ids(rig.nodes[1], "/a/*") == ["flat"]
    assert sorted(ids(rig.nodes[1], "/a/**")) == ["deep", "flat"]


def test_a_reader_is_answered_once_every_member_knows() -> None:
    rig = Rig(4)
    reader = rig.others(DEEP)[0]
    last: list[Any] = []

    def keep_one(message: Any) -> bool:
        if isinstance(message, PatternHeld) and not last:
            last.append(message)
            return True
        return False

    rig.hold = keep_one
    assert pending(reader, DEEP) == 0
    assert all(node.engine.statistics().patterns == 1 for node in rig.nodes)
    rig.let_go()
    (joined,) = reader.results()
    assert isinstance(joined, Joined)


def test_news_that_is_lost_is_told_again() -> None:
    rig = Rig(3)
    reader = rig.others(DEEP)[0]
    rig.hold = lambda message: isinstance(message, PatternNews)
    assert pending(reader, DEEP) == 0
    rig.held.clear()
    rig.hold = lambda message: False
    rig.tick(1.0)
    assert isinstance(reader.results()[0], Joined)


def test_a_dead_member_is_not_waited_for_once_the_view_drops_it() -> None:
    rig = Rig(4)
    dead = rig.others(DEEP)[0]
    reader = rig.others(DEEP)[1]
    rig.kill(dead)
    assert pending(reader, DEEP) == 0
    rig.change()
    rig.tick(1.0)
    assert isinstance(reader.results()[0], Joined)


def test_there_may_not_be_too_many() -> None:
    rig = Rig(3, limits=Limits(patterns=3))
    node = rig.nodes[0]
    for number in range(3):
        assert isinstance(node.join(f"/p{number}/*"), Joined)
    refused = node.join("/p3/*")
    assert isinstance(refused, Failed)
    assert refused.code == Code.TOO_MANY
    assert isinstance(rig.nodes[1].join("/p1/*"), Joined), "one that is active may be read"


def test_a_pattern_without_readers_ends_everywhere() -> None:
    rig = Rig(3, limits=Limits(pattern_linger_seconds=5.0))
    reader = rig.others(DEEP)[0]
    reader.join(DEEP)
    rig.tick(20.0)
    assert all(node.engine.statistics().patterns == 1 for node in rig.nodes)
    reader.leave(DEEP)
    rig.tick(4.0)
    assert all(node.engine.statistics().patterns == 1 for node in rig.nodes)
    rig.tick(10.0)
    assert all(node.engine.statistics().patterns == 0 for node in rig.nodes)
    before = len(rig.messages(Forward))
    rig.nodes[0].append("/a/b", "nobody reads it")
    assert len(rig.messages(Forward)) == before
    assert isinstance(reader.join(DEEP), Joined)
    rig.nodes[1].append("/a/b", "m")
    assert ids(reader, DEEP)[-1:] == ["m"]


def remote(rig: Rig) -> tuple[Node, Node, str]:
    """The home of a pattern, and another node that is home to a channel under it."""
    home = rig.home(DEEP)
    channel = next(f"/a/{i}" for i in range(10_000) if rig.home(f"/a/{i}") is not home)
    return home, rig.home(channel), channel


def test_what_is_not_acknowledged_is_sent_again_and_taken_once() -> None:
    rig = Rig(3)
    home, source, channel = remote(rig)
    home.join(DEEP)
    rig.hold = lambda message: isinstance(message, Forwarded)
    source.append(channel, "m1")
    assert source.engine.statistics().forward_lag == 1
    rig.held.clear()
    rig.hold = lambda message: False
    rig.tick(1.0)
    assert ids(home, DEEP) == ["m1"]
    assert home.engine.statistics().forward_repeats == 1
    assert source.engine.statistics().forward_lag == 0


def test_what_is_lost_on_the_way_comes_in_order_all_the_same() -> None:
    rig = Rig(3)
    home, source, channel = remote(rig)
    home.join(DEEP)
    lost: list[Any] = []

    def lose_first(message: Any) -> bool:
        if isinstance(message, Forward) and not lost:
            lost.append(message)
            return True
        return False

    rig.hold = lose_first
    for number in range(4):
        source.append(channel, f"m{number}")
    rig.held.clear()
    rig.tick(1.0)
    assert ids(home, DEEP) == ["m0", "m1", "m2", "m3"]


def test_a_new_link_brings_what_the_old_one_lost() -> None:
    rig = Rig(3)
    home, source, channel = remote(rig)
    home.join(DEEP)
    rig.hold = lambda message: isinstance(message, Forward)
    source.append(channel, "m1")
    rig.hold = lambda message: False
    rig.relink(home, source)
    assert ids(home, DEEP) == ["m1"]


def test_a_deposed_home_completes_nothing() -> None:
    """Members whose view names another home do not acknowledge its news."""
    rig = Rig(3)
    home = rig.home(DEEP)
    news = PatternNews(1, 0, (DEEP,))
    (other, third) = rig.others(DEEP)
    assert other.says(third.id, news) == []
    assert other.engine.statistics().patterns == 0
    assert other.says(home.id, news) == [PatternHeld(1)]


def test_how_far_it_was_forwarded_moves_with_the_slot() -> None:
    rig = Rig(3, room=8)
    home, source, channel = remote(rig)
    home.join(DEEP)
    source.append(channel, "before")
    rig.hold = lambda message: isinstance(message, Forward)
    source.append(channel, "after")
    rig.held.clear()
    rig.hold = lambda message: False
    rig.set_state(source, MemberState.LEAVING)
    rig.change()
    rig.tick(2.0)
    assert source.engine.drained()
    reader = rig.home(DEEP)
    reader.join(DEEP)
    assert ids(reader, DEEP) == ["before", "after"]
    heir = rig.home(channel)
    assert heir is not source
    assert heir.engine.statistics().forward_lag == 0


def test_the_next_home_of_a_pattern_knows_what_was_taken() -> None:
    rig = Rig(4)
    home, source, channel = remote(rig)
    source.join(DEEP)
    rig.hold = lambda message: isinstance(message, Forwarded)
    source.append(channel, "m1")
    rig.held.clear()
    rig.set_state(home, MemberState.LEAVING)
    rig.hold = lambda message: False
    rig.change()
    rig.tick(2.0)
    source.append(channel, "m2")
    assert ids(source, DEEP) == ["m1", "m2"]
    assert source.engine.statistics().forward_lag == 0


def test_a_new_member_asks_before_it_is_a_home() -> None:
    rig = Rig(3, room=4)
    reader = rig.nodes[0]
    reader.join(DEEP)
    rig.hold = lambda message: isinstance(message, PatternAll)
    joiner = rig.add(3, 4)
    rig.change()
    rig.tick(0.1)
    channel = next(f"/a/{i}" for i in range(10_000) if rig.home(f"/a/{i}") is joiner)
    request = rig.nodes[1].next_request()
    rig.nodes[1].do(rig.nodes[1].engine.append(request, channel, b"{}", "m1", 0.0, rig.now))
    rig.tick(1.0)
    assert rig.nodes[1].results() == [], "committed by a home that does not know the pattern"
    rig.let_go()
    rig.tick(1.0)
    assert isinstance(rig.nodes[1].results()[0], Appended)
    assert ids(reader, DEEP) == ["m1"]


def test_one_that_does_not_ask_would_lose_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    def ready_at_once(self: PatternNewsDesk, now: float) -> None:
        self._patterns.ready = True

    monkeypatch.setattr(PatternNewsDesk, "_settle", ready_at_once)
    with pytest.raises(AssertionError):
        test_a_new_member_asks_before_it_is_a_home()


def test_a_new_member_is_answered_from_a_view_that_lists_it() -> None:
    rig = Rig(3)
    node, asker = rig.nodes[0], rig.nodes[1]
    late = PatternAsk(rig.view.number + 1)
    assert node.says(asker.id, late) == []
    rig.change()
    assert [m for m in rig.messages(PatternAll) if m.view == late.view]


def test_a_publisher_is_refused_rather_than_its_message_lost() -> None:
    rig = Rig(3, limits=Limits(forward_lag=3))
    home, source, channel = remote(rig)
    home.join(DEEP)
    rig.hold = lambda message: isinstance(message, Forward)
    results = [source.append(channel, f"m{i}") for i in range(5)]
    assert [type(result) for result in results] == [Appended] * 3 + [Failed] * 2
    assert results[-1].code == Code.OVERLOADED
    rig.let_go()
    rig.tick(1.0)
    assert isinstance(source.append(channel, "m5"), Appended)
    assert ids(home, DEEP) == ["m0", "m1", "m2", "m5"]


def test_a_member_that_missed_the_end_of_a_pattern_hears_of_it() -> None:
    rig = Rig(3)
    home, source, channel = remote(rig)
    source.do(source.engine.receive(home.id, PatternNews(1, 0, (DEEP,)), rig.now))
    rig.carry()
    assert source.engine.statistics().patterns == 1
    source.append(channel, "m")
    assert source.engine.statistics().patterns == 0
    assert source.engine.statistics().forward_lag == 0


def test_a_home_that_is_gone_is_asked_after_by_and_by() -> None:
    rig = Rig(3)
    home, source, _ = remote(rig)
    source.do(source.engine.receive(home.id, PatternNews(1, 0, (DEEP,)), rig.now))
    rig.kill(home)
    rig.change()
    rig.tick(100.0)
    heir = rig.home(DEEP)
    if heir is not source:
        assert source.engine.statistics().patterns == 0
    rig.tick(100.0)
    assert source.engine.statistics().patterns == 0


def test_an_open_request_is_asked_once_while_it_is_read() -> None:
    rig = Rig(3)
    reader = rig.others(DEEP)[0]
    reader.join(DEEP)
    before = len(rig.messages(PatternOpen))
    reader.join(DEEP, Cursor(1, 0))
    assert len(rig.messages(PatternOpen)) == before


def test_the_first_entry_of_a_channel_is_forwarded_though_its_home_dies() -> None:
    """That it is to be forwarded is known to the replicas before the channel's log is."""
    rig = Rig(4)
    home, source, channel = remote(rig)
    home.join(DEEP)
    rig.hold = lambda message: isinstance(message, Forward)
    assert isinstance(source.append(channel, "m1"), Appended)
    rig.held.clear()
    rig.hold = lambda message: False
    rig.kill(source)
    rig.change()
    rig.tick(5.0)
    assert ids(home, DEEP) == ["m1"]
