"""The swarm's loop: descriptors, timers, and an end."""

from __future__ import annotations

import os
import time

from loadtest.swarm.loop import Loop


def test_readable_descriptors_are_called() -> None:
    loop = Loop()
    reader, writer = os.pipe()
    seen: list[bytes] = []

    def read() -> None:
        seen.append(os.read(reader, 100))
        loop.forget(reader)
        loop.forget(reader)  # twice does no harm
        loop.stop()

    loop.watch(reader, read)
    os.write(writer, b"x")
    loop.run()
    os.close(reader)
    os.close(writer)
    assert seen == [b"x"]


def test_a_watch_turns_from_writable_to_readable() -> None:
    loop = Loop()
    reader, writer = os.pipe()
    steps: list[str] = []

    def writable() -> None:
        steps.append("writable")
        loop.forget(writer)
        os.write(writer, b"x")

    def readable() -> None:
        steps.append("readable")
        loop.stop()

    loop.watch(writer, writable, writable=True)
    loop.watch(reader, lambda: loop.replace(reader, readable))
    loop.run()
    os.close(reader)
    os.close(writer)
    assert steps == ["writable", "readable"]


def test_timers_come_in_order_and_not_early() -> None:
    loop = Loop()
    now = time.monotonic()
    steps: list[tuple[str, float]] = []

    def note(name: str) -> None:
        steps.append((name, time.monotonic() - now))

    loop.call_at(now + 0.02, lambda: note("late"))
    loop.call_at(now + 0.02, loop.stop)
    loop.call_at(now + 0.005, lambda: note("early"))
    loop.run()
    assert [name for name, _ in steps] == ["early", "late"]
    assert steps[0][1] >= 0.005
    assert steps[1][1] >= 0.02
