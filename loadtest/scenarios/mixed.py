"""Mixed sessions on one node, a spike that it cannot bear, and how it comes back.

As many long-polling, WebSocket and SSE sessions, all of one channel. Then more is
published than polls can be cycled at: the node gets late, asks clients to pause
between polls, lets nobody new in, and recovers. Every client's every message is
checked, and somebody new knocks each second.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.report import Report
from loadtest.server import HOST, Node, running_node
from loadtest.settings import option
from loadtest.swarm.control import Swarm, swarm_for, swarm_processes
from loadtest.swarm.orders import Open, Publish, Published
from loadtest.timeline import Moment, Panel, draw, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtest.settings import Progress
    from loadtest.swarm.control import SwarmProcess

_CHANNEL: Final = "/bench/mixed"
_TRANSPORTS: Final = ("long-polling", "websocket", "sse")
_HANDSHAKE: Final = json.dumps(
    [
        {
            "channel": "/meta/handshake",
            "version": "1.0",
            "supportedConnectionTypes": ["long-polling"],
        }
    ]
)
_DOOR_SECONDS: Final = 30.0  # that a newcomer waits for an answer
_LAST_SECONDS: Final = 120.0  # until all is delivered and polls are held again
_ALL_BACK: Final = 0.98  # of the long polls are held: some are on their way at any time
_SAMPLED: Final = 300  # clients of each transport whose messages are timed
_STALLS: Final = 3
_BREATH: Final = 0.1  # seconds between them
_SPARE: Final = 1  # sessions that may come beside those that stay


@dataclass(frozen=True, slots=True)
class Mixed:
    """Long-polling, WebSocket and SSE sessions on one node: a spike, and the recovery."""

    sessions: int = option(15_000, "Sessions, a third of each transport.")
    calm: float = option(20.0, "Seconds before the spike.")
    calm_rate: float = option(0.2, "Messages a second before and after it.")
    spike: float = option(20.0, "Seconds of the spike.")
    spike_rate: float = option(10.0, "Messages a second in it, each to every session.")
    after: float = option(60.0, "Seconds after it, at least.")
    stall: float = option(0.0, "Seconds at a time for which the node gets no CPU in the spike.")
    shed_lag: float = option(0.5, "The node's setting.")
    refuse_lag: float = option(1.5, "The node's setting.")
    picture: str = option("", "Where to draw the curves (SVG).")


class _Run:
    """The node, its clients, and what was seen of them."""

    def __init__(
        self, settings: Mixed, node: Node, swarms: dict[str, Swarm], publisher: SwarmProcess
    ) -> None:
        self.settings = settings
        self.node = node
        self.swarms = swarms
        self.moments: list[Moment] = []
        self.published = 0
        self.received = 0
        self._publisher = publisher
        self._began = monotonic()
        self._before = dict.fromkeys(swarms, (0.0, 0, 0))  # clock, cycles, deliveries
        self.latency = {name: Latency() for name in swarms}
        for name in swarms:
            self._figures(name)

    def phase(self, name: str, rate: float, seconds: float, *, stall: float = 0.0) -> None:
        """Publish at `rate` for `seconds`, and look each second until all of it is accepted."""
        self._publisher.order(
            Publish(
                host=HOST,
                port=self.node.client_port,
                api_key=self.node.api_key,
                targets=[_CHANNEL],
                rate=rate,
                batch=1,
                connections=1,
                seconds=seconds,
            )
        )
        ends = monotonic() + seconds
        while monotonic() < ends:
            if stall:
                self._stall(stall)
            else:
                self._wait()
            self.look(name)
        done = self._publisher.wait(Published, 60.0)
        if done.refused or done.faults:
            raise RuntimeError(f"{done.refused} messages refused: {done.faults[:1]}")
        self.published += done.accepted

    def _stall(self, seconds: float) -> None:
        """As on a machine that has other things to do: three times, with a breath between."""
        for _ in range(_STALLS):
            sleep(_BREATH)
            os.kill(self.node.pid, signal.SIGSTOP)
            try:
                sleep(seconds)
            finally:
                os.kill(self.node.pid, signal.SIGCONT)

    def _wait(self) -> None:
        """Until the next second begins."""
        sleep(1.0 - (monotonic() - self._began) % 1.0)

    def look(self, phase: str) -> Moment:
        """Note how the node and the clients are now."""
        door = self.knock()
        moment = Moment(monotonic() - self._began, phase, self.metrics(), door=door)
        for name in self.swarms:
            moment.clients[name] = self._figures(name)
        self.moments.append(moment)
        return moment

    def metrics(self) -> dict[str, float]:
        return metrics_of(self.node.ops("/metrics")[1].decode())

    def _figures(self, transport: str) -> dict[str, float]:
        counts = self.swarms[transport].tell(60.0)
        if counts.faults:
            raise RuntimeError(f"{transport}: clients were lost: {counts.faults[0]}")
        clock, cycles, deliveries = self._before[transport]
        now = counts.at_ns / 1e9
        self._before[transport] = (now, counts.cycles, counts.deliveries)
        seen = Latency()
        seen.add_encoded(counts.latency)
        self.latency[transport].add_encoded(counts.latency)
        figures = {
            "polls": (counts.cycles - cycles) / (now - clock),
            "deliveries": (counts.deliveries - deliveries) / (now - clock),
        }
        if seen.count:
            figures |= {"p50": seen.percentile_ms(50) / 1e3, "p99": seen.percentile_ms(99) / 1e3}
        return figures

    def knock(self, leave: bool = True) -> int:
        """Somebody new comes, and (if let in) goes: the status of the answer.

        Raises `RuntimeError` if one is refused without being told when to come back.
        """
        door = HTTPConnection(HOST, self.node.client_port, timeout=_DOOR_SECONDS)
        try:
            status, told, answer = _ask(door, _HANDSHAKE)
            if status == 503 and not told:
                raise RuntimeError("refused without Retry-After")
            if status == 200 and leave:
                goodbye = {"channel": "/meta/disconnect", "clientId": answer[0]["clientId"]}
                _ask(door, json.dumps([goodbye]))
            return status
        finally:
            door.close()

    def settle(self) -> None:
        """Go on until every client has everything and polls are held as before.

        Raises `RuntimeError` if that takes too long, or somebody has too much.
        """
        deadline = monotonic() + _LAST_SECONDS
        while monotonic() < deadline:
            self._wait()
            node = self.look("after").node
            polls = self.swarms["long-polling"].clients
            held = node["held_polls"] >= polls * _ALL_BACK
            if held and not node["shed_interval_seconds"] and self._all_have_all():
                return
        raise RuntimeError(f"not as before after {_LAST_SECONDS:.0f} s: {self.moments[-1]}")

    def _all_have_all(self) -> bool:
        self.received = 0
        for name, swarm in self.swarms.items():
            counts = swarm.tell()
            self.received += counts.deliveries
            if counts.most > self.published:
                raise RuntimeError(f"{name}: {counts.most} of {self.published} messages")
            if counts.fewest < self.published:
                return False
        return True


def _ask(door: HTTPConnection, body: str) -> tuple[int, str, list[dict[str, str]]]:
    door.request("POST", "/bayeux", body, {"Content-Type": "application/json"})
    response = door.getresponse()
    return response.status, response.headers.get("Retry-After", ""), json.loads(response.read())


def run(settings: Mixed, progress: Progress) -> Report:
    """Open everybody, then calm, spike, recovery; at the end the door of a full node."""
    each = settings.sessions // len(_TRANSPORTS)
    total = each * len(_TRANSPORTS)
    options = (
        "--shed-lag", str(settings.shed_lag), "--refuse-lag", str(settings.refuse_lag),
        "--max-sessions", str(total + _SPARE),
    )  # fmt: skip
    with ExitStack() as stack:
        node = stack.enter_context(running_node(options))
        swarms = {name: stack.enter_context(swarm_for(each)) for name in _TRANSPORTS}
        (publisher,) = stack.enter_context(swarm_processes(1))
        for number, (name, swarm) in enumerate(swarms.items()):
            progress(f"mixed: opening {each:,} over {name}")
            swarm.open(_order(name, node, each, number))
        tried = _Run(settings, node, swarms, publisher)
        progress("mixed: before the spike")
        try:
            tried.phase("before", settings.calm_rate, settings.calm)
            progress("mixed: the spike")
            tried.phase("spike", settings.spike_rate, settings.spike, stall=settings.stall)
            progress("mixed: after it")
            tried.phase("after", settings.calm_rate, settings.after)
            tried.settle()
        finally:
            _picture(settings, tried, total)
        tried.knock(leave=False)
        full = tried.knock(leave=False)
        return _report(settings, tried, total, full)


def _picture(settings: Mixed, tried: _Run, total: int) -> None:
    """Also of a run that fails: it shows why."""
    if settings.picture and tried.moments:
        title = f"{total:,} sessions on one node: a spike, and the recovery"
        draw(Path(settings.picture), title, tried.moments, _panels(settings))


def _order(transport: str, node: Node, count: int, number: int) -> Open:
    """Every client looks whether a message is missing or doubled, and some at all of each."""
    order = Open(transport, HOST, node.client_port, count, number + 1, channel=_CHANNEL)
    order.sampled, order.numbered = _SAMPLED, True
    order.at_once = 50
    if transport == "sse":
        order.path = f"/sse?channel={_CHANNEL}"
    return order


def _report(settings: Mixed, tried: _Run, total: int, full: int) -> Report:
    moments = tried.moments
    report = Report(
        "mixed",
        {
            "sessions": total,
            "published": tried.published,
            "shed_lag": settings.shed_lag,
            "refuse_lag": settings.refuse_lag,
        },
    )
    sessions = [moment.node["sessions"] for moment in moments]
    swept = tried.metrics()["sessions_swept_total"]
    report.add("sessions, fewest", "", min(sessions), at_least=total)
    report.add("sessions, most", "", max(sessions), at_most=total)
    report.add("sessions swept", "", swept, at_most=0)
    wanted = tried.published * total
    report.add("messages delivered, each once and in order", "", tried.received, at_least=wanted)
    intervals = [moment.node["shed_interval_seconds"] for moment in moments]
    report.add("longest pause asked for", "s", max(intervals), at_least=1.0)
    report.add("polls put off", "", moments[-1].node["polls_put_off_total"], at_least=1)
    spike_ends = max(moment.at for moment in moments if moment.phase == "spike")
    shed = [moment.at for moment in moments if moment.node["shed_interval_seconds"]]
    ends = max(shed, default=spike_ends)
    report.add("from the spike's end until polls are held again", "s", ends - spike_ends)
    report.add("times that the pause was raised from nothing", "", _rises(intervals))
    for phase in ("before", "spike", "after"):
        _add_phase(report, phase, [moment for moment in moments if moment.phase == phase])
    for name, latency in tried.latency.items():
        report.add(f"{name}: publish to client, p50 of all", "s", latency.percentile_ms(50) / 1e3)
        report.add(f"{name}: publish to client, worst", "s", latency.worst_ms() / 1e3)
    report.add("newcomers refused with 503", "", sum(m.door == 503 for m in moments), at_least=1)
    report.add("status for one too many", "", full, at_least=503)
    return report


def _rises(intervals: Iterable[float]) -> int:
    rises, before = 0, 0.0
    for interval in intervals:
        rises += interval > 0 and not before
        before = interval
    return rises


def _add_phase(report: Report, phase: str, moments: list[Moment]) -> None:
    for moment in moments:
        report.add(f"{phase}: loop lag, worst of a second", "s", _lag(moment))
        report.add(f"{phase}: polls", "/s", moment.clients["long-polling"]["polls"])


def _lag(moment: Moment) -> float:
    return max(moment.node["loop_lag_seconds"], moment.node["event_wait_seconds"])


def _p99(transport: str, moment: Moment) -> float | None:
    return moment.clients[transport].get("p99")


def _panels(settings: Mixed) -> list[Panel]:
    delivery = {f"{name} p99": partial(_p99, name) for name in _TRANSPORTS}
    return [
        Panel(
            f"lag of the loop, s (limits: {settings.shed_lag:g} and {settings.refuse_lag:g})",
            {
                "timers": lambda moment: moment.node["loop_lag_seconds"],
                "ready sockets": lambda moment: moment.node["event_wait_seconds"],
            },
        ),
        Panel(
            "pause asked for between polls, s",
            {"pause": lambda moment: moment.node["shed_interval_seconds"]},
            steps=True,
        ),
        Panel("polls held", {"held": lambda moment: moment.node["held_polls"]}),
        Panel(
            "polls answered a second",
            {"polls": lambda moment: moment.clients["long-polling"]["polls"]},
        ),
        Panel("from publish to client, s", delivery, log=True),
        Panel("sessions", {"sessions": lambda moment: moment.node["sessions"]}),
        Panel(
            "newcomers: 1 let in, 0 refused (503)",
            {"let in": lambda moment: float(moment.door == 200)},
            marks=True,
        ),
    ]
