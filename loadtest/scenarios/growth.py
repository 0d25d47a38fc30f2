"""How cost grows: with sessions, subscribers, channels and nodes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.room import Room
from loadtest.server import HOST, Node, running_node, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

_CHANNEL: Final = "/bench/room"
_KB: Final = 1024
_MB: Final = 2**20
_REST: Final = 10.0  # seconds in which idle CPU is counted
_QUIET: Final = 1.0
_WARM_UP: Final = 200
_SESSIONS_OF_CHANNELS: Final = 5_000
_SUBSCRIBERS_OF_NODES: Final = 4_500
_ROOMS_EACH: Final = 20
_WITH_CHANNELS: Final = "Memory a session with its channels"
_LINEAR: Final = 1.5  # times: what the largest may cost a unit, against the smallest


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory and CPU against sessions, subscribers, channels and nodes."""

    sessions: tuple[str, ...] = option(("1000", "5000", "15000"), "Sessions.", name="--sessions")
    channels: tuple[str, ...] = option(
        ("1", "100", "10000", "100000"), "Channels.", name="--channels"
    )
    nodes: tuple[str, ...] = option(("1", "3", "6", "9"), "Nodes.", name="--nodes")
    rest: float = option(30.0, "Seconds of idle CPU: each session pinged and connected again.")
    messages: int = option(10, "Messages a round.")
    rounds: int = option(3, "Rounds; the plots show their medians.")


def run(settings: Growth, progress: Progress) -> Report:
    """Sessions and subscribers in one go, then channels, then nodes."""
    report = Report("growth", {"messages a round": settings.messages})
    for sessions in map(int, settings.sessions):
        progress(f"growth: {sessions:,} sessions")
        _with_sessions(settings, sessions, report)
    for channels in map(int, settings.channels):
        progress(f"growth: {channels:,} channels")
        _with_channels(channels, report)
    _with_nodes(settings, report, progress)
    _judge(report)
    return report


def _order(nodes: list[Node], count: int, **more: int) -> Open:
    ports = [node.client_port for node in nodes]
    order = Open("websocket", HOST, ports[0], count, 1, channel=_CHANNEL, ports=ports)
    order.rooms, order.rooms_each = more.get("rooms", 0), more.get("rooms_each", 0)
    return order


def _point(report: Report, title: str, x: str, y: str, at: float, value: float) -> None:
    """One point, as a figure and in its plot."""
    report.add(f"{title}: {at:,.0f} {x}", y, value)
    plot = report.draw(title, x, y, log_x=True)
    points = dict(plot.series.get("node", []))
    points[at] = report.find(f"{title}: {at:,.0f} {x}").median
    plot.series["node"] = sorted(points.items())


def _with_sessions(settings: Growth, sessions: int, report: Report) -> None:
    with running_node() as node, swarm_for(_WARM_UP) as early, swarm_for(sessions) as swarm:
        early.open(_order([node], _WARM_UP))
        sleep(_QUIET)
        resident = node.resident()
        swarm.open(_order([node], sessions))
        sleep(_QUIET)
        grown = node.resident() - resident
        room = Room([node], swarm, _CHANNEL)
        _point(report, "Resident memory", "sessions", "MB", sessions, grown / _MB)
        _point(report, "Memory a session", "sessions", "KB", sessions, grown / sessions / _KB)
        idle = room.rest(settings.rest) * 100
        _point(report, "CPU while idle", "sessions", "% of a core", sessions, idle)
        room.publish(2)
        for _ in range(settings.rounds):
            cost = room.cost(settings.messages)
            _point(report, "CPU a delivery", "subscribers", "µs", sessions, cost)


def _with_channels(channels: int, report: Report) -> None:
    """The same sessions, each in 20 of the channels: as many subscriptions all the time.

    With one channel each is in that one; what counts is what a subscription costs.
    """
    sessions = _SESSIONS_OF_CHANNELS
    each = min(channels, _ROOMS_EACH)
    with running_node() as node, swarm_for(_WARM_UP) as early, swarm_for(sessions) as swarm:
        early.open(_order([node], _WARM_UP))
        sleep(_QUIET)
        resident = node.resident()
        swarm.open(_order([node], sessions, rooms=channels, rooms_each=each))
        sleep(_QUIET)
        grown = (node.resident() - resident) / sessions / _KB
        _point(report, _WITH_CHANNELS, "channels", "KB", channels, grown)
        idle = Room([node], swarm, _CHANNEL).rest(_REST) * 100
        _point(report, "CPU while idle, by channels", "channels", "% of a core", channels, idle)


def _with_nodes(settings: Growth, report: Report, progress: Progress) -> None:
    subscribers = _SUBSCRIBERS_OF_NODES
    for number in map(int, settings.nodes):
        progress(f"growth: {number} nodes")
        with ExitStack() as stack:
            nodes = stack.enter_context(running_nodes(number))
            swarm = stack.enter_context(swarm_for(subscribers))
            swarm.open(_order(nodes, subscribers))
            room = Room(nodes, swarm, _CHANNEL)
            room.publish(2)
            idle = room.rest(_REST) / number * 100
            _point(report, "CPU of a node while idle", "nodes", "% of a core", number, idle)
            for _ in range(settings.rounds):
                cost = room.cost(settings.messages)
                _point(report, "CPU a delivery, all nodes", "nodes", "µs", number, cost)


def _judge(report: Report) -> None:
    """Say of what costs more a unit, the more there is, that it does."""
    for title in ("Memory a session", "CPU a delivery", "CPU a delivery, all nodes"):
        _judge_growth(report, title, _points(report, title))
    idle = _points(report, "CPU while idle")
    _judge_growth(report, "CPU a session while idle", [(at, cost / at) for at, cost in idle])
    idle = [(at, cost) for at, cost in _points(report, "CPU of a node while idle") if at > 1]
    _judge_growth(report, "CPU of a node while idle, among others", idle)
    held = [(at, kb) for at, kb in _points(report, _WITH_CHANNELS) if at >= _ROOMS_EACH]
    if len(held) > 1:
        (few, least), (many, most) = held[0], held[-1]
        each = (most - least) * _SESSIONS_OF_CHANNELS / (many - few)
        report.remarks.append(
            f"From {few:,.0f} to {many:,.0f} channels: {each:.2f} KB a channel, "
            "with as many subscriptions."
        )


def _points(report: Report, title: str) -> list[tuple[float, float]]:
    return report.draw(title, "", "").series.get("node", [])


def _judge_growth(report: Report, what: str, points: list[tuple[float, float]]) -> None:
    if len(points) > 1:
        growth = points[-1][1] / points[0][1]
        verdict = "no worse than linear" if growth <= _LINEAR else "worse than linear"
        report.remarks.append(f"{what}: {growth:.2f} times from least to most: {verdict}.")
