"""Resident memory, and CPU, of sessions that wait: every one a browser of its own."""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.server import HOST, running_node
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from collections.abc import Callable

BOUND_KB: Final = 4.0
_KB: Final = 1024
_QUIET: Final = 2.0  # seconds for the server to finish what the set-up began


@dataclass(frozen=True, slots=True)
class Idle:
    """Settings: `settle` seconds should outlast one held poll (30 s)."""

    sessions: int = 10_000
    warm_up: int = 300
    settle: float = 35.0
    rounds: int = 3
    transports: tuple[str, ...] = ("long-polling", "websocket")
    channel: str = "/bench/room"


def run(settings: Idle, progress: Callable[[str], None]) -> Report:
    """Each round is a fresh node: growth from `warm_up` sessions to `sessions` more."""
    report = Report(
        "idle",
        {"sessions": settings.sessions, "settle": settings.settle, "subscribed": settings.channel},
    )
    for transport in settings.transports:
        for number in range(settings.rounds):
            progress(f"idle: {transport}, round {number + 1} of {settings.rounds}")
            _measure(settings, transport, report)
    report.remarks.append(
        "Memory is the growth of the node's resident set from "
        f"{settings.warm_up} sessions to {settings.sessions:,} more, divided by those."
    )
    return report


def _measure(settings: Idle, transport: str, report: Report) -> None:
    with (
        running_node() as node,
        swarm_for(settings.warm_up) as early,
        swarm_for(settings.sessions) as swarm,
    ):
        order = Open(
            transport=transport,
            host=HOST,
            port=node.client_port,
            count=settings.warm_up,
            seed=1,
            channel=settings.channel,
        )
        early.open(order)
        sleep(_QUIET)
        resident = node.resident()
        order.count, order.seed = settings.sessions, 1_000
        seconds = swarm.open(order)
        sleep(_QUIET)
        opened = node.resident()
        before = node.cpu()
        sleep(settings.settle)
        used = node.cpu().since(before).total / settings.settle
        settled = node.resident()
        counts = swarm.tell()
        if counts.faults:
            raise RuntimeError(f"sessions were lost while idle: {counts.faults[0]}")
        sessions = settings.sessions
        report.add(
            f"{transport}: memory a session",
            "KB",
            (settled - resident) / sessions / _KB,
            at_most=BOUND_KB,
        )
        report.add(
            f"{transport}: memory a session, just opened",
            "KB",
            (opened - resident) / sessions / _KB,
        )
        report.add(f"{transport}: CPU of the node, all idle", "% of a core", used * 100)
        report.add(f"{transport}: sessions set up", "/s", sessions / seconds)
