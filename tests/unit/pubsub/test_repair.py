"""Holes that a forwarder cannot fill are filled by the home."""

from __future__ import annotations

from itertools import pairwise

from pubsub.effects import Deliver, Reset
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import Cursor, Entries, Failed, Fetch, Fetched, Joined
from pubsub_rig import Node, Rig


def hole(limits: Limits | None = None) -> tuple[Rig, Node, Node, Node]:
    """A leaf at offset 2, whose forwarder holds what follows 6 only, and whose home is at 8."""
    rig = Rig(40, flat_limit=0, limits=limits or Limits())
    root, forwarder, leaf = rig.line("/deep")
    leaf.join("/deep")
    root.join("/deep")
    root.append("/deep", "m1")
    root.append("/deep", "m2")
    rig.hold = lambda message: isinstance(message, Entries)
    for index in range(3, 7):
        root.append("/deep", f"m{index}", payload=bytes(100))
    rig.held.clear()
    rig.hold = lambda message: False
    # The forwarder starts again from now on, and so does not hold 3 to 6.
    core = forwarder.engine._parts.core
    feed = core.feeds["/deep"]
    feed.log.clear(6)
    feed.last = Cursor(1, 6)
    rig.hold = lambda message: isinstance(message, Fetched)
    root.append("/deep", "m7")
    return rig, root, forwarder, leaf


def seen(leaf: Node) -> list[str]:
    feed = leaf.engine.feed("/deep")
    assert feed is not None
    entries = feed.log.after(0, 99)
    assert all(b.offset == a.offset + 1 for a, b in pairwise(entries))
    return [entry.message_id for entry in entries]


def test_the_home_fills_what_the_forwarder_lacks() -> None:
    rig, root, _, leaf = hole()
    assert seen(leaf) == ["m1", "m2"]
    assert len(rig.messages(Fetch)) == 1
    root.append("/deep", "m8")  # cannot be delivered before the hole is filled
    assert seen(leaf) == ["m1", "m2"]
    leaf.took(Deliver)
    rig.let_go()
    assert seen(leaf) == [f"m{i}" for i in range(1, 9)]
    assert leaf.took(Deliver)
    assert not leaf.took(Reset)
    assert leaf.engine.statistics().gap_repairs == 1


def test_it_takes_as_many_questions_as_it_takes() -> None:
    rig, _, _, leaf = hole(Limits(batch_bytes=150))
    rig.let_go()
    rig.tick(5.0)
    assert seen(leaf) == [f"m{i}" for i in range(1, 8)]
    assert len(rig.messages(Fetch)) > 1


def test_what_the_home_has_lost_too_is_a_gap() -> None:
    rig, root, _, leaf = hole()
    root.engine._parts.core.topics["/deep"].log.trim_to(4)
    rig.held = [
        (sender, to, Fetched(m.request, "/deep", Cursor(1, 4), 1, m.entries[-3:]))
        for sender, to, m in rig.held
    ]
    rig.let_go()
    (reset,) = leaf.took(Reset)
    assert reset.feed.origin == Cursor(1, 4)
    assert seen(leaf) == ["m5", "m6", "m7"]


def test_a_home_that_cannot_answer_is_asked_again_by_and_by() -> None:
    rig, root, _, leaf = hole()
    (fetch,) = rig.messages(Fetch)
    rig.held.clear()
    rig.hold = lambda message: False
    leaf.do(leaf.engine.receive(root.id, Failed(fetch.request, Code.OVERLOADED), rig.now))
    rig.carry()
    rig.tick(3.0)
    assert seen(leaf) == [f"m{i}" for i in range(1, 8)]


def test_answers_to_questions_that_nobody_has_any_more_are_ignored() -> None:
    rig, root, _, leaf = hole()
    (fetch,) = rig.messages(Fetch)
    leaf.leave("/deep")
    rig.let_go()
    late = Fetched(fetch.request, "/deep", Cursor(1, 2), 1, ())
    assert leaf.engine.receive(root.id, late, rig.now) == []
    assert leaf.engine.feed("/deep") is None


def test_a_log_of_another_lineage_is_not_deepened() -> None:
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    for index in range(4):
        home.append("/a", f"m{index}")
    other.join("/a")
    rig.hold = lambda message: isinstance(message, Fetched)
    assert other.join("/a", Cursor(1, 1)) is None
    ((sender, to, fetched),) = rig.held
    rig.held = [(sender, to, Fetched(fetched.request, "/a", Cursor(9, 0), 9, ()))]
    rig.let_go()
    assert len(other.results()) == 1  # it waits for the reset that is about to come
    other.do(other.engine.receive(home.id, Joined("/a", Cursor(9, 0), True, 9, 1), rig.now))
    assert other.results()[-1] == Joined("/a", Cursor(9, 0), True, 9, 1)
