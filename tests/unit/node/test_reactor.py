from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from node.connection import Connection
from node.errors import RemoteProtocolError, SlowConsumerError
from node.reactor import BATCH, ROUND, TICK, Reactor
from node.stats import Stats
from wire import Recorder, hold, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.http import Head, HttpConnection

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Probe(Connection):
    """A connection that notes what the reactor does to it."""

    __slots__ = ("act", "calls", "error", "fails_twice")

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        super().__init__(reactor, sock)
        self.calls: list[str] = []
        self.act: Callable[[Probe], None] | None = None  # done with the first note
        self.error: Exception | None = None
        self.fails_twice = False

    def _note(self, what: str) -> None:
        self.calls.append(what)
        act, self.act = self.act, None
        if act is not None:
            act(self)
        error, self.error = self.error, None
        if error is not None:
            raise error

    def on_readable(self) -> None:
        data = self.read()
        self._note(f"read {data.decode()}")

    def on_again(self) -> None:
        super().on_again()
        self._note("again")

    def on_sweep(self, clock: int) -> None:
        self._note(f"sweep {clock == self.reactor.clock}")

    def on_deadline(self) -> None:
        self._note("deadline")

    def on_failure(self, error: Exception) -> None:
        self.calls.append(f"failure {type(error).__name__}")
        if self.fails_twice:
            raise error
        self.close()

    def on_lost(self) -> None:
        self.calls.append("lost")


class Rig:
    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.peers: list[socket.socket] = []

    def probe(self) -> tuple[Probe, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        probe = Probe(self.reactor, theirs)
        self.reactor.register(probe)
        self.peers.append(ours)
        return probe, ours


class EndOfTurn:
    """Counts its calls; says for `more` of them that there is more to do."""

    def __init__(self) -> None:
        self.calls = 0
        self.more = 0
        self.pause = 0.0

    def __call__(self) -> bool:
        self.calls += 1
        time.sleep(self.pause)
        self.more -= 1
        return self.more >= 0


@pytest.fixture
def end_of_turn() -> EndOfTurn:
    return EndOfTurn()


@pytest.fixture
async def rig(nursery: trio.Nursery, end_of_turn: EndOfTurn) -> Any:
    reactor = Reactor(Stats(), end_of_turn)
    await nursery.start(reactor.run)
    rig = Rig(reactor)
    yield rig
    for peer in rig.peers:
        peer.close()


async def settle() -> None:
    for _ in range(20):
        await trio.lowlevel.checkpoint()


async def test_input_is_served_and_then_the_turn_ends(rig: Rig, end_of_turn: EndOfTurn) -> None:
    probe, peer = rig.probe()
    await settle()
    before = end_of_turn.calls
    peer.send(b"x")
    await settle()
    assert probe.calls == ["read x"]
    assert end_of_turn.calls == before + 1


async def test_a_thousand_wakes_are_one_turn(rig: Rig, end_of_turn: EndOfTurn) -> None:
    await settle()
    before = end_of_turn.calls
    for _ in range(1000):
        rig.reactor.wake()
    await settle()
    assert end_of_turn.calls == before + 1
    rig.reactor.wake()
    await settle()
    assert end_of_turn.calls == before + 2


async def test_a_wake_from_within_the_turn_is_not_lost(rig: Rig) -> None:
    calls = 0

    def end_of_turn() -> bool:
        nonlocal calls
        calls += 1
        if calls < 5:
            rig.reactor.wake()
        return False

    rig.reactor._end_of_turn = end_of_turn
    rig.reactor.wake()
    await settle()
    assert calls == 5


async def test_more_work_goes_on_while_others_have_their_turns(
    rig: Rig, end_of_turn: EndOfTurn
) -> None:
    end_of_turn.more = 50
    end_of_turn.pause = 0.002
    rig.reactor.wake()
    other = 0
    while end_of_turn.more >= 0:
        await trio.lowlevel.checkpoint()
        other += 1
    assert other >= 40


async def test_many_busy_clients_leave_room_for_other_tasks(rig: Rig) -> None:
    probes = [rig.probe() for _ in range(200)]
    for _, peer in probes:
        peer.send(b"x")
    for probe, _ in probes:
        probe.act = lambda _: time.sleep(0.0005)
    gaps = []
    last = time.perf_counter()
    while not all(probe.calls for probe, _ in probes):
        await trio.lowlevel.checkpoint()
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
    assert len(gaps) > 10
    assert sorted(gaps)[len(gaps) // 2] < 0.05  # a slice is 5 ms; all of them would take 100


async def test_more_events_than_a_batch(rig: Rig) -> None:
    probes = [rig.probe() for _ in range(BATCH + 10)]
    for _, peer in probes:
        peer.send(b"x")
    with trio.fail_after(10):
        while not all(probe.calls for probe, _ in probes):
            await settle()
    assert all(probe.calls == ["read x"] for probe, _ in probes)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (ValueError("a bug"), "connection_crashed"),
        (RemoteProtocolError("nonsense"), "connection_failed"),
        (SlowConsumerError("full"), None),
    ],
)
async def test_a_failure_ends_one_connection(
    rig: Rig, error: Exception, logged: str | None
) -> None:
    probe, peer = rig.probe()
    other, other_peer = rig.probe()
    probe.error = error
    with capture_logs() as logs:
        peer.send(b"x")
        other_peer.send(b"y")
        await settle()
    assert probe.calls[:3] == ["read x", f"failure {type(error).__name__}", "lost"]
    assert probe.closed
    assert other.calls == ["read y"]
    assert [entry["event"] for entry in logs if entry["event"] == logged] == (
        [logged] if logged else []
    )
    assert rig.reactor.stats.slow_consumers["close"] == isinstance(error, SlowConsumerError)
    assert peer.recv(10) == b""


