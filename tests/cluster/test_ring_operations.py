"""What an operator does to a ring of real nodes: give up a lost majority, change the secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import API_KEY, ClusterProcess, NodeProcess, wait_until
from node.cli.secret import fresh_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def cometring(*words: str, secret: str = "") -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COMETRING_")}
    if secret:
        environ["COMETRING_CLUSTER_SECRET"] = secret
    return subprocess.run(
        [sys.executable, "-m", "node.cli", *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=environ,
    )


def events(node: NodeProcess, event: str) -> list[dict[str, Any]]:
    """What a node has logged under a name."""
    lines = node.log.read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == event]


class Durable:
    """A ring whose nodes have state directories and a secret in a file each."""

    def __init__(self, directory: Path, nodes: int, *options: str) -> None:
        self.secret = fresh_secret()
        self.cluster = ClusterProcess(nodes, directory, ["--log-level", "info", *options])
        del self.cluster._environ["COMETRING_CLUSTER_SECRET"]
        self.states = [directory / f"state-{i}" for i in range(nodes)]
        self._files = [directory / f"secret-{i}" for i in range(nodes)]
        for node, state, file in zip(self.cluster.nodes, self.states, self._files, strict=True):
            node.arguments += ["--state-dir", str(state), "--cluster-secret-file", str(file)]
            self.give(node, self.secret)

    def give(self, node: NodeProcess, *secrets: str) -> None:
        """Put these into the node's file."""
        file = self._files[node.index]
        file.write_text("\n".join(secrets) + "\n")
        file.chmod(0o600)

    def written(self) -> str:
        """All that the nodes have logged."""
        return "".join(node.log.read_text() for node in self.cluster.nodes)


@pytest.fixture
def five(tmp_path: Path) -> Iterator[Durable]:
    ring = Durable(tmp_path, 5)
    try:
        ring.cluster.start(60.0)
        yield ring
        assert not ring.cluster.complaints(), ring.cluster.logs()
    finally:
        ring.cluster.stop()


def test_a_lost_majority_is_given_up_by_hand(five: Durable) -> None:
    """Three of five voters are gone for good: two freeze, and go on when they are told to."""
    nodes = five.cluster.nodes
    before = nodes[0].ring()
    assert before is not None
    *lost, one, other = nodes
    for node in lost:
        node.kill()

    def frozen() -> bool:
        rings = [one.ring(), other.ring()]
        return all(ring is not None and ring["frozen"] for ring in rings)

    wait_until(frozen, 15.0, "the two that are left are frozen")
    told = cometring("ring", "status", "--ops", one.ops).stdout
    assert "FROZEN" in told
    assert "2 of 5 heard" in told
    assert events(one, "ring_frozen")
    refused = cometring("ring", "recover", "--yes", "--ops", one.ops, secret=fresh_secret())
    assert (refused.returncode, "secret" in refused.stderr) == (1, True)
    refused = cometring("ring", "recover", "--ops", one.ops, secret=five.secret)
    assert "--yes" in refused.stderr, "nobody is there to be asked"
    done = cometring("ring", "recover", "--yes", "--ops", one.ops, secret=five.secret)
    assert done.returncode == 0, done.stderr
    five.cluster.wait_formed(15.0, members=2)
    after = other.ring()
    assert after is not None
    assert after["ring"] != before["ring"]
    assert after["view"] > before["view"]
    assert "healthy" in cometring("ring", "status", "--ops", f"{one.ops},{other.ops}").stdout
    for node in (one, other):
        status, answer = node.api("/api/publish", {"channel": "/again", "data": 1}, 20.0)
        assert status == 200, answer
    assert events(one, "ring_recovered")
    refused = cometring("ring", "recover", "--yes", "--ops", one.ops, secret=five.secret)
    assert (refused.returncode, "nothing to recover" in refused.stderr) == (1, True)
    # Lost nodes that are started after all join what they find, whether they remember or not.
    for path in five.states[lost[0].index].iterdir():
        path.unlink()
    for node in lost:
        five.cluster.start_node(node)
    five.cluster.wait_formed(30.0, members=5)
    rings = [node.ring() for node in nodes]
    assert {ring["ring"] for ring in rings if ring is not None} == {after["ring"]}
    for node in lost[1:]:
        (entry,) = events(node, "joined_another_ring")
        assert entry["remembered"] == before["ring"][:8]
        assert entry["recovered"]
    assert not events(lost[0], "joined_another_ring")
    assert five.secret not in five.written()


class Publisher(threading.Thread):
    """Publishes through every node in turn, without pause; keeps what was not answered well."""

    def __init__(self, nodes: list[NodeProcess]) -> None:
        super().__init__()
        self.wrong: list[tuple[int, Any]] = []
        self.published = 0
        self.over = threading.Event()
        self.away: NodeProcess | None = None
        self._nodes = nodes

    def run(self) -> None:
        while not self.over.is_set():
            for node in self._nodes:
                if node is self.away:
                    continue
                try:
                    status, answer = node.api("/api/publish", {"channel": "/r", "data": 1}, 15.0)
                except OSError as error:
                    status, answer = 0, error
                if status == 200:
                    self.published += 1
                elif node is not self.away:
                    self.wrong.append((status, answer))
                time.sleep(0.02)


def test_the_secret_is_changed_under_way(tmp_path: Path) -> None:
    """Twice round, one node after the other: publishes through the others all succeed."""
    ring = Durable(tmp_path, 3)
    nodes, new = ring.cluster.nodes, fresh_secret()
    publisher = Publisher(nodes)
    try:
        ring.cluster.start(60.0)
        publisher.start()
        for secrets in ((new, ring.secret), (new,)):
            for node in nodes:
                publisher.away = node
                ring.give(node, *secrets)
                node.terminate()
                assert node.wait() == 0
                ring.cluster.start_node(node)
                ring.cluster.wait_formed(30.0, members=3)
                publisher.away = None
        publisher.over.set()
        publisher.join(20.0)
        assert not publisher.wrong
        assert publisher.published > 50
        late = ring.cluster.nodes[0]
        late.kill()
        ring.give(late, ring.secret)  # who missed it stays outside
        ring.cluster.start_node(late)
        wait_until(lambda: events(late, "link_refused"), 15.0, "the old secret is good no more")
        assert len((nodes[1].ring() or {"members": ()})["members"]) == 2
        for secret in (ring.secret, new, API_KEY):
            assert secret not in ring.written()
            for node in nodes[1:]:
                assert secret not in json.dumps(node.ring())
                assert secret not in str(node.request(node.ops_port, "GET", "/metrics"))
    finally:
        publisher.over.set()
        ring.cluster.stop()
