"""Plurk's case: a hundred thousand long polls on one machine, over a few nodes.

Each client is a browser with a session, one subscription, and a poll of 30
seconds. Each process may have 20,000 descriptors, and a local address some
28,000 ports, so clients come from several processes, each with a loopback
address of its own.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic, monotonic_ns, sleep
from typing import TYPE_CHECKING, Final

from loadtest.report import Report
from loadtest.server import HOST, running_nodes
from loadtest.settings import option
from loadtest.swarm.control import SwarmError, swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from loadtest.settings import Progress

AIM: Final = 1_000_000  # clients
MUST_SHARE: Final = 0.95  # of the polls that are due; an answer takes its time, too
_POLL_SECONDS: Final = 30.0
_CHANNEL: Final = "/bench/room"
_KB: Final = 1024
_GB: Final = 2**30
_NS: Final = 1e9
_SETTLE: Final = 32.0  # seconds: each client has polled once more
_OPEN_SECONDS: Final = 900.0
_WARM_UP: Final = 600
_AT_ONCE: Final = 40  # clients that each of the swarm's processes sets up at a time


@dataclass(frozen=True, slots=True)
class Plurk:
    """100,000 long polls of 30 s over six nodes of one machine."""

    clients: int = option(100_000, "Clients, all of one channel.")
    nodes: int = option(6, "Nodes of the ring.")
    seconds: float = option(30.0, "Seconds of polling that are counted.")
    publishes: int = option(2, "Messages that must reach every client.")


def run(settings: Plurk, progress: Progress) -> Report:
    """Open, let them poll, then publish to all of them."""
    report = Report("plurk", {"clients": settings.clients, "nodes": settings.nodes})
    with ExitStack() as stack:
        nodes = stack.enter_context(running_nodes(settings.nodes))
        ports = [node.client_port for node in nodes]
        order = Open(
            transport="long-polling",
            host=HOST,
            port=ports[0],
            ports=ports,
            count=_WARM_UP,
            seed=1,
            channel=_CHANNEL,
            at_once=_AT_ONCE,
        )
        early = stack.enter_context(swarm_for(_WARM_UP))
        early.open(order)
        resident = sum(node.resident() for node in nodes)
        progress(f"plurk: opening {settings.clients:,} clients")
        swarm = stack.enter_context(swarm_for(settings.clients))
        order.count, order.seed, order.sampled = settings.clients, 1_000, 200
        try:
            seconds = swarm.open(order, timeout=_OPEN_SECONDS)
        except SwarmError as error:
            words = "\n".join(node.log_tail() for node in nodes)
            raise SwarmError(f"{error}\n{words}") from error
        report.add("sessions set up", "/s", settings.clients / seconds)
        progress("plurk: each polls once more")
        sleep(_SETTLE)
        progress(f"plurk: {settings.seconds:.0f} s of polls")
        before, start = [node.cpu() for node in nodes], swarm.tell()
        sleep(settings.seconds)
        used = [node.cpu().since(then).total for node, then in zip(nodes, before, strict=True)]
        end = swarm.tell()
        elapsed = (end.at_ns - start.at_ns) / _NS
        if end.faults:
            raise RuntimeError(f"clients were lost: {end.faults[0]}")
        total = sum(node.resident() for node in nodes)
        report.add(
            "clients open and answering", "", swarm.clients, at_least=settings.clients, aim=AIM
        )
        report.add("handshakes told to come again", "", end.turned_away)
        whole = settings.seconds >= _POLL_SECONDS  # else some are not due
        report.add(
            "polls answered",
            "/s",
            (end.cycles - start.cycles) / elapsed,
            at_least=MUST_SHARE * settings.clients / _POLL_SECONDS if whole else None,
        )
        report.add("CPU of all nodes", "cores", sum(used) / elapsed)
        report.add("CPU of the busiest node", "cores", max(used) / elapsed)
        grown = (total - resident) / settings.clients / _KB
        report.add("memory a client, all nodes", "KB", grown)
        report.add("resident memory of all nodes", "GiB", total / _GB)
        for number in range(1, settings.publishes + 1):
            progress(f"plurk: publish {number}")
            swarm.expect(number)
            began = monotonic()
            data = {"n": number, "sent_ns": monotonic_ns(), "text": "to everybody"}
            nodes[0].call("/api/publish", {"channel": _CHANNEL, "data": data})
            reached = swarm.wait_reached(120.0) / _NS
            report.add("a publish until all clients had it", "s", reached - began)
        counts = swarm.tell()
        if counts.faults or not counts.fewest == counts.most == settings.publishes:
            raise RuntimeError(
                f"{settings.publishes} published, clients got {counts.fewest} to {counts.most}"
            )
    report.remarks.append(
        "A million clients would need some 55 processes on either side, of 20,000 descriptors "
        "each: more than the memory and the two cores of such a machine have room for."
    )
    report.remarks.append(
        "Plurk's own figures on Netty (2009): 100,000 connections, 25-33 KB each, "
        "a fifth of four cores."
    )
    return report
