"""What a ring adds to a group publish: the same subscribers on one node, and over several.

Beside both, as many nodes that know nothing of each other, each of which is published
to: what only more processes cost on this machine, without a ring.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.room import Room, rest_together
from loadtest.server import HOST, Node, running_node, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

MUST_ADDED: Final = 15.0  # per cent
AIM_ADDED: Final = 5.0
_CHANNEL: Final = "/bench/room"
_PATIENT: Final = ("--timeout", "3600")  # no client connects again between the publishes
_WARM_UP: Final = 5  # messages


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """A group publish through a ring, against one node with the same subscribers."""

    nodes: int = option(3, "Nodes of the ring.")
    subscribers: int = option(9_000, "Subscribers, spread evenly.")
    messages: int = option(30, "Messages a round.")
    rounds: int = option(10, "Rounds; the table shows their median.")
    rest: float = option(50.0, "Seconds in which idle CPU is counted: pings come every 25.")
    transport: str = option("websocket", "What the subscribers use.")


def run(settings: ClusterShape, progress: Progress) -> Report:
    """Rounds take turns; heartbeats and pings are counted apart, over whole periods."""
    number = settings.nodes
    report = Report("cluster", {"nodes": number, "subscribers": settings.subscribers})
    with ExitStack() as stack:

        def opened(name: str, nodes: list[Node], *, apart: bool = False) -> Room:
            progress(f"cluster: opening, {name}")
            return _open(settings, stack, nodes, apart=apart)

        rooms = {
            "1 node": opened("1 node", stack.enter_context(running_nodes(1, _PATIENT))),
            f"{number} nodes": opened(
                f"{number} nodes", stack.enter_context(running_nodes(number, _PATIENT))
            ),
            f"{number} nodes apart": opened(
                f"{number} nodes apart",
                [stack.enter_context(running_node(_PATIENT)) for _ in range(number)],
                apart=True,
            ),
        }
        progress(f"cluster: {settings.rest:.0f} s of silence")
        for name, idle in zip(rooms, rest_together([*rooms.values()], settings.rest), strict=True):
            report.add(f"{name}: CPU while nothing is published", "% of a core", idle * 100)
        turns = list(rooms)
        for turn in range(-1, settings.rounds):
            progress(f"cluster: round {turn + 1} of {settings.rounds}")
            costs = {name: rooms[name].cost(settings.messages) for name in turns}
            turns.append(turns.pop(0))  # whoever is first comes after a pause
            if turn >= 0:
                _add(report, [costs[name] for name in rooms], number)
        for room in rooms.values():
            room.check()
    return report


def _open(settings: ClusterShape, stack: ExitStack, nodes: list[Node], *, apart: bool) -> Room:
    swarm = stack.enter_context(swarm_for(settings.subscribers))
    ports = [node.client_port for node in nodes]
    swarm.open(
        Open(
            transport=settings.transport,
            host=HOST,
            port=ports[0],
            ports=ports,
            count=settings.subscribers,
            seed=1,
            channel=_CHANNEL,
        )
    )
    room = Room(nodes, swarm, _CHANNEL, publishers=nodes if apart else nodes[:1])
    room.publish(_WARM_UP)
    return room


def _add(report: Report, costs: list[float], number: int) -> None:
    one, ring, apart = costs
    report.add("1 node: CPU a delivery", "µs", one)
    report.add(f"{number} nodes: CPU a delivery, all of them", "µs", ring)
    report.add(f"{number} nodes apart: CPU a delivery, all of them", "µs", apart)
    added = (ring / one - 1) * 100
    report.add("added by the ring", "%", added, at_most=MUST_ADDED, aim=AIM_ADDED)
    report.add(f"added by {number} nodes apart", "%", (apart / one - 1) * 100)