async def test_a_failing_failure_still_closes(rig: Rig) -> None:
    probe, peer = rig.probe()
    probe.error = ValueError("a bug")
    probe.fails_twice = True
    with capture_logs():
        peer.send(b"x")
        await settle()
    assert probe.closed
    assert rig.reactor.connections == 0


async def test_again_comes_once_and_not_from_within(rig: Rig) -> None:
    probe, _ = rig.probe()
    rig.reactor.again(probe)
    rig.reactor.again(probe)
    assert probe.calls == []
    await settle()
    assert probe.calls == ["again"]


async def test_a_long_queue_of_again_is_served_in_slices(rig: Rig) -> None:
    probes = [rig.probe()[0] for _ in range(30)]
    for probe in probes:
        probe.act = lambda _: time.sleep(0.001)
        rig.reactor.again(probe)
    turns = 0
    while not all(probe.calls for probe in probes):
        await trio.lowlevel.checkpoint()
        turns += 1
    assert turns >= 4
    assert all(probe.calls == ["again"] for probe in probes)


async def test_deadlines(autojump_clock: trio.testing.MockClock, rig: Rig) -> None:
    probe, _ = rig.probe()
    spared, _ = rig.probe()
    gone, _ = rig.probe()
    for conn in (probe, spared, gone):
        rig.reactor.set_deadline(conn, 3.0)
    await trio.sleep(2.9)
    rig.reactor.clear_deadline(spared)
    gone.close()
    assert "deadline" not in probe.calls
    await trio.sleep(0.1 + TICK)
    assert "deadline" in probe.calls
    assert "deadline" not in spared.calls
    assert "deadline" not in gone.calls


async def test_the_sweep_comes_past_everyone(
    autojump_clock: trio.testing.MockClock, rig: Rig
) -> None:
    probes = [rig.probe()[0] for _ in range(300)]
    await trio.sleep(10 * ROUND)
    for probe in probes:
        assert 9 <= probe.calls.count("sweep True") <= 11


async def test_a_sweep_that_fails_ends_one_connection(
    autojump_clock: trio.testing.MockClock, rig: Rig
) -> None:
    probe, _ = rig.probe()
    other, _ = rig.probe()
    probe.error = ValueError("a bug")
    with capture_logs():
        await trio.sleep(ROUND + 1)
    assert probe.closed
    assert not other.closed


async def test_lag_is_measured(rig: Rig) -> None:
    await trio.sleep(TICK / 2)
    time.sleep(TICK)  # noqa: ASYNC251
    await trio.sleep(0.01)
    assert rig.reactor.stats.loop_lag > TICK / 3


async def test_the_clock_goes(autojump_clock: trio.testing.MockClock, rig: Rig) -> None:
    before = rig.reactor.clock
    await trio.sleep(100)
    assert 99 <= rig.reactor.clock - before <= 101


async def test_an_event_for_a_connection_closed_in_the_same_batch(rig: Rig) -> None:
    pair = [rig.probe() for _ in range(2)]

    def close_the_others(probe: Probe) -> None:
        for other, _ in pair:
            if other is not probe:
                other.close()

    for probe, peer in pair:
        probe.act = close_the_others
        peer.send(b"x")
    await settle()
    assert sorted(probe.calls[0] for probe, _ in pair) == ["lost", "read x"]


async def test_the_end_closes_everyone() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        clients = [served.connect() for _ in range(3)]
        for client in clients:
            await client.send(GET)
        await served.settle()
        conns = list(handler.conns)
    assert len(conns) == 3
    assert all(conn.closed for conn in conns)


async def test_a_bug_in_a_handler_is_answered_500_and_logged() -> None:
    def crash(conn: HttpConnection, head: Head, body: bytes) -> None:
        raise KeyError("a bug")

    handler = Recorder(answer=crash)
    async with serving(handler) as served:
        client = served.connect()
        with capture_logs() as logs:
            await client.send(GET)
            status, headers, body = await client.response()
        assert status == 500
        assert headers["connection"] == "close"
        assert b'"retry":true' in body
        assert [entry["event"] for entry in logs] == ["connection_crashed"]
        assert handler.lost == handler.conns
