"""What a ring adds to a group publish: the same subscribers on one node, and over several."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.room import Room
from loadtest.server import HOST, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_ADDED: Final = 15.0  # per cent
AIM_ADDED: Final = 5.0
_CHANNEL: Final = "/bench/room"
_REST: Final = 4.0  # seconds in which the ring's own CPU is counted


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """A group publish through a ring, against one node with the same subscribers."""

    nodes: int = option(3, "Nodes of the ring.")
    subscribers: int = option(9_000, "Subscribers, spread evenly.")
    messages: int = option(20, "Messages a round.")
    rounds: int = option(5, "Rounds; the table shows their median.")
    transport: str = option("websocket", "What the subscribers use.")


def run(settings: ClusterShape, progress: Progress) -> Report:
    """Rounds alternate between the two; heartbeats and keep-alives are counted apart."""
    report = Report("cluster", {"nodes": settings.nodes, "subscribers": settings.subscribers})
    with ExitStack() as stack:
        rooms = []
        for number in (1, settings.nodes):
            progress(f"cluster: opening, {number} nodes")
            nodes = stack.enter_context(running_nodes(number))
            swarm = stack.enter_context(swarm_for(settings.subscribers))
            ports = [node.client_port for node in nodes]
            swarm.open(
                Open(
                    transport=settings.transport,
                    host=HOST,
                    port=ports[0],
                    ports=ports,
                    count=settings.subscribers,
                    seed=number,
                    channel=_CHANNEL,
                )
            )
            room = Room(nodes, swarm, _CHANNEL)
            room.publish(2)
            idle = room.rest(_REST)
            report.add(f"{number} nodes: CPU while nothing is published", "% of a core", idle * 100)
            rooms.append(room)
        for number in range(-1, settings.rounds):
            progress(f"cluster: round {number + 1} of {settings.rounds}")
            one, many = [room.cost(settings.messages) for room in rooms]
            if number < 0:
                continue
            report.add("1 node: CPU a delivery", "µs", one)
            report.add(f"{settings.nodes} nodes: CPU a delivery, all of them", "µs", many)
            report.add(
                "added by the ring", "%", (many / one - 1) * 100, at_most=MUST_ADDED, aim=AIM_ADDED
            )
        for room in rooms:
            room.check()
    return report
