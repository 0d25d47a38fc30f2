"""How many `/meta/connect` cycles a second one core serves, answered at once."""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.server import HOST, running_node
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

BOUND_CYCLES: Final = 25_000.0
_NS: Final = 1e9
_CHANNEL: Final = "/bench/room"


@dataclass(frozen=True, slots=True)
class Connect:
    """/meta/connect cycles a second on one core, each with ``advice.timeout`` 0."""

    clients: int = option(200, "Clients that poll without a pause.")
    seconds: float = option(4.0, "Length of a round.")
    rounds: int = option(5, "Rounds; the table shows their median.")


def run(settings: Connect, progress: Progress) -> Report:
    """The first round is warm-up."""
    report = Report("connect", {"clients": settings.clients, "seconds a round": settings.seconds})
    with running_node() as node, swarm_for(settings.clients) as swarm:
        progress("connect: opening")
        order = Open(
            transport="long-polling",
            host=HOST,
            port=node.client_port,
            count=settings.clients,
            seed=1,
            channel=_CHANNEL,
            poll_timeout=0,
        )
        swarm.open(order)
        for number in range(-1, settings.rounds):
            progress(f"connect: round {number + 1} of {settings.rounds}")
            start, before = swarm.tell(), node.cpu()
            sleep(settings.seconds)
            end, after = swarm.tell(), node.cpu()
            if end.faults:
                raise RuntimeError(f"clients were lost: {end.faults[0]}")
            if number < 0:
                continue
            cycles = end.cycles - start.cycles
            used = after.since(before)
            elapsed = (end.at_ns - start.at_ns) / _NS
            report.add(
                "connect cycles a second of server CPU",
                "/s",
                cycles / used.total,
                at_least=BOUND_CYCLES,
                paced=True,
            )
            report.add("connect cycles a second, by the clock", "/s", cycles / elapsed)
            report.add("CPU of the node", "cores", used.total / elapsed)
            report.add("share of it in the kernel", "%", 100 * used.system / used.total)
    return report
