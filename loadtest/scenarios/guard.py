"""A quick look at what must not double: costs as ratios to the floor, and memory.

For CI: seconds, and bounds so wide that a busy machine keeps them. Noise only
ever adds, so the cheapest round of each counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.scenarios import broadcast
from loadtest.server import HOST, PROGRAM, running_node
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_TIMES: Final = {"websocket": 2.0, "sse": 2.0, "long-polling": 7.5}  # the floor
MUST_KB: Final = 2.0
_KB: Final = 1024
_SETTLE: Final = 0.5
_WARM_UP: Final = 200
_CHANNEL: Final = "/bench/room"
_TRANSPORTS: Final = ("websocket", "sse", "long-polling")


@dataclass(frozen=True, slots=True)
class Guard:
    """A quick check that nothing has doubled: for CI."""

    subscribers: int = option(1_200, "Subscribers of each transport.")
    messages: int = option(8, "Messages a round.")
    rounds: int = option(3, "Rounds; the cheapest counts.")
    sessions: int = option(2_500, "Sessions whose memory is looked at; 0 for none.")
    transports: tuple[str, ...] = option(
        _TRANSPORTS, "Repeat for several.", name="--transport", choices=_TRANSPORTS
    )


def run(settings: Guard, progress: Progress, program: tuple[str, ...] = PROGRAM) -> Report:
    """`program` runs the node; tests give a costlier one."""
    report = Report("guard", {"subscribers": settings.subscribers})
    asked = broadcast.Broadcast(settings.subscribers, settings.messages, settings.rounds)
    for transport in settings.transports:
        found = Report("", {})
        broadcast.measure(asked, transport, found, progress, program, floors=1)
        ours, floor = found.figures[0], found.figures[1]
        report.add(
            f"{transport}: a delivery, to the {floor.name.partition(': ')[2]}",
            "times",
            min(ours.rounds) / min(floor.rounds),
            at_most=MUST_TIMES[transport],
        )
    if settings.sessions:
        progress("guard: memory")
        _weigh(settings.sessions, report, program)
    return report


def _weigh(sessions: int, report: Report, program: tuple[str, ...]) -> None:
    with (
        running_node(program=program) as node,
        swarm_for(_WARM_UP) as early,
        swarm_for(sessions) as swarm,
    ):
        order = Open("long-polling", HOST, node.client_port, _WARM_UP, 1, channel=_CHANNEL)
        early.open(order)
        sleep(_SETTLE)
        resident = node.resident()
        order.count, order.seed = sessions, 1_000
        swarm.open(order)
        sleep(_SETTLE)
        grown = (node.resident() - resident) / sessions / _KB
    report.add("long-polling: memory a session", "KB", grown, at_most=MUST_KB)
