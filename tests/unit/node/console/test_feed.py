"""Rounds while a console is open, none else; shared bytes; nothing grows."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from console_sim import imagined_console
from node.console.feed import MAX_CONSOLES


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


def events(data: bytes) -> list[tuple[str, Any]]:
    """The events in it, by name."""
    found = []
    for block in data.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


class Screen:
    """An open console that keeps what it gets, or is slow to take it."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.got: list[bytes] = []

    async def send(self, data: bytes) -> None:
        self.got.append(data)
        await trio.sleep(self.pause)

    @property
    def pulses(self) -> list[Any]:
        return [data for got in self.got for name, data in events(got) if name == "pulse"]


async def test_nobody_is_asked_without_a_console(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(9, 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run)
        await trio.sleep(100)
        assert (cluster.asked, cluster.looks) == (0, 0)
        screen = Screen()
        with trio.move_on_after(10.5):
            await console.feed.follow(screen.send)
        assert len(screen.pulses) == 11
        assert cluster.looks == 11 * 9
        await trio.sleep(2)
        asked = cluster.asked
        await trio.sleep(100)
        assert cluster.asked == asked
        assert not console.feed._pulse
        assert not console.feed._looks
        with trio.move_on_after(2.5):  # and again
            await console.feed.follow(screen.send)
        assert len(screen.pulses) == 14
        nursery.cancel_scope.cancel()


async def test_all_consoles_get_the_same_bytes_of_one_round(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(9, 1.0)
    screens = [Screen() for _ in range(MAX_CONSOLES)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run)
        for screen in screens:
            assert not console.feed.full
            nursery.start_soon(console.feed.follow, screen.send)
            await trio.testing.wait_all_tasks_blocked()
        assert console.feed.full
        await trio.sleep(5.5)
        nursery.cancel_scope.cancel()
    assert console.feed.open == 0
    assert cluster.looks == 6 * 9
    for name in ("ring", "pulse"):
        assert name in dict(events(screens[0].got[0] + screens[0].got[1]))
    assert all(other.got[-1] is screens[0].got[-1] for other in screens)


async def test_a_slow_console_skips(autojump_clock: MockClock) -> None:
    _, console = imagined_console(9, 1.0)
    slow, quick = Screen(pause=4.7), Screen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run)
        nursery.start_soon(console.feed.follow, slow.send)
        nursery.start_soon(console.feed.follow, quick.send)
        await trio.sleep(20.5)
        nursery.cancel_scope.cancel()
    assert len(quick.pulses) == 21
    assert len(slow.got) == 5
    assert slow.pulses[-1]["at"] >= quick.pulses[-5]["at"]


async def test_a_pulse_tells_of_all_members_and_trees(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(50, 1.0)
    screen = Screen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run)
        with trio.move_on_after(30):
            await console.feed.follow(screen.send)
        nursery.cancel_scope.cancel()
    ((_, ring),) = events(screen.got[0])
    assert len(ring["members"]) == 50
    assert {arc[1] for arc in ring["arcs"]} == {
        at for at, member in enumerate(ring["members"]) if member["state"] == "active"
    }
    last = screen.pulses[-1]
    silent = next(iter(cluster.silent)).hex()
    assert last["members"][silent] is None
    assert sum(each is not None for each in last["members"].values()) == 49
    assert list(last["suspected"]) == [cluster.suspect[0].hex()]
    seen = {tree["topic"] for pulse in screen.pulses for tree in pulse["trees"]}
    drawn = {each["topic"] for pulse in screen.pulses for each in pulse["publishes"]}
    assert drawn <= seen
    assert any(not topic.startswith("/") for topic in drawn)
    for tree in last["trees"]:
        nodes = {twig["node"] for twig in tree["twigs"]}
        assert tree["home"] in nodes
        assert all(twig["parent"] in nodes for twig in tree["twigs"] if twig["parent"])
        if tree["topic"].startswith("/"):
            readers = {node.hex() for node in cluster.readers[tree["topic"]]} - {silent}
            assert readers <= nodes
    assert max(twig["depth"] for tree in last["trees"] for twig in tree["twigs"]) > 1


async def test_a_new_view_is_told_to_all(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(3, 1.0)
    screen = Screen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run)
        nursery.start_soon(console.feed.follow, screen.send)
        await trio.sleep(3.5)
        rings = sum(name == "ring" for got in screen.got for name, _ in events(got))
        assert rings == 1
        cluster.view = cluster.view.successor(dict(cluster.view.by_id))
        cluster.placement = type(cluster.placement)(cluster.view)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    told = [data for got in screen.got for name, data in events(got) if name == "ring"]
    assert [ring["view"] for ring in told] == [41, 42]


async def test_rounds_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """Hundreds of rounds of nine members, and finds: what the node holds stays what it was."""
    cluster, console = imagined_console(9, 10.0)

    async def forget(data: bytes) -> None:
        del data

    async def look() -> None:
        for turn in range(1_000_000):
            await trio.sleep(70)
            await console.find(cluster.addresses[turn % 40])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.run)
        nursery.start_soon(console.feed.follow, forget)
        nursery.start_soon(look)
        await trio.sleep(1_000)
        tracemalloc.start()
        try:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            await trio.sleep(3_000)
            gc.collect()
            after = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    # What was allocated since is there once: a pulse, an answer, cached slots. Keeping the pulses
    # alone would be 2 MB.
    assert after - before < 250_000
