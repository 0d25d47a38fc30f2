from __future__ import annotations

from random import Random

import structlog

from dht.ballots import Memory, electorate_of
from dht.engine import RingEngine
from dht.ids import to_id
from dht.messages import Admitted, Heartbeat, Lease
from dht.view import MemberState, View
from node.cluster.ringwatch import REMIND_EVERY, RingWatch
from ring_views import member, view_of

ME = member(to_id(1), state=MemberState.JOINING)
VIEW = View(
    4, b"r" * 16, view_of(member(to_id(n)) for n in (1, 2, 3)).members, (to_id(2), to_id(3))
)


def test_a_frozen_ring_is_told_of_again_and_again_and_its_thaw_once() -> None:
    ring = RingEngine(ME, (), 3, Random(1))
    ring.start(0.0)
    ring.receive(to_id(2), Admitted(ME.id, 1, VIEW), 1.0)
    watch, now = RingWatch(), 1.0
    with structlog.testing.capture_logs() as logs:
        while now < 2.5 * REMIND_EVERY:
            watch.look(ring, now)
            now += 0.2
        for voter in (2, 3):
            ring.receive(to_id(voter), Lease(4, now), now)
        watch.look(ring, now)
        watch.look(ring, now)
    assert [entry["event"] for entry in logs] == ["ring_frozen"] * 3 + ["ring_thawed"]
    frozen = logs[0]
    assert frozen["log_level"] == "error"
    assert "ring recover" in frozen["advice"]
    assert set(logs[1]["missing"]) == {to_id(2).hex()[:8], to_id(3).hex()[:8]}


def test_another_ring_is_told_of() -> None:
    ring = RingEngine(ME, (), 3, Random(1))
    ring.start(0.0)
    ring.receive(to_id(2), Admitted(ME.id, 1, VIEW), 1.0)
    for voter in (2, 3):
        ring.receive(to_id(voter), Lease(4, 1.0), 1.0)
    ring.receive(to_id(9), Heartbeat(b"x" * 16, 1, b"", 0.0), 1.0)
    watch = RingWatch()
    with structlog.testing.capture_logs() as logs:
        watch.look(ring, 1.1)
        watch.look(ring, 1.2)
    assert [entry["event"] for entry in logs] == ["another_ring"]


def test_waiting_for_a_remembered_ring_is_told_of() -> None:
    ring = RingEngine(
        ME, (), 3, Random(1), keeps_id=True, memory=Memory(ME.id, 1, electorate_of(VIEW))
    )
    ring.start(0.0)
    watch = RingWatch()
    with structlog.testing.capture_logs() as logs:
        watch.look(ring, 0.1)
    assert [(entry["event"], entry["ring"]) for entry in logs] == [
        ("waiting_for_ring", (b"r" * 4).hex())
    ]


def test_having_come_to_another_ring_than_before_is_told_of_once() -> None:
    ring = RingEngine(ME, (), 3, Random(1))
    ring.start(0.0)
    watch = RingWatch(b"o" * 16)
    same = RingWatch(VIEW.ring)
    with structlog.testing.capture_logs() as logs:
        watch.look(ring, 0.1)
        same.look(ring, 0.1)
        ring.receive(to_id(2), Admitted(ME.id, 1, VIEW), 1.0)
        for voter in (2, 3):
            ring.receive(to_id(voter), Lease(4, 1.0), 1.0)
        for each in (watch, watch, same):
            each.look(ring, 1.1)
    (entry,) = logs
    assert entry["event"] == "joined_another_ring"
    assert entry["remembered"] == (b"o" * 4).hex()
    assert not entry["recovered"]
