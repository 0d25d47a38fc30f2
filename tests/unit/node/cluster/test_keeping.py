"""What a process writes of itself: in order, and before it is relied on."""

from __future__ import annotations

from random import Random
from threading import Event, Timer
from typing import TYPE_CHECKING

import structlog
import trio

from dht.ballots import Ballot, Electorate, Memory
from dht.effects import Keep
from node.cluster import keeping as module
from node.cluster.keeping import Keeping
from node.cluster.state import StateError, load_votes, save_votes

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ME = b"m" * 20


def keep(serial: int, *, ring: bytes = b"r" * 16, first: bool = False) -> Keep:
    electorate = Electorate(ring, serial, ((ME, 1),))
    return Keep(serial, Memory(ME, 1, electorate, Ballot(serial, 1, ME)), first)


async def test_a_vote_is_reported_once_it_is_on_disk(tmp_path: Path) -> None:
    keeping, told = Keeping(tmp_path, Random(1)), list[tuple[int, Memory | None]]()

    def on_kept(serial: int) -> None:
        told.append((serial, load_votes(tmp_path)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeping.run, on_kept)
        effect = keep(1)
        keeping.keep_votes(effect, on_kept)
        assert not told
        with trio.fail_after(5):
            while not told:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert told == [(1, effect.memory)]


async def test_of_several_only_the_latest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, told = list[Memory](), list[int]()
    monkeypatch.setattr(module, "save_votes", lambda _, memory: written.append(memory))
    keeping = Keeping(tmp_path, Random(1))
    for serial in (1, 2, 3):
        keeping.keep_votes(keep(serial), told.append)
    with trio.move_on_after(0.2):
        await keeping.run(told.append)
    assert told == [3]
    assert written == [keep(3).memory]


async def test_a_slow_write_does_not_undo_a_first_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread has the old ring's vote in hand while the loop writes of the new ring."""
    taken, may_write = Event(), Event()

    def slow(directory: Path, memory: Memory) -> None:
        if memory.number == 1:
            taken.set()
            may_write.wait(5)
        save_votes(directory, memory)

    monkeypatch.setattr(module, "save_votes", slow)
    keeping, told = Keeping(tmp_path, Random(1)), list[int]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeping.run, told.append)
        keeping.keep_votes(keep(1), told.append)
        await trio.to_thread.run_sync(taken.wait, 5)
        keeping.keep_votes(keep(2), told.append)  # not begun yet: the first word says it all
        first = keep(3, ring=b"n" * 16, first=True)
        Timer(0.05, may_write.set).start()
        keeping.keep_votes(first, told.append)
        with trio.fail_after(5):
            while 1 not in told:
                await trio.sleep(0.001)
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    assert load_votes(tmp_path) == first.memory
    assert told == [3, 1]


async def test_what_cannot_be_written_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        msg = "cannot write: no space left on device"
        raise StateError(msg)

    monkeypatch.setattr(module, "save_votes", fail)
    keeping, told = Keeping(tmp_path, Random(1)), list[int]()
    with structlog.testing.capture_logs() as logs, trio.move_on_after(0.2):
        keeping.keep_votes(keep(1, first=True), told.append)
        keeping.keep_votes(keep(2), told.append)
        await keeping.run(told.append)
    assert not told
    assert [each["event"] for each in logs] == ["vote_not_kept"] * 2


def test_without_a_directory_nothing_is_kept() -> None:
    keeping, told = Keeping(None, Random(1)), list[int]()
    keeping.keep_votes(keep(1, first=True), told.append)
    assert not keeping.durable
    assert not told
