"""The network: ports of our own, and the nodes that are to be joined."""

from __future__ import annotations

import os
import secrets
from random import Random
from typing import TYPE_CHECKING, Final

import trio

from dht.ids import ID_BYTES
from node.cluster.dialling import Outcome, reach
from node.cluster.greetings import Introduction
from node.cluster.handshake import Dialler
from node.cluster.opening import fresh_nonce, introduce
from node.doctor.findings import Finding, Level
from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from node.config import Config
    from node.endpoint import Endpoint

ANSWER_WITHIN: Final = 3.0  # seconds


def check_ports(
    config: Config, bindable: Callable[[Endpoint, str], str | None]
) -> Iterator[Finding]:
    """Whether a node could listen. `bindable` says why not, or None."""
    for option, endpoint in (
        ("--client", config.client),
        ("--peer", config.peer),
        ("--ops", config.ops),
    ):
        why = bindable(endpoint, option)
        if why is None:
            yield Finding(Level.OK, f"{option} port", f"{endpoint} is free")
        else:
            yield Finding(Level.WARN, f"{option} port", why, "fine, if it is this node that runs")


def check_state(config: Config) -> Finding:
    """Whether the node's id and promises survive a restart."""
    directory = config.state_dir
    if directory is None:
        advice = "set --state-dir: a node that forgets its id comes back as a stranger"
        level = Level.WARN if config.join else Level.OK
        return Finding(level, "--state-dir", "none", advice if config.join else "")
    nearest = directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(
            Level.FAIL, "--state-dir", f"{directory} cannot be written", "change its owner"
        )
    return Finding(Level.OK, "--state-dir", f"{directory}")


async def check_peers(config: Config) -> AsyncIterator[Finding]:
    """Whether the seeds resolve, answer, know our secret and speak our wire version."""
    if not config.join:
        yield Finding(Level.OK, "--join", "none: a ring of one")
    for address in config.join:
        yield await _ask(config, address)


async def _ask(config: Config, address: str) -> Finding:
    met: list[str] = []
    wrong: list[str] = []

    async def greet(stream: trio.SocketStream) -> Outcome:
        me = Introduction(secrets.token_bytes(ID_BYTES), 1, "doctor:0")
        async with stream:
            try:
                with trio.fail_after(ANSWER_WITHIN):
                    dialler = Dialler(me, config.secrets, fresh_nonce())
                    await introduce(stream, dialler)
            except RemoteProtocolError as error:
                wrong.append(str(error))
                return Outcome.FAILED
            except (trio.TooSlowError, trio.BrokenResourceError):
                wrong.append("it does not answer as a node does")
                return Outcome.FAILED
            if dialler.peer is not None:
                met.append(dialler.peer.id.hex()[:8])
            return Outcome.OPENED  # (never confirmed: no link, nothing has changed there)

    outcome = await reach(address, greet, Random())  # noqa: S311 - the order of tries
    subject = f"seed {address}"
    if wrong:
        advice = "every node needs the same cluster secret and release"
        return Finding(Level.FAIL, subject, wrong[0], advice)
    if met:
        return Finding(Level.OK, subject, f"{len(met)} answered: {', '.join(sorted(met))}")
    found = "refuses: no node listens there" if outcome is Outcome.REFUSED else "cannot be reached"
    return Finding(Level.WARN, subject, found, "start it, or mend the name or the network")
