"""`cometring cluster`: a whole ring on this machine, one process a node."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import trio
import typer

from node.cli.errors import UsageFailed
from node.cli.launcher import Launcher, NodePlan
from node.cli.ports import require_bindable
from node.cli.secret import fresh_secret
from node.config import CLIENT_PORT, OPS_PORT, PEER_PORT
from node.endpoint import LOOPBACK, MAX_PORT, Endpoint

SEEDS = 5  # others that a node may ask for the ring; one alive is enough
DRAIN_GRACE = 3  # seconds; slots move quickly on loopback, and when all leave, nowhere
STOP_GRACE = 8.0  # seconds until SIGKILL, so that all is over within ten

# Settings of one node: here each node has its own, or the launcher decides.
_NOT_INHERITED = frozenset(
    f"COMETRING_{name}"
    for name in ("ADVERTISE", "CLIENT", "JOIN", "OPS", "PEER", "REUSE_PORT", "STATE_DIR", "WORKERS")
)


def cluster(
    nodes: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 3,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="COMETRING_API_KEY", help="Opens /api to who shows it; else closed."),
    ] = None,
    client_port: Annotated[
        int, typer.Option(min=1, max=MAX_PORT, help="Of node 0; node i has the i-th after.")
    ] = CLIENT_PORT,
    peer_port: Annotated[int, typer.Option(min=1, max=MAX_PORT)] = PEER_PORT,
    ops_port: Annotated[int, typer.Option(min=1, max=MAX_PORT)] = OPS_PORT,
    respawn: Annotated[bool, typer.Option("--respawn", help="Start a dead node again.")] = False,
    demo: Annotated[bool, typer.Option(help="Serve the demo page at /.")] = True,
    state_dir: Annotated[
        Path | None, typer.Option(envvar="COMETRING_STATE_DIR", help="A folder a node inside it.")
    ] = None,
    log_level: Annotated[
        str, typer.Option(envvar="COMETRING_LOG_LEVEL", help="Of the nodes, on standard error.")
    ] = "warning",
) -> int:
    """Run N nodes on loopback; prints `ready` when their ring has formed.

    A node that dies is reported and the others go on. Ctrl-C or SIGTERM ends all.
    """
    bases = {"--client-port": client_port, "--peer-port": peer_port, "--ops-port": ops_port}
    _check_ports(bases, nodes)
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    secrets = {}
    secret = environ.pop("COMETRING_CLUSTER_SECRET", None)
    if secret or not environ.get("COMETRING_CLUSTER_SECRET_FILE"):
        secrets["COMETRING_CLUSTER_SECRET_FILE"] = secret or fresh_secret()
    environ["COMETRING_LOG_LEVEL"] = log_level
    environ["COMETRING_DEMO"] = str(demo).lower()
    environ.setdefault("COMETRING_DRAIN_GRACE", str(DRAIN_GRACE))
    environ.setdefault("COMETRING_DRAIN_DELAY", "0")  # nobody balances over them
    environ.pop("COMETRING_API_KEY", None)
    if api_key is not None:
        secrets["COMETRING_API_KEY_FILE"] = api_key
    plans = plan_ring(nodes, client_port, peer_port, ops_port, state_dir)
    launcher = Launcher(plans, environ, respawn=respawn, grace=STOP_GRACE, secrets=secrets)
    return trio.run(launcher.run)


def _check_ports(bases: dict[str, int], nodes: int) -> None:
    ranges = [(base, base + nodes - 1, option) for option, base in bases.items()]
    ranges.sort()
    for (_, last, option), (first, _, other) in pairwise(ranges):
        if first <= last:
            msg = f"{option} and {other} overlap with {nodes} nodes: move one of them"
            raise UsageFailed(msg)
    if ranges[-1][1] > MAX_PORT:
        msg = f"{ranges[-1][2]} is too high for {nodes} nodes: a port is at most {MAX_PORT}"
        raise UsageFailed(msg)
    for option, base in bases.items():
        for port in range(base, base + nodes):
            require_bindable(Endpoint(LOOPBACK, port), option)


def plan_ring(
    nodes: int, client_port: int, peer_port: int, ops_port: int, state_dir: Path | None = None
) -> list[NodePlan]:
    """`nodes` members of one ring on loopback, ports counted up from the given ones.

    Each names some others as seeds, so that whichever is respawned finds the ring.
    """
    plans = []
    for i in range(nodes):
        client, peer, ops = (
            Endpoint(LOOPBACK, base + i) for base in (client_port, peer_port, ops_port)
        )
        words = ["--client", str(client), "--peer", str(peer), "--ops", str(ops)]
        others = [j for j in range(nodes) if j != i][:SEEDS]
        if others:
            words += ["--join", ",".join(f"{LOOPBACK}:{peer_port + j}" for j in others)]
        words += ["--expect", str(nodes)]
        if state_dir is not None:
            words += ["--state-dir", str(state_dir / f"node-{i}")]
        plans.append(NodePlan(i, client, peer, ops, tuple(words)))
    return plans
