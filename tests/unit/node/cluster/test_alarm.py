from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from node.cluster.alarm import TICK, Alarm

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


class Engine:
    """A deadline that tests set, and when it was called."""

    def __init__(self) -> None:
        self.due: float | None = None
        self.called: list[float] = []
        self.asked = 0
        self.again = False

    def next_deadline(self) -> float | None:
        self.asked += 1
        return self.due

    def handle_timer(self, now: float) -> None:
        self.called.append(now)
        if not self.again:
            self.due = None


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def alarm(engine: Engine) -> AsyncIterator[Alarm]:
    made = Alarm(engine.next_deadline, engine.handle_timer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.sleep(0.01)
        yield made
        nursery.cancel_scope.cancel()


async def test_it_rings_when_it_is_time(
    engine: Engine, alarm: Alarm, autojump_clock: MockClock
) -> None:
    engine.due = start = trio.current_time() + 5
    alarm.changed()
    await trio.sleep(4.9)
    assert not engine.called
    await trio.sleep(0.2)
    assert engine.called == [pytest.approx(start)]
    await trio.sleep(100)
    assert len(engine.called) == 1


async def test_a_nearer_deadline_wins_and_a_later_one_too(
    engine: Engine, alarm: Alarm, autojump_clock: MockClock
) -> None:
    now = trio.current_time()
    for due in (10.0, 5.0, 7.0):
        engine.due = now + due
        alarm.changed()
    await trio.sleep(6)
    assert not engine.called
    await trio.sleep(2)
    assert engine.called == [pytest.approx(now + 7)]


async def test_an_engine_that_is_always_due_does_not_spin(
    engine: Engine, alarm: Alarm, autojump_clock: MockClock
) -> None:
    engine.again, engine.due = True, trio.current_time() - 1
    alarm.changed()
    await trio.sleep(100.5 * TICK)
    assert 90 <= len(engine.called) <= 101


async def test_a_grain_saves_questions(engine: Engine, autojump_clock: MockClock) -> None:
    alarm = Alarm(engine.next_deadline, engine.handle_timer, grain=0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarm.run)
        await trio.sleep(0.1)
        asked = engine.asked
        engine.due = start = trio.current_time() + 1
        for _ in range(1000):
            alarm.changed()
        await trio.sleep(0.1)
        assert engine.asked - asked == 1
        await trio.sleep(2)
        assert engine.called == [pytest.approx(start)]
        engine.due = start = trio.current_time() + 0.001
        alarm.changed()
        await trio.sleep(0.1)
        assert 0 < engine.called[1] - start < 0.012
        nursery.cancel_scope.cancel()
