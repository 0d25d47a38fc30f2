"""What a drill does, one step after the other; each ends with the ring whole again."""

from __future__ import annotations

import datetime as dt
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ops.drilling.confine import can_confine
from ops.drilling.load import CHANNELS, Publisher, Readers, copies, hold_open, speak_tls
from ops.drilling.network import cut_in_two, is_isolated
from ops.drilling.overload import clients, crowded, memory, stutter
from ops.drilling.prometheus import DrillFailed, wait_for
from ops.drilling.watching import LASTING, expect, intact, seen, settle

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from ops.drilling.ring import Ring

SOME: Final = 8.0  # seconds of traffic, so that there is something to lose


@dataclass(frozen=True)
class Step:
    """`look`: what dashboards show meanwhile. `alerts`: what must fire. `possible`: here."""

    name: str
    does: str
    look: str
    alerts: frozenset[str]
    run: Callable[[Ring, Callable[[str], None]], None]
    possible: Callable[[], bool] = lambda: True


def _healthy(ring: Ring, say: Callable[[str], None]) -> None:
    time.sleep(10.0)
    firing = ring.prometheus.alerts("firing")
    if firing:
        raise DrillFailed(f"nothing has been broken yet, and there is {sorted(firing)}")
    for what, promql, right in (
        ("views", "cometring:views:count", 1.0),
        ("targets up", 'count(up{job="cometring"} == 1)', float(len(ring.nodes))),
        ("frozen", "max(cometring_frozen)", 0.0),
        ("suspected", "max(cometring_suspected)", 0.0),
    ):
        ring.prometheus.wait_for_value(promql, right, 10.0)
        say(f"{what}: {right:g}")


def _kill(ring: Ring, say: Callable[[str], None]) -> None:
    before = ring.prometheus.alerts("firing")
    victim = ring.nodes[-1]
    with Readers(ring.doors), Publisher(ring.doors, ring.key) as publisher:
        time.sleep(SOME)
        victim.end()
        took = ring.prometheus.wait_for_value("cometring:members:max", len(ring.nodes) - 1, 30.0)
        say(f"{victim.name} is killed; Prometheus sees a view without it after {took:.0f} s")
        expect(ring, say, "MemberDied", *(() if ring.forgets_the_dead else ("NodeDown",)))
        seen(ring, say, "kill")
        victim.start()
        settle(ring, say)
    say(f"publishers were told: {publisher}")
    intact(ring, say, before)


def _hang(ring: Ring, say: Callable[[str], None]) -> None:
    before = ring.prometheus.alerts("firing")
    victim = ring.nodes[-1]
    with Readers(ring.doors), Publisher(ring.doors, ring.key) as publisher:
        time.sleep(SOME)
        victim.send(signal.SIGSTOP)
        took = ring.prometheus.wait_for_value("cometring:members:max", len(ring.nodes) - 1, 30.0)
        say(f"{victim.name} hangs; Prometheus sees a view without it after {took:.0f} s")
        expect(ring, say, "NodeDown", "MemberDied")
        victim.send(signal.SIGCONT)
        settle(ring, say)
    say(f"publishers were told: {publisher}")
    intact(ring, say, before)


def _partition(ring: Ring, say: Callable[[str], None]) -> None:
    minority = ", ".join(node.name for node in ring.nodes if node.prefix)
    before = ring.prometheus.alerts("firing")
    doors = [node.door for node in ring.nodes]
    with Readers(doors), Publisher(doors, ring.key) as publisher:
        time.sleep(SOME)
        with cut_in_two(ring):
            say(f"{minority} are cut off from the others, not from Prometheus")
            expect(
                ring, say,
                "RingFrozen", "ViewSplit", "LeaseLost", "MemberSuspected", "PublishesRefused",
                "ReplicaLag",
            )  # fmt: skip
            seen(ring, say, "partition")
        settle(ring, say)
    say(f"publishers were told: {publisher}")
    intact(ring, say, before)


def _majority_lost(ring: Ring, say: Callable[[str], None]) -> None:
    """Kill all nodes that have a channel's log, under load, and bring them back with empty ones.

    They are three, and of five nodes a majority.
    """
    holders = copies(ring.doors[0], CHANNELS[0], ring.key)
    lost = [node for node in ring.nodes if node.client_address in holders]
    if len(lost) != len(holders) or len(lost) * 2 <= len(ring.nodes):
        raise DrillFailed(f"{len(lost)} of {len(ring.nodes)} nodes are no majority")
    keep = [node for node in ring.nodes if node not in lost]
    doors = [node.door for node in keep]
    with Readers(doors), Publisher(doors, ring.key) as publisher:
        time.sleep(SOME)
        for node in lost:
            node.end()
        say(f"{', '.join(node.name for node in lost)}: all copies of {CHANNELS[0]} are killed")
        expect(
            ring, say,
            "RingFrozen", "MemberSuspected", "VoterMissing", "LeaseLost", "PublishesRefused",
        )  # fmt: skip
        for node in lost:
            node.start()
        expect(ring, say, "TakeoverLossy", "GapReported", within=180.0)
    say(f"publishers were told: {publisher}")
    settle(ring, say)


