"""What a drill does, one step after the other; each ends with the ring whole again."""

from __future__ import annotations

import datetime as dt
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ops.drilling.load import Publisher, Readers, hold_open
from ops.drilling.network import cut_in_two
from ops.drilling.prometheus import DrillFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ops.drilling.ring import Ring

LASTING: Final = frozenset(
    # These look back over minutes, and so go on for a while after their cause has gone.
    {
        "CometringMemberDied", "CometringTakeoverLossy", "CometringGapReported",
        "CometringLinkRefused", "CometringSlowConsumers", "CometringAppendsRefused",
        "CometringPublishesRefused", "CometringCommitSlow", "CometringDeliverySlow",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """`look`: what dashboards show meanwhile. `alerts`: what must fire."""

    name: str
    does: str
    look: str
    alerts: frozenset[str]
    run: Callable[[Ring, Callable[[str], None]], None]


def _expect(ring: Ring, say: Callable[[str], None], *names: str, within: float = 120.0) -> None:
    """Wait for alerts to fire, and say when each did."""
    wanted = {f"Cometring{name}" for name in names}
    for name, seconds in sorted(ring.prometheus.wait_for_alerts(wanted, within).items()):
        say(f"{name} fires after {seconds:.0f} s")


def _settle(ring: Ring, say: Callable[[str], None]) -> None:
    whole = ring.wait_whole()
    quiet = ring.prometheus.wait_until_quiet(120.0, LASTING)
    say(f"whole again after {whole:.1f} s, quiet {quiet:.0f} s later")


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
    victim = ring.nodes[-1]
    victim.end()
    took = ring.prometheus.wait_for_value("cometring:members:max", len(ring.nodes) - 1, 30.0)
    say(f"{victim.name} is killed; Prometheus sees a view without it after {took:.0f} s")
    _expect(ring, say, "MemberDied", *(() if ring.forgets_the_dead else ("NodeDown",)))
    victim.start()
    _settle(ring, say)


def _hang(ring: Ring, say: Callable[[str], None]) -> None:
    victim = ring.nodes[-1]
    victim.send(signal.SIGSTOP)
    took = ring.prometheus.wait_for_value("cometring:members:max", len(ring.nodes) - 1, 30.0)
    say(f"{victim.name} hangs; Prometheus sees a view without it after {took:.0f} s")
    _expect(ring, say, "NodeDown", "MemberDied")
    victim.send(signal.SIGCONT)
    _settle(ring, say)


def _partition(ring: Ring, say: Callable[[str], None]) -> None:
    minority = ", ".join(node.name for node in ring.nodes if node.prefix)
    with cut_in_two(ring):
        say(f"{minority} are cut off from the others, not from Prometheus")
        _expect(ring, say, "RingFrozen", "ViewSplit", "LeaseLost", "MemberSuspected")
    _settle(ring, say)


def _majority_lost(ring: Ring, say: Callable[[str], None]) -> None:
    """Kill most of the nodes at once, under load, and bring them back with empty logs."""
    keep = ring.nodes[: (len(ring.nodes) - 1) // 2]
    lost = ring.nodes[len(keep) :]
    doors = [node.door for node in keep]
    with Readers(doors), Publisher(doors, ring.key) as publisher:
        time.sleep(8.0)  # so that there is something to lose
        for node in lost:
            node.end()
        say(f"{len(lost)} of {len(ring.nodes)} are killed")
        _expect(
            ring, say,
            "RingFrozen", "MemberSuspected", "VoterMissing", "LeaseLost", "PublishesRefused",
        )  # fmt: skip
        for node in lost:
            node.start()
        _expect(ring, say, "TakeoverLossy", "GapReported")
    say(f"publishers were told: {publisher}")
    _settle(ring, say)


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
    for node in ring.others:
        node.start()
    say("started: another ring (with a certificate that soon ends), a node with another secret,")
    say("  a node with 64 file descriptors, of which clients take most, and one that does not go")
    time.sleep(5.0)
    leaver.send(signal.SIGTERM)
    opened = hold_open(short, 40)
    expected = ["RingsApart", "LinkRefused", "NotReady", "FileDescriptors"]
    expected += ["CertificateExpires", "CertificateExpiresSoon", "DrainStuck"]
    if ring.has_balancer:
        expected.append("BalancerMissesNodes")  # which was not told of them
    _expect(ring, say, *expected, within=150.0)
    for client in opened:
        client.close()
    for node in ring.others:
        node.end()
    ring.others = []
    ring.tell_targets()
    _settle(ring, say)


def _stutter(ring: Ring, say: Callable[[str], None]) -> None:
    """One node that runs by fits and starts, as on a host with too little CPU."""
    victim = ring.nodes[0]
    say(f"{victim.name} is stopped for a third of a second, twice a second")
    began = time.monotonic()
    missing = {"CometringLoopLag", "CometringCommitSlow"}
    with Publisher([node.door for node in ring.nodes], ring.key) as publisher:
        while missing and time.monotonic() - began < 150.0:
            for _ in range(10):
                victim.send(signal.SIGSTOP)
                time.sleep(0.33)
                victim.send(signal.SIGCONT)
                time.sleep(0.17)
            for name in sorted(missing & ring.prometheus.alerts("firing")):
                say(f"{name} fires after {time.monotonic() - began:.0f} s")
                missing.discard(name)
    if missing:
        raise DrillFailed(f"not firing: {sorted(missing)}")
    slowest = ring.prometheus.value("cometring:append_commit_seconds:p99")
    say(f"99 of 100 publishes were committed within {slowest or 0:.2f} s: {publisher}")
    _settle(ring, say)


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
    _settle(ring, say)


def _everything(ring: Ring, say: Callable[[str], None]) -> None:
    for node in ring.nodes:
        node.end()
    expected = ["NoNodes", "NodeDown"]
    if ring.has_balancer:
        expected.append("BalancerEmpty")
    _expect(ring, say, *expected)
    if ring.has_balancer:
        ring.stop_balancer()
        _expect(ring, say, "BalancerDown")


def _certificate(folder: Path) -> Path:
    """A certificate that ends in two days; its key beside it."""
    import trustme  # noqa: PLC0415 - a development package: only this step needs it

    ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    issued = trustme.CA().issue_cert("localhost", not_after=ends)
    file = folder / "certificate.pem"
    file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(f"{file}.key")
    return file


def _step(name: str, does: str, look: str, alerts: str, run: Callable[..., None]) -> Step:
    return Step(name, does, look, frozenset(f"Cometring{each}" for each in alerts.split()), run)


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
        "RingFrozen ViewSplit LeaseLost MemberSuspected", _partition,
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
        "LoopLag CommitSlow", _stutter,
    ),
    _step(
        "rolling", "restart all nodes in turn, politely",
        "Ring health: one band of Ready after the other has a short gap; Traffic: no dent.",
        "", _rolling_restart,
    ),
    _step(
        "majority", "kill a majority at once, then start them again",
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
