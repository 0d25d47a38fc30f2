"""The wheel: never early, at most a tick late, one entry however often it is re-armed."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from node.timers import STALL, TICK, TimerWheel


class Item:
    def __init__(self) -> None:
        self.deadline = 0.0
        self.armed = 0


def run_wheel(deadlines: list[list[float]]) -> list[tuple[int, float, float]]:
    """Arm items (re-armed in turn); returns (item, its last deadline, when it expired)."""
    fired: list[tuple[int, float, float]] = []
    items = [Item() for _ in deadlines]
    last: dict[int, float] = {}

    async def main() -> None:
        wheel = TimerWheel(
            lambda item: fired.append((items.index(item), last[items.index(item)], now))  # type: ignore[arg-type]
        )
        now = start = trio.current_time()
        for index, moves in enumerate(deadlines):
            for after in moves:
                last[index] = start + after
                wheel.arm(items[index], start + after)
        for step in range(200):
            now = start + step * TICK / 2
            wheel.advance(now)

    trio.run(main)
    return fired


@given(st.lists(st.lists(st.floats(0.01, 5.0), min_size=1, max_size=4), max_size=8))
def test_each_item_expires_once_at_its_last_deadline(deadlines: list[list[float]]) -> None:
    fired = run_wheel(deadlines)
    assert sorted(index for index, _, _ in fired) == list(range(len(deadlines)))
    for _, deadline, at in fired:
        assert deadline <= at <= deadline + 2.5 * TICK


def test_a_disarmed_item_stays_quiet() -> None:
    fired: list[object] = []

    async def main() -> None:
        wheel = TimerWheel(fired.append)
        item = Item()
        now = trio.current_time()
        wheel.arm(item, now + 1)
        wheel.disarm(item)
        wheel.advance(now + 3)

    trio.run(main)
    assert fired == []


async def test_after_a_stall_everybody_else_gets_a_turn_first(
    mock_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    fired: list[object] = []
    wheel = TimerWheel(fired.append)
    wheel.arm(Item(), trio.current_time() + 1)
    nursery.start_soon(wheel.run)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(STALL + 5)
    await trio.testing.wait_all_tasks_blocked()
    assert fired == []
    mock_clock.jump(TICK)
    await trio.testing.wait_all_tasks_blocked()
    assert len(fired) == 1
