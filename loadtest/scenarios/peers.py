"""What users would pick instead, doing the same work beside us.

Each peer is a fresh process for each transport: its memory is looked at with few
and with all clients, then messages are broadcast one at a time. The bake-off
repeats what Plurk did: minimal long-poll servers, each with thousands of held
polls of 30 seconds.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic, monotonic_ns, sleep
from typing import TYPE_CHECKING, Any, Final, Protocol

from loadtest.floor import C_FLOOR, running_floors
from loadtest.peers.catalogue import BAKE_OFF, CHANNEL, PEERS
from loadtest.peers.install import NotInstalled
from loadtest.peers.running import running
from loadtest.report import Report
from loadtest.server import HOST, Node, ServerError, running_node
from loadtest.settings import option
from loadtest.swarm.control import Swarm, SwarmError, swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.accounting import Cpu
    from loadtest.peers.catalogue import Peer
    from loadtest.settings import Progress

OURS: Final = "cometring"
_KB: Final = 1024
_US: Final = 1e6
_QUIET: Final = 1.0  # seconds for a server to finish what was begun
_HOLD: Final = 30.0  # seconds that a poll of the bake-off lasts
_TOGETHER: Final = 3  # servers of the bake-off that are held at a time
_TEXT: Final = "the quick brown fox"
_SETTLED: Final = 0.1  # of a core: it is done with what was begun
_SETTLE_SECONDS: Final = 20.0  # at most
_TRANSPORTS: Final = ("websocket", "sse", "long-polling")
_LOST: Final = (NotInstalled, ServerError, SwarmError, OSError, HTTPException)


@dataclass(frozen=True, slots=True)
class Peers:
    """Memory and CPU of other servers beside ours, for the same work."""

    subscribers: int = option(10_000, "Clients of each server.")
    warm_up: int = option(300, "Clients before the first look at its memory.")
    messages: int = option(8, "Messages a round.")
    rounds: int = option(3, "Rounds; the table shows their median.")
    held: int = option(15_000, "Held polls of each server in the bake-off; 0 for none.")
    transports: tuple[str, ...] = option(
        _TRANSPORTS, "Repeat for several.", name="--transport", choices=_TRANSPORTS
    )
    only: tuple[str, ...] = option(
        (), "Just these.", name="--only", choices=tuple(p.name for p in (*PEERS, *BAKE_OFF))
    )


class Subject(Protocol):
    """A server under test."""

    port: int

    def publish(self, data: bytes) -> None: ...
    def cpu(self) -> Cpu: ...
    def resident(self) -> int: ...


class _Ours:
    """A node, as a subject."""

    def __init__(self, node: Node) -> None:
        self.port = node.client_port
        self.cpu = node.cpu
        self.resident = node.resident
        self._node = node

    def publish(self, data: bytes) -> None:
        self._node.call("/api/publish", {"channel": CHANNEL, "data": json.loads(data)})


_OURS_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "websocket": {"transport": "websocket", "channel": CHANNEL},
    "sse": {"transport": "sse", "path": f"/sse?channel={CHANNEL}"},
    "long-polling": {"transport": "long-polling", "channel": CHANNEL},
}


@contextmanager
def _ours() -> Iterator[Subject]:
    with running_node() as node:
        yield _Ours(node)


def run(settings: Peers, progress: Progress) -> Report:
    """Every peer that can be had; who cannot is named in a remark."""
    report = Report("peers", {"subscribers": settings.subscribers, "held polls": settings.held})
    for transport in settings.transports:
        progress(f"peers: {OURS}, {transport}")
        with _ours() as subject:
            _measure(settings, subject, OURS, transport, _OURS_FIELDS[transport], report)
        for peer in PEERS:
            if transport in peer.transports and (not settings.only or peer.name in settings.only):
                progress(f"peers: {peer.name}, {transport}")
                _try(settings, peer, transport, report)
        progress(f"peers: the floor, {transport}")
        _measure_floor(settings, transport, report)
    if settings.held:
        _bake_off(settings, report, progress)
    _rank(report)
    return report


def _try(settings: Peers, peer: Peer, transport: str, report: Report) -> None:
    try:
        with running(peer) as subject:
            _measure(settings, subject, peer.name, transport, peer.transports[transport], report)
    except _LOST as error:
        remark = f"{peer.name} was not measured over {transport}: {error}"
        report.remarks.append(remark)


def _order(subject: Subject, fields: dict[str, Any], count: int, seed: int) -> Open:
    return Open(host=HOST, port=subject.port, count=count, seed=seed, **fields)


def _settle(subject: Subject) -> None:
    """Wait until it has taken in all who came: some clients are ready before their server is."""
    deadline = monotonic() + _SETTLE_SECONDS
    used = 1.0
    while used > _SETTLED * _QUIET and monotonic() < deadline:
        before = subject.cpu()
        sleep(_QUIET)
        used = subject.cpu().since(before).total


def _measure(
    settings: Peers,
    subject: Subject,
    name: str,
    transport: str,
    fields: dict[str, Any],
    report: Report,
) -> None:
    count = settings.subscribers
    with swarm_for(settings.warm_up) as early, swarm_for(count) as swarm:
        early.open(_order(subject, fields, settings.warm_up, 1))
        _settle(subject)
        resident = subject.resident()
        swarm.open(_order(subject, fields, count, 1_000))
        _settle(subject)
        grown = (subject.resident() - resident) / count / _KB
        sent = 0
        for number in range(-1, settings.rounds):
            before = subject.cpu()
            for _ in range(settings.messages):
                sent += 1
                _broadcast(subject, swarm, sent)
            sleep(_QUIET)
            used = subject.cpu().since(before).total
            if number >= 0:
                each = used / settings.messages / (count + settings.warm_up) * _US
                report.add(f"{transport}: {name}: CPU a delivery", "µs", each)
        later = (subject.resident() - resident) / count / _KB
        counts = swarm.tell()
    if counts.faults or not counts.fewest == counts.most == sent:
        report.remarks.append(
            f"{name}, {transport}: {sent} messages, but clients got {counts.fewest} to "
            f"{counts.most} {'; '.join(counts.faults[:1])}"
        )
    report.add(f"{transport}: {name}: memory a connection", "KB", grown)
    report.add(f"{transport}: {name}: memory a connection after traffic", "KB", later)


def _broadcast(subject: Subject, swarm: Swarm, number: int) -> None:
    swarm.expect(number)
    data = {"n": number, "sent_ns": monotonic_ns(), "text": _TEXT}
    subject.publish(json.dumps(data, separators=(",", ":")).encode())
    swarm.wait_reached()


def _measure_floor(settings: Peers, transport: str, report: Report) -> None:
    """The bare C loop with as many clients, and messages as long as ours."""
    size = 267 if transport == "long-polling" else 130
    with ExitStack() as stack:
        floor = stack.enter_context(running_floors(size, 1))[0]
        swarm = stack.enter_context(swarm_for(settings.subscribers))
        swarm.open(
            Open(
                transport="raw-cycle" if transport == "long-polling" else "raw",
                host=HOST,
                port=floor.port,
                count=settings.subscribers,
                seed=1,
                frame_bytes=size,
            )
        )
        sent = 0
        for number in range(-1, settings.rounds):
            before = floor.cpu()
            for _ in range(settings.messages):
                sent += 1
                swarm.expect(sent)
                floor.send()
                swarm.wait_reached()
            sleep(_QUIET)
            used = floor.cpu().since(before).total
            if number >= 0:
                each = used / settings.messages / settings.subscribers * _US
                report.add(f"{transport}: {C_FLOOR}: CPU a delivery", "µs", each)


def _bake_off(settings: Peers, report: Report, progress: Progress) -> None:
    peers = [peer for peer in BAKE_OFF if not settings.only or peer.name in settings.only]
    groups: list[list[Peer | None]] = [[None, *peers[: _TOGETHER - 1]]]
    rest = peers[_TOGETHER - 1 :]
    groups += [list(rest[at : at + _TOGETHER]) for at in range(0, len(rest), _TOGETHER)]
    for group in groups:
        names = [OURS if peer is None else peer.name for peer in group]
        progress(f"peers: holding polls on {', '.join(names)}")
        _hold(settings, group, report)


def _hold(settings: Peers, group: list[Peer | None], report: Report) -> None:
    """Side by side: their CPU is counted apart, and mostly they wait."""
    with ExitStack() as stack:
        subjects: dict[str, tuple[Subject, int, Swarm]] = {}
        for peer in group:
            name = OURS if peer is None else peer.name
            fields = (
                _OURS_FIELDS["long-polling"] if peer is None else peer.transports["long-polling"]
            )
            try:
                subject = stack.enter_context(_ours() if peer is None else running(peer))
                early = stack.enter_context(swarm_for(settings.warm_up))
                early.open(_order(subject, fields, settings.warm_up, 1))
                _settle(subject)
                resident = subject.resident()
                swarm = stack.enter_context(swarm_for(settings.held))
                swarm.open(_order(subject, fields, settings.held, 1_000))
            except _LOST as error:
                report.remarks.append(f"{name} was not in the bake-off: {error}")
                continue
            subjects[name] = subject, resident, swarm
        for subject, *_ in subjects.values():
            _settle(subject)
        before = {name: subject.cpu() for name, (subject, *_) in subjects.items()}
        sleep(_HOLD)
        for name, (subject, resident, swarm) in subjects.items():
            share = subject.cpu().since(before[name]).total / _HOLD * 100
            faults = swarm.tell().faults
            if faults:
                report.remarks.append(f"{name} lost polls of the bake-off: {faults[0]}")
                continue
            grown = (subject.resident() - resident) / settings.held / _KB
            report.add(f"bake-off: {name}: memory a held poll", "KB", grown)
            report.add(f"bake-off: {name}: CPU at polls of 30 s", "% of a core", share)


def _rank(report: Report) -> None:
    """Bars, and a remark wherever a peer is ahead of us."""
    for figure in report.figures:
        transport, name, what = figure.name.split(": ")
        plot = report.draw(f"{transport}: {what}", "", figure.unit)
        plot.bars[name] = figure.median
    for plot in report.plots:
        ours = plot.bars.get(OURS)
        if ours is None:
            continue
        ahead = {
            name: value for name, value in plot.bars.items() if value < ours and name != C_FLOOR
        }
        if ahead:
            told = ", ".join(
                f"{name} {value / ours:.2f} times ours" for name, value in ahead.items()
            )
            report.remarks.append(f"{plot.title}: ahead of us: {told}.")
