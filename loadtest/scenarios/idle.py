"""Resident memory, and CPU, of sessions that wait: every one a browser of its own."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.server import HOST, Node, running_node, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_KB: Final = 3.0
AIM_KB: Final = 2.0
MUST_FLAT: Final = 1.0  # per cent of a core
AIM_FLAT: Final = 0.25  # what one run differs from the next
_KB: Final = 1024
_QUIET: Final = 2.0  # seconds for the server to finish what the set-up began
_RING: Final = 3
_CHANNEL: Final = "/bench/room"
_EVENTS: Final = f"/sse?channel={_CHANNEL}"
_NEVER: Final = ("--keep-alive", "3600")
_KEEP_ALIVE: Final = 25.0  # seconds between two of a stream, as a node has it by itself
_US: Final = 1e6
_TRANSPORTS: Final = ("long-polling", "websocket", "sse")


@dataclass(frozen=True, slots=True)
class Idle:
    """Resident memory of sessions that wait, and CPU against silent streams."""

    sessions: int = option(15_000, "Sessions of each transport.")
    warm_up: int = option(300, "Sessions before the first look.")
    settle: float = option(35.0, "Seconds to idle with long polls; one lasts 30.")
    rounds: int = option(2, "Rounds, each with a fresh node.")
    seconds: float = option(120.0, "Seconds of CPU against silent streams; 0 for none.")
    transports: tuple[str, ...] = option(
        _TRANSPORTS, "Repeat for several.", name="--transport", choices=_TRANSPORTS
    )


def run(settings: Idle, progress: Progress) -> Report:
    """Each round is a fresh node: growth from `warm_up` sessions to `sessions` more."""
    report = Report(
        "idle",
        {"sessions": settings.sessions, "settle": settings.settle, "subscribed": _CHANNEL},
    )
    for transport in settings.transports:
        for number in range(settings.rounds):
            progress(f"idle: {transport}, round {number + 1} of {settings.rounds}")
            with running_node() as node:
                _measure(settings, transport, [node], report)
    progress(f"idle: {_RING} nodes")
    with running_nodes(_RING) as nodes:
        _measure(settings, settings.transports[0], nodes, report)
    report.remarks.append(
        "Memory is the growth of the resident set from "
        f"{settings.warm_up} sessions to {settings.sessions:,} more, divided by those."
    )
    if settings.seconds:
        _measure_silence(settings, report, progress)
    return report


def _order(transport: str, ports: list[int], count: int, seed: int) -> Open:
    return Open(
        transport=transport,
        host=HOST,
        port=ports[0],
        ports=ports,
        count=count,
        seed=seed,
        channel=_CHANNEL,
        path=_EVENTS if transport == "sse" else "/bayeux",
    )


def _measure(settings: Idle, transport: str, nodes: list[Node], report: Report) -> None:
    ports = [node.client_port for node in nodes]
    with swarm_for(settings.warm_up) as early, swarm_for(settings.sessions) as swarm:
        early.open(_order(transport, ports, settings.warm_up, 1))
        sleep(_QUIET)
        resident = _resident(nodes)
        seconds = swarm.open(_order(transport, ports, settings.sessions, 1_000))
        sleep(_QUIET)
        opened = _resident(nodes)
        if transport == "long-polling":
            sleep(settings.settle)
        settled = _resident(nodes)
        counts = swarm.tell()
    if counts.faults:
        raise RuntimeError(f"sessions were lost while idle: {counts.faults[0]}")
    single = len(nodes) == 1
    name = transport if single else f"{transport}, the whole of {len(nodes)} nodes"
    report.add(
        f"{name}: memory a session",
        "KB",
        (settled - resident) / settings.sessions / _KB,
        at_most=MUST_KB if single else None,
        aim=AIM_KB if single else None,
    )
    if transport == "long-polling":
        fresh = (opened - resident) / settings.sessions / _KB
        report.add(f"{name}: memory a session, just opened", "KB", fresh)
    report.add(f"{name}: sessions set up", "/s", settings.sessions / seconds)


def _resident(nodes: list[Node]) -> int:
    return sum(node.resident() for node in nodes)


def _measure_silence(settings: Idle, report: Report, progress: Progress) -> None:
    """Nodes with none, a third and all of the streams, side by side, and one without keep-alives.

    Their CPU is counted apart, so they may wait together.
    """
    most = settings.sessions
    cases: list[tuple[int, tuple[str, ...]]] = [
        (0, ()),
        (most // 3, ()),
        (most, ()),
        (most, _NEVER),
    ]
    with ExitStack() as stack:
        nodes = []
        for number, (streams, options) in enumerate(cases):
            progress(f"idle: {streams:,} silent streams")
            node = stack.enter_context(running_node(options))
            nodes.append(node)
            if streams:
                swarm = stack.enter_context(swarm_for(streams))
                swarm.open(_order("sse", [node.client_port], streams, 5_000 * (number + 1)))
        sleep(_QUIET)
        progress(f"idle: {settings.seconds:.0f} s of silence")
        before = [node.cpu() for node in nodes]
        sleep(settings.seconds)
        used = [
            node.cpu().since(then).total / settings.seconds * 100
            for node, then in zip(nodes, before, strict=True)
        ]
    plot = report.draw("CPU against silent streams", "streams", "% of a core")
    for (streams, options), share in zip(cases, used, strict=True):
        kept = " without keep-alives" if options else ""
        report.add(f"CPU with {streams:,} silent streams{kept}", "% of a core", share)
        if not options:
            plot.series.setdefault(f"keep-alives each {_KEEP_ALIVE:.0f} s", []).append(
                (streams, share)
            )
    if settings.seconds > 2 * _KEEP_ALIVE:  # else many a stream had none
        each = (used[-2] - used[-1]) / 100 * _KEEP_ALIVE / most * _US
        report.add("CPU of a keep-alive", "µs", each)
    report.add(
        f"CPU that {most:,} silent streams add, but for keep-alives",
        "% of a core",
        abs(used[-1] - used[0]),
        at_most=MUST_FLAT,
        aim=AIM_FLAT,
    )
