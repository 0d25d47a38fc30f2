"""Swarm processes against a small server: what they count, check and complain of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from fake_bayeux import FakeBayeux
from loadtest.latency import Latency
from loadtest.swarm.control import (
    Swarm,
    SwarmError,
    SwarmProcess,
    publish,
    swarm_for,
    swarm_processes,
)
from loadtest.swarm.orders import Counts, Open, Publish, Published, Ready, Tell

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = 6
KINDS = ["long-polling", "websocket"]


@pytest.fixture
def swarm() -> Iterator[Swarm]:
    with swarm_processes(2) as processes:
        yield Swarm(processes)


def order(transport: str, server: FakeBayeux, **more: object) -> Open:
    fields: dict[str, object] = {"channel": "/bench/room", "sampled": 4} | more
    return Open(transport, "127.0.0.1", server.port, CLIENTS, 1, **fields)  # type: ignore[arg-type]


def wait_for_all(server: FakeBayeux) -> None:
    deadline = time.monotonic() + 10
    while server.waiting() < CLIENTS:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("transport", KINDS)
def test_every_delivery_is_counted_and_the_sampled_are_checked(
    swarm: Swarm, transport: str
) -> None:
    with FakeBayeux() as server:
        swarm.open(order(transport, server))
        assert swarm.sessions == ["c1"] * CLIENTS
        for number in range(1, 4):
            wait_for_all(server)
            swarm.expect(number)
            server.deliver(ping=True)
            swarm.wait_reached()
        wait_for_all(server)
        counts = swarm.tell()
    assert counts.faults == []
    assert (counts.fewest, counts.most, counts.deliveries) == (3, 3, 3 * CLIENTS)
    assert counts.cycles == 3 * CLIENTS
    latency = Latency()
    latency.add_encoded(counts.latency)
    assert counts.checked == latency.count == 3 * 4
    assert server.pongs == (3 * CLIENTS if transport == "websocket" else 0)


def test_who_is_told_to_come_again_does(swarm: Swarm) -> None:
    with FakeBayeux(busy=3) as server:
        swarm.open(order("long-polling", server))
        wait_for_all(server)
        counts = swarm.tell()
    assert counts.turned_away == 3
    assert counts.faults == []


@pytest.mark.parametrize("transport", KINDS)
def test_the_interval_that_is_advised_is_kept_until_another_is(
    swarm: Swarm, transport: str
) -> None:
    with FakeBayeux() as server:
        swarm.open(order(transport, server))
        for interval, at_least in ((300, 0.3), (None, 0.3), (0, 0.0)):
            wait_for_all(server)
            told = time.monotonic()
            server.deliver(interval=interval)
            wait_for_all(server)
            assert time.monotonic() - told >= at_least
        assert swarm.tell().faults == []


@pytest.mark.parametrize("transport", KINDS)
def test_every_client_may_look_whether_one_is_missing(swarm: Swarm, transport: str) -> None:
    with FakeBayeux() as server:
        swarm.open(order(transport, server, sampled=0, numbered=True))
        wait_for_all(server)
        server.deliver()
        wait_for_all(server)
        server.deliver(skip=1)
        deadline = time.monotonic() + 10
        while len(swarm.tell().faults) < CLIENTS:
            assert time.monotonic() < deadline
        assert "message 3 after 2 in all" in swarm.tell().faults[0]


def test_long_polls_carry_the_cookie_that_was_set(swarm: Swarm) -> None:
    with FakeBayeux() as server:
        swarm.open(order("long-polling", server))
        wait_for_all(server)
        assert sum("BAYEUX_BROWSER=b1" in cookie for cookie in server.cookies) == 2 * CLIENTS


def test_polls_without_a_wait_go_round_and_round(swarm: Swarm) -> None:
    with FakeBayeux() as server:
        swarm.open(order("long-polling", server, poll_timeout=0, channel=""))
        deadline = time.monotonic() + 10
        while (counts := swarm.tell()).cycles <= CLIENTS:
            assert time.monotonic() < deadline
    assert counts.faults == []


@pytest.mark.parametrize("transport", KINDS)
@pytest.mark.parametrize("channel", ["/meta/handshake", "/meta/subscribe"])
def test_a_refusal_is_told(swarm: Swarm, transport: str, channel: str) -> None:
    with FakeBayeux(refuse=channel) as server, pytest.raises(SwarmError, match="402::session"):
        swarm.open(order(transport, server))


@pytest.mark.parametrize("transport", KINDS)
def test_lost_connections_are_told(swarm: Swarm, transport: str) -> None:
    with FakeBayeux() as server:
        swarm.open(order(transport, server))
        wait_for_all(server)
        swarm.expect(1)
        server.drop_all()
        with pytest.raises(SwarmError, match="Hangup"):
            swarm.wait_reached()


@pytest.mark.parametrize("transport", KINDS)
def test_a_gap_is_told(transport: str) -> None:
    with FakeBayeux() as server, swarm_for(CLIENTS) as swarm:
        swarm.open(order(transport, server))
        wait_for_all(server)
        server.deliver(skip=1)
        deadline = time.monotonic() + 10
        while not (faults := swarm.tell().faults):
            assert time.monotonic() < deadline
        assert "WrongMessage: message 2 after 0" in faults[0]


def test_nobody_listens(swarm: Swarm) -> None:
    with FakeBayeux() as server:
        pass
    with pytest.raises(SwarmError, match="refused"):
        swarm.open(order("websocket", server))


@pytest.mark.parametrize(("rate", "batch"), [(0.0, 1), (0.0, 7), (200.0, 1), (200.0, 5)])
def test_publishing(rate: float, batch: int) -> None:
    with FakeBayeux() as server, swarm_processes(1) as (process,):
        targets = [f"s{number}" for number in range(5)]
        for _ in range(2):  # the second order counts on from where the first one ended
            done = publish(
                process,
                Publish("127.0.0.1", server.port, "key", targets, rate, batch, 2, 0.2, 'say "hi"'),
            )
            assert done.refused == 0
            if rate:
                assert done.accepted == 40
        sends = server.sends
    for target in targets:
        mine = [send["data"]["n"] for send in sends if send["session"] == target]
        assert mine == list(range(1, len(mine) + 1))
        assert len(mine) > 1
    assert sends[0]["data"]["text"] == 'say "hi"'


def test_lost_publisher_connections_are_refusals() -> None:
    with FakeBayeux() as server, swarm_processes(1) as (process,):
        process.order(Publish("127.0.0.1", server.port, "key", ["s"], 50.0, 1, 1, 30.0))
        deadline = time.monotonic() + 10
        while not server.sends:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        server.drop_all()
        done = process.wait(Published, 10)
        assert done.refused >= 1
        assert "Hangup" in done.faults[0]


def test_answers_out_of_turn_are_errors() -> None:
    process = SwarmProcess()
    try:
        process.order(Tell())
        with pytest.raises(SwarmError, match="no clients are open"):
            process.wait(Counts, 5)
        with pytest.raises(SwarmError, match="no Ready from the swarm in time"):
            process.wait(Ready, 0.01)
    finally:
        process.close()
