"""Long-polling behind a round-robin proxy: without stickiness against with it.

Without it, two of three polls land on a node that does not hold the session and
are forwarded to the one that does. Only the nodes' CPU counts, not the proxy's.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.proxy import running_proxy
from loadtest.report import Report
from loadtest.room import Room
from loadtest.server import HOST, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_TIMES: Final = 2.5
AIM_TIMES: Final = 2.0
_CHANNEL: Final = "/bench/room"
_REST: Final = 3.0
_WAYS: Final = (("sticky", True), ("without stickiness", False))


@dataclass(frozen=True, slots=True)
class Proxy:
    """Long-polling through a round-robin proxy, without and with stickiness."""

    nodes: int = option(3, "Nodes behind the proxy.")
    clients: int = option(2_000, "Clients that poll.")
    messages: int = option(10, "Messages a round.")
    rounds: int = option(4, "Rounds; the table shows their median.")


def run(settings: Proxy, progress: Progress) -> Report:
    """Two rings, two proxies; rounds alternate, and the first of each is warm-up."""
    report = Report("proxy", {"nodes": settings.nodes, "clients": settings.clients})
    with ExitStack() as stack:
        rooms = {}
        for seed, (way, sticky) in enumerate(_WAYS):
            progress(f"proxy: opening, {way}")
            nodes = stack.enter_context(running_nodes(settings.nodes))
            port = stack.enter_context(running_proxy(nodes, sticky=sticky))
            swarm = stack.enter_context(swarm_for(settings.clients))
            swarm.open(
                Open(
                    transport="long-polling",
                    host=HOST,
                    port=port,
                    count=settings.clients,
                    seed=seed,
                    channel=_CHANNEL,
                )
            )
            rooms[way] = Room(nodes, swarm, _CHANNEL)
            rooms[way].publish(2)
            rooms[way].rest(_REST)
        for number in range(-1, settings.rounds):
            progress(f"proxy: round {number + 1} of {settings.rounds}")
            costs = {way: room.cost(settings.messages) for way, room in rooms.items()}
            if number < 0:
                continue
            for way, cost in costs.items():
                report.add(f"{way}: CPU a delivery, all nodes", "µs", cost)
            report.add(
                "cost without stickiness",
                "times",
                costs["without stickiness"] / costs["sticky"],
                at_most=MUST_TIMES,
                aim=AIM_TIMES,
            )
        for room in rooms.values():
            room.check()
    return report
