"""Hostile bytes on every port of a running node: it answers, lives, stays in the ring, keeps slim.

COMETRING_FUZZ_SECONDS makes the run longer (minutes prove more than the seconds
of every day), COMETRING_FUZZ_SEED repeats one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING

import pytest

from cluster_process import HOST, ClusterProcess, NodeProcess, wait_until
from fuzz_attacks import CLIENT_ATTACKS
from fuzz_client import Fuzzer, Misbehaved, Wire
from fuzz_inner_ports import INNER_ATTACKS
from loadtest.accounting import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = float(os.environ.get("COMETRING_FUZZ_SECONDS", "14"))
SEED = int(os.environ.get("COMETRING_FUZZ_SEED", "0")) or SystemRandom().getrandbits(32)
WARM_UP = min(10.0, SECONDS * 0.4)  # seconds after which memory has found its level
SWEPT = 4.0  # seconds until abandoned sessions are gone, with the options below
GROWTH = 4 << 20  # bytes that resident memory may drift
OPTIONS = ("--max-interval", "2", "--timeout", "2", "--max-message-size", "64KiB")
ATTACKS = [*CLIENT_ATTACKS, *INNER_ATTACKS]
SLOW = 20  # connections that dawdle throughout


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    with ClusterProcess(3, tmp_path_factory.mktemp("fuzzed"), OPTIONS) as cluster:
        yield cluster


def descriptors(node: NodeProcess) -> int:
    """Open descriptors of the node's process."""
    return len(list(Path(f"/proc/{node.pid}/fd").iterdir()))


def queued_seconds(node: NodeProcess) -> float:
    """How long the node's process has been runnable without a processor (proc(5), schedstat)."""
    return int(Path(f"/proc/{node.pid}/schedstat").read_text("ascii").split()[1]) / 1e9


def views(ring: ClusterProcess) -> list[tuple[object, ...]]:
    """What each node believes the ring to be: its id, the view's number and digest."""
    believed: list[tuple[object, ...]] = []
    for node in ring.nodes:
        told = node.ring()
        assert told is not None, f"node {node.index} does not tell its ring"
        assert len(told["members"]) == len(ring.nodes)
        believed.append((told["ring"], told["view"], told["digest"]))
    return believed


def probe(node: NodeProcess) -> None:
    """A well-behaved application and client are served as ever."""
    assert node.alive
    assert node.ready()
    status, answer = node.api("/api/publish", {"channel": "/fuzz/room", "data": 1})
    assert status == 200, answer
    with Wire(node.client_port) as wire:
        fuzz = Fuzzer(Random(0), node.client_port, node.peer_port, node.ops_port)
        session = fuzz.handshake(wire)
        fuzz.bayeux(wire, [{"channel": "/meta/disconnect", "clientId": session, "id": "2"}])


def assert_nothing_crashed(ring: ClusterProcess) -> None:
    """No node has logged a fault of its own."""
    log = ring.logs(lines=10**9)
    for word in ("Traceback", "crashed"):
        found = log.find(word)
        assert found < 0, f"seed {SEED}: {log[max(0, found - 500) : found + 3_000]}"


def attack_for(seconds: float, fuzz: Fuzzer, done: Counter[str]) -> None:
    """Every attack in turn, in random order, until the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for attack in fuzz.rng.sample(ATTACKS, len(ATTACKS)):
            try:
                attack(fuzz)
            except (Misbehaved, OSError, AssertionError) as error:
                raise AssertionError(f"{attack.__name__} (seed {SEED}): {error!r}") from error
            done[attack.__name__] += 1


def settled_bytes(node: NodeProcess) -> int:
    """Resident bytes once abandoned sessions have been swept."""
    time.sleep(SWEPT)
    return resident_bytes(node.pid)


@pytest.mark.timeout(SECONDS * 2 + 120)
def test_hostile_bytes_on_every_port(ring: ClusterProcess) -> None:
    node = ring.nodes[1]
    fuzz = Fuzzer(Random(SEED), node.client_port, node.peer_port, node.ops_port)
    done: Counter[str] = Counter()
    formed = views(ring)
    open_before, queued = descriptors(node), queued_seconds(node)
    slow = [Wire(port) for port in (node.client_port, node.peer_port, node.ops_port) * SLOW]
    for wire in slow:
        wire.send(b"G")

    attack_for(WARM_UP, fuzz, done)
    probe(node)
    before = settled_bytes(node)
    attack_for(SECONDS - WARM_UP, fuzz, done)
    probe(node)
    after = settled_bytes(node)

    print(f"\nseed {SEED}: {done.total()} attacks, resident {before >> 10} -> {after >> 10} KiB")
    assert after - before < GROWTH, f"seed {SEED}: grew by {after - before} bytes in {done.total()}"
    for wire in slow:
        wire.sock.close()
    wait_until(lambda: descriptors(node) <= open_before + 5, 15, "connections let go of")
    assert views(ring) == formed, (
        f"seed {SEED}: the ring has changed; the node was ready to run but kept waiting for a "
        f"processor {queued_seconds(node) - queued:.1f} s in all\n{ring.logs()}"
    )
    assert_nothing_crashed(ring)


def test_a_head_that_never_ends_is_given_up(ring: ClusterProcess) -> None:
    """One byte a second keeps no connection open beyond the head's deadline (10 s)."""
    with Wire(ring.nodes[0].client_port) as wire:
        wire.sock.settimeout(1.0)
        began = time.monotonic()
        said = b"?"
        while said and time.monotonic() - began < 20:
            wire.send(b"x")
            with suppress(TimeoutError):
                said = wire.sock.recv(1_000)
        assert not said or b" 408 " in said
        assert 5 < time.monotonic() - began < 15


def test_a_node_of_another_secret_stays_outside(ring: ClusterProcess, tmp_path: Path) -> None:
    """A whole node with a wrong secret says why it cannot join; the ring does not notice."""
    formed = views(ring)
    stranger = NodeProcess(9, [], tmp_path / "stranger.log")
    command = [sys.executable, "-m", "node.cli", "serve", "--join", ring.nodes[0].peer]
    command += ["--client", f"{HOST}:{stranger.client_port}"]
    command += ["--peer", stranger.peer, "--ops", stranger.ops]
    secret = {"COMETRING_CLUSTER_SECRET": "another-secret-than-the-one-they-share"}
    with stranger.log.open("wb") as log:
        stranger.process = subprocess.Popen(
            command, env=os.environ | secret, stdout=log, stderr=log
        )
    try:
        wait_until(
            lambda: "another cluster secret" in stranger.log.read_text("utf-8"),
            20,
            "the stranger is told why",
        )
        assert not stranger.ready()
    finally:
        stranger.terminate()
        stranger.wait()
    assert views(ring) == formed
    assert "the dialler does not know the cluster secret" in ring.logs(lines=10**9)
    assert_nothing_crashed(ring)


def test_unknown_sessions_are_unknown_on_every_node(ring: ClusterProcess) -> None:
    """Whoever is home to the id, each node says the same of it."""
    rng = Random(SEED)
    for node in ring.nodes:
        fuzz = Fuzzer(rng, node.client_port, node.peer_port, node.ops_port)
        for _ in range(30):
            session = fuzz.session_id()
            message = {"channel": "/meta/connect", "clientId": session, "id": "1"}
            with Wire(node.client_port) as wire:
                (reply,) = fuzz.bayeux(wire, [message | {"connectionType": "long-polling"}])
            assert reply["error"].startswith("402:"), (SEED, json.dumps(reply))
            assert reply["advice"]["reconnect"] == "handshake"
