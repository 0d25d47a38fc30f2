from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from node.cluster import turnstile
from node.cluster.refusals import Refusals
from node.cluster.turnstile import BURST, MAX_HOSTS, PER_HOST, Allowance, Turnstile
from node.stats import Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def stats() -> Stats:
    return Stats()


@pytest.fixture
async def gate(stats: Stats) -> AsyncIterator[Turnstile]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = Turnstile(listener, Refusals(stats))
    yield made
    await made.aclose()


def test_an_allowance_fills_up_again() -> None:
    allowance = Allowance(10.0, 3.0, now=0.0)
    assert [allowance.take(0.0) for _ in range(3)] == [0.0] * 3
    assert allowance.take(0.0) == pytest.approx(0.1)
    assert allowance.take(0.1) == 0.0
    assert [allowance.take(99.0) for _ in range(3)] == [0.0] * 3, "but not over its brim"
    assert allowance.take(99.0)


async def test_one_host_does_not_use_up_what_another_may(gate: Turnstile) -> None:
    assert all(gate.admits("192.0.2.1", 0.0) for _ in range(int(BURST)))
    assert not gate.admits("192.0.2.1", 0.0)
    assert gate.admits("192.0.2.2", 0.0)
    assert gate.admits("192.0.2.1", 2 / PER_HOST)


async def test_the_hosts_that_are_kept_in_mind_are_bounded(gate: Turnstile) -> None:
    for number in range(MAX_HOSTS + 100):
        gate.admits(f"host {number}", 0.0)
    assert len(gate._hosts) == MAX_HOSTS


async def test_what_a_host_opens_beyond_is_closed_and_counted(
    gate: Turnstile, stats: Stats, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turnstile, "BURST", 2.0)
    monkeypatch.setattr(turnstile, "PER_HOST", 0.001)
    passed: list[trio.SocketStream] = []

    async def accept() -> None:
        while True:
            passed.append(await gate.accept())

    nursery.start_soon(accept)
    streams = [await trio.testing.open_stream_to_socket_listener(gate._listener) for _ in range(5)]
    with trio.fail_after(2):
        for stream in streams[2:]:
            assert await stream.receive_some(1) == b""
    assert len(passed) == 2
    assert stats.link_refused["too_many"] == 3
    for stream in (*streams, *passed):
        stream.socket.close()
    nursery.cancel_scope.cancel()


async def test_closing_is_paced_too(
    gate: Turnstile, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Of thousands that come at once a second deals with no more than it should."""
    closed = 0

    class Crowd:
        async def accept(self) -> trio.SocketStream:
            nonlocal closed
            await trio.lowlevel.checkpoint()
            closed += 1
            return trio.SocketStream(trio.socket.socket())

    real, gate._listener = gate._listener, Crowd()  # type: ignore[assignment]
    host = "a connection that is gone"
    while gate.admits(host, trio.current_time()):
        pass
    with trio.move_on_after(1.0):
        while True:
            (await gate.accept()).socket.close()
    assert closed <= turnstile.CLOSED + PER_HOST + turnstile.CLOSED * turnstile.SLICE + 1
    gate._listener = real
