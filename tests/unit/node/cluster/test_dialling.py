from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from message_strategies import UNHURRIED
from node.cluster import dialling
from node.cluster.dialling import RETRY_FIRST, RETRY_MOST, Backoff, Outcome, reach, retry_delay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"


@UNHURRIED
@given(st.integers(1, 10_000), st.integers())
def test_delays_double_within_bounds_and_jitter(failures: int, seed: int) -> None:
    delay = retry_delay(failures, random.Random(seed))
    middle = min(RETRY_FIRST * 2 ** min(failures - 1, 20), RETRY_MOST)
    assert 0.75 * middle <= delay <= 1.25 * middle


def test_backoff_grows_and_is_forgotten() -> None:
    backoff = Backoff(random.Random(1))
    assert backoff.wait("a:1", 100.0) == 0
    backoff.failed("a:1", 100.0)
    first = backoff.wait("a:1", 100.0)
    assert 0 < first < 0.2
    assert backoff.wait("a:1", 100.0 + first) == 0
    for _ in range(10):
        backoff.failed("a:1", 100.0)
    assert backoff.wait("a:1", 100.0) > 1
    assert backoff.wait("b:1", 100.0) == 0
    backoff.succeeded("a:1")
    backoff.succeeded("never:1")
    assert backoff.wait("a:1", 100.0) == 0
    backoff.failed("a:1", 100.0)
    backoff.forget_old(120.0)
    assert backoff._failures
    backoff.forget_old(200.0)
    assert not backoff._failures


def greeter(
    outcomes: list[Outcome], met: list[int]
) -> Callable[[trio.SocketStream], Awaitable[Outcome]]:
    async def greet(stream: trio.SocketStream) -> Outcome:
        met.append(stream.socket.getpeername()[1])
        await stream.aclose()
        return outcomes.pop()

    return greet


async def listening() -> tuple[trio.SocketListener, int]:
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    return listener, listener.socket.getsockname()[1]


async def test_whoever_answers_is_greeted() -> None:
    listener, port = await listening()
    met: list[int] = []
    rng = random.Random(1)
    assert await reach(f"{HOST}:{port}", greeter([Outcome.OPENED], met), rng) is Outcome.OPENED
    assert met == [port]
    await listener.aclose()
    assert await reach(f"{HOST}:{port}", greeter([], met), rng) is Outcome.REFUSED


async def test_the_best_outcome_of_many_addresses_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    open_ports = [await listening() for _ in range(2)]
    closed, closed_port = await listening()
    await closed.aclose()
    ports = [port for _, port in open_ports] + [closed_port]

    async def resolve(*_: object, **__: object) -> list[object]:
        kind = (trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "")
        # Some resolvers repeat themselves.
        return [(*kind, (HOST, port)) for port in ports * 2]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    met: list[int] = []
    greet = greeter([Outcome.FAILED, Outcome.OPENED], met)
    assert await reach("many:1", greet, random.Random(1)) is Outcome.OPENED
    assert sorted(met) == sorted(ports[:2])
    ports[:] = [closed_port]
    assert await reach("many:1", greet, random.Random(1)) is Outcome.REFUSED
    ports[:] = []
    assert await reach("many:1", greet, random.Random(1)) is Outcome.FAILED
    for listener, _ in open_ports:
        await listener.aclose()


@pytest.mark.parametrize(
    "address", ["", ":", "no port", "host:99999", "a" * 300 + ":1", "x..y.invalid:1", "[::1]]:1"]
)
async def test_impossible_addresses_fail(address: str) -> None:
    assert await reach(address, greeter([], []), random.Random(1)) is Outcome.FAILED


async def test_an_address_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose queue is full takes no connection, and refuses none."""
    monkeypatch.setattr(dialling, "CONNECT_WITHIN", 0.1)
    sock = trio.socket.socket()
    await sock.bind((HOST, 0))
    sock.listen(0)
    waiting = []
    for _ in range(4):
        filler = trio.socket.socket()
        with trio.move_on_after(0.05):
            await filler.connect(sock.getsockname())
        waiting.append(filler)
    address = f"{HOST}:{sock.getsockname()[1]}"
    assert await reach(address, greeter([], []), random.Random(1)) is Outcome.FAILED
    for each in (sock, *waiting):
        each.close()
