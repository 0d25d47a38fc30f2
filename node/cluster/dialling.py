"""Reaching an address: names that mean many, outcomes, and when to try again."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import trio

from node.endpoint import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

CONNECT_WITHIN: Final = 1.5
"""Seconds: TCP's first try and its second, a second later."""
MAX_ADDRESSES: Final = 32
"""Addresses of one name that are tried; more is a misconfigured resolver."""
RETRY_FIRST: Final = 0.1
RETRY_MOST: Final = 1.0
"""Seconds: with the above, a network that has healed is found out within two or three."""
_REMEMBER: Final = 60.0
"""Seconds after which a failed address is forgotten."""


class Outcome(IntEnum):
    """What came of dialling. Of a name's many addresses the best outcome counts."""

    REFUSED = 1
    """Nobody listens there: the process is gone."""
    FAILED = 2
    DUPLICATE = 3
    """The answerer believes that there is a link; this node knows of none."""
    YIELDED = 4
    """The answerer has dialled us too, and its connection is the one to be used."""
    OPENED = 5
    """There is a link to the answerer now, or it is this process itself."""


def retry_delay(failures: int, rng: Random) -> float:
    """Seconds to wait after so many failures in a row: doubling, bounded, +- 25 %."""
    delay = min(RETRY_FIRST * 2.0 ** min(failures - 1, 16), RETRY_MOST)
    return delay * rng.uniform(0.75, 1.25)


class Backoff:
    """When each address may be tried again."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._failures: dict[str, tuple[int, float]] = {}  # address -> failures, not before

    def wait(self, address: str, now: float) -> float:
        """Seconds until `address` may be dialled; 0 if it may be now."""
        found = self._failures.get(address)
        return max(0.0, found[1] - now) if found is not None else 0.0

    def failed(self, address: str, now: float) -> None:
        failures = self._failures.get(address, (0, 0.0))[0] + 1
        self._failures[address] = (failures, now + retry_delay(failures, self._rng))

    def succeeded(self, address: str) -> None:
        """Whoever is at `address` can be reached (or has reached us)."""
        self._failures.pop(address, None)

    def forget_old(self, now: float) -> None:
        old = [a for a, (_, until) in self._failures.items() if until + _REMEMBER < now]
        for address in old:
            del self._failures[address]


async def reach(
    address: str, greet: Callable[[trio.SocketStream], Awaitable[Outcome]], rng: Random
) -> Outcome:
    """Connect to everything that HOST:PORT resolves to, and `greet` whoever answers.

    `greet` owns the stream. A name may stand for several nodes (a seed) or for
    one node with several addresses; either way each gets a try, at once.
    """
    try:
        endpoint = parse_endpoint(address)
        found = await trio.socket.getaddrinfo(
            endpoint.host, endpoint.port, type=trio.socket.SOCK_STREAM
        )
    except (ValueError, OSError):  # UnicodeError of an impossible name is a ValueError
        return Outcome.FAILED
    targets = list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))
    rng.shuffle(targets)
    outcomes: list[Outcome] = []

    async def attempt(family: int, sockaddr: tuple[object, ...]) -> None:
        outcomes.append(await _connect(family, sockaddr, greet))

    async with trio.open_nursery() as nursery:
        for family, sockaddr in targets[:MAX_ADDRESSES]:
            nursery.start_soon(attempt, family, sockaddr)
    return max(outcomes, default=Outcome.FAILED)


async def _connect(
    family: int,
    sockaddr: tuple[object, ...],
    greet: Callable[[trio.SocketStream], Awaitable[Outcome]],
) -> Outcome:
    try:
        sock = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    except OSError:  # no such family here, or no descriptor left
        return Outcome.FAILED
    try:
        with trio.fail_after(CONNECT_WITHIN):
            await sock.connect(sockaddr)
        stream = trio.SocketStream(sock)
    except ConnectionRefusedError:
        sock.close()
        return Outcome.REFUSED
    except (OSError, trio.TooSlowError):
        sock.close()
        return Outcome.FAILED
    except trio.Cancelled:
        sock.close()
        raise
    return await greet(stream)