def _strangers(ring: Ring, say: Callable[[str], None]) -> None:
    """What does not belong: another ring, another secret, a node alone, one short of everything."""
    certificate = _certificate(ring.folder)
    alone = ring.plan(
        "another-ring", 20, "--tls-cert", str(certificate), "--tls-key", f"{certificate}.key"
    )
    short = ring.plan("few-descriptors", 21, descriptors=64)
    wrong = ring.plan("another-secret", 22, join=True, expect=len(ring.nodes), secret="x" * 32)
    leaver = ring.plan("slow-leaver", 23, "--drain-delay", "300")
    ring.others = [alone, short, wrong, leaver]
    ring.tell_targets()
    opened: list[socket.socket] = []
    try:
        for node in ring.others:
            node.start()
        say("started: another ring (whose certificate soon ends), a node with another secret,")
        say("  a node with 64 file descriptors, of which clients take most, and one that lingers")
        rings_of_one = (alone, short, leaver)
        wait_for(lambda: all(n.ready() for n in rings_of_one), 60.0, lambda: "they do not start")
        leaver.send(signal.SIGTERM)
        opened = hold_open(short, 40)
        speak_tls(alone)
        seen(ring, say, "strangers")
        expected = ["RingsApart", "LinkRefused", "NotReady", "FileDescriptors"]
        expected += ["CertificateExpires", "CertificateExpiresSoon", "DrainStuck"]
        if ring.has_balancer:
            expected.append("BalancerMissesNodes")  # which was not told of them
        expect(ring, say, *expected, within=150.0)
    finally:
        for client in opened:
            client.close()
        for node in ring.others:
            node.end()
        ring.others = []
        ring.tell_targets()
    settle(ring, say)


def _rolling_restart(ring: Ring, say: Callable[[str], None]) -> None:
    before = ring.prometheus.alerts("firing")
    with Publisher(ring.doors, ring.key) as publisher:
        for node in ring.nodes:
            node.end(signal.SIGTERM)
            node.start()
            ring.wait_whole()
    say(f"all {len(ring.nodes)} were restarted in turn; publishers were told: {publisher}")
    if ring.has_balancer and set(publisher.outcomes) != {"200"}:
        raise DrillFailed("clients noticed")
    if new := ring.prometheus.alerts("firing") - before - LASTING:
        raise DrillFailed(f"a restart in turn is no reason for {sorted(new)}")
    settle(ring, say)


def _everything(ring: Ring, say: Callable[[str], None]) -> None:
    for node in ring.nodes:
        node.end()
    expected = ["NoNodes", "NodeDown"]
    if ring.has_balancer:
        expected.append("BalancerEmpty")
    expect(ring, say, *expected)
    if ring.has_balancer:
        ring.stop_balancer()
        expect(ring, say, "BalancerDown")


def _certificate(folder: Path) -> Path:
    """A certificate that ends in two days; its key beside it."""
    import trustme  # noqa: PLC0415 - a development package: only this step needs it

    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    issued = trustme.CA().issue_cert("localhost", not_after=ends)
    file = folder / "certificate.pem"
    file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(f"{file}.key")
    return file


def _step(
    name: str,
    does: str,
    look: str,
    alerts: str,
    run: Callable[..., None],
    possible: Callable[[], bool] = lambda: True,
) -> Step:
    names = frozenset(f"Cometring{each}" for each in alerts.split())
    return Step(name, does, look, names, run, possible)


STEPS: Final = (
    _step("healthy", "nothing", "Ring health: the top row is green.", "", _healthy),
    _step(
        "kill", "kill -9 one node, then start it again",
        "Ring health: one member less, its band of Ready ends; Members gone: died.",
        "NodeDown MemberDied", _kill,
    ),
    _step(
        "hang", "SIGSTOP one node until it is dropped, then let it go on",
        "Ring health: its view number stands still, then a gap; it comes back as restarted.",
        "NodeDown MemberDied", _hang,
    ),
    _step(
        "partition", "cut a minority off from the rest",
        "Ring health: two lines of view numbers, Decides? FROZEN, the minority without a lease;"
        " Link matrix: empty fields.",
        "RingFrozen ViewSplit LeaseLost MemberSuspected PublishesRefused ReplicaLag", _partition,
        is_isolated,
    ),
    _step(
        "strangers", "start nodes that do not belong or lack something",
        "Ring health: links refused; Node: descriptors, certificate.",
        "RingsApart LinkRefused NotReady FileDescriptors CertificateExpires"
        " CertificateExpiresSoon DrainStuck BalancerMissesNodes", _strangers,
    ),
    _step(
        "stutter", "let one node run by fits and starts",
        "Node: loop lag; Ring health: round trips to it; Traffic: commit latency.",
        "LoopLag CommitSlow SheddingLoad", stutter,
    ),
    _step(
        "clients", "clients that do not read, and a channel that comes late",
        "Channels: slow consumers; Traffic: delivery latency.",
        "SlowConsumers DeliverySlow", clients,
    ),
    _step(
        "memory", "leave one node little memory, and fill it",
        "Node: Memory.",
        "Memory", memory, can_confine,
    ),
    _step(
        "crowded", "start a ring in which one node has half of everything, and little room",
        "Ring health, of the cluster lopsided: Share of slots, Balance; Channels: Refused for want"
        " of room.",
        "SharesUneven AppendsRefused", crowded,
    ),
    _step(
        "rolling", "restart all nodes in turn, politely",
        "Ring health: one band of Ready after the other has a short gap; Traffic: no dent.",
        "", _rolling_restart,
    ),
    _step(
        "majority", "kill a majority, all that have a channel's log, then start them again",
        "Ring health: Decides? FROZEN, suspected, voters missing, then Lossy; Traffic: told to"
        " retry; Channels: gaps.",
        "RingFrozen MemberSuspected VoterMissing LeaseLost PublishesRefused TakeoverLossy"
        " GapReported", _majority_lost,
    ),
    _step(
        "everything", "kill all nodes, then the balancer",
        "Everything: no data. Traffic: Balancer: nodes in use 0.",
        "NoNodes NodeDown BalancerEmpty BalancerDown", _everything,
    ),
)  # fmt: skip
