"""Real nodes: one ring whatever the order, the same homes everywhere, polite leaving."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from cluster_process import ClusterProcess, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = 10_000
HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
}


def located(ops: str, keys: list[str]) -> dict[str, str]:
    """Key -> id of its home, as `cometring ring locate` at one node names it."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", "ring", "locate", "-", "--json", "--ops", ops],
        input="\n".join(keys),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = map(json.loads, done.stdout.splitlines())
    return {each["key"]: each["node"]["id"] for each in found}


def test_every_node_names_the_same_home_for_ten_thousand_keys(
    three_nodes: ClusterProcess,
) -> None:
    keys = [f"/room/{i}" if i % 2 else f"tag{i}.{'x' * 20}" for i in range(KEYS)]
    answers = [located(node.ops, keys) for node in three_nodes.nodes]
    assert len(answers[0]) == KEYS
    assert answers[0] == answers[1] == answers[2]
    assert len(set(answers[0].values())) == 3
    # The application interface says the same; asked over HTTP for a sample.
    for key in random.Random(4).sample(keys, 50):
        query = f"channel={key}" if key.startswith("/") else f"session={key}"
        for node in three_nodes.nodes:
            status, body = node.api(f"/api/locate?{query}")
            assert status == 200
            assert body["node"]["id"] == answers[0][key]


def test_minted_sessions_are_homed_on_the_node_that_minted_them(
    three_nodes: ClusterProcess,
) -> None:
    for node in three_nodes.nodes:
        ring = node.ring()
        assert ring is not None
        for _ in range(100):
            status, (reply,) = request(node.client_port, "POST", "/bayeux", [HANDSHAKE])
            assert status == 200
            for name in (reply["clientId"], reply["ext"]["address"]):
                assert node.api(f"/api/locate?session={name}")[1]["node"]["id"] == ring["node"]


def test_hops_are_measured(three_nodes: ClusterProcess) -> None:
    """A session on node 0; sends from each node: none or one link, as home and edge are one."""
    edge = three_nodes.nodes[0]
    _, (reply,) = request(edge.client_port, "POST", "/bayeux", [HANDSHAKE])
    before = edge.metrics()
    for node in three_nodes.nodes:
        status, body = node.api("/api/send", {"session": reply["ext"]["address"], "data": 1})
        assert (status, body["connected"]) == (200, True)
    after = edge.metrics()

    def grown(le: str) -> float:
        name = f'cometring_direct_hops_bucket{{le="{le}"}}'
        return after[name] - before[name]

    assert grown("0.0") == 1
    assert grown("1.0") == 3
    assert after["cometring_direct_hops_sum"] - before["cometring_direct_hops_sum"] == 2


@pytest.mark.parametrize("seed", [1, 2])
def test_five_nodes_in_any_order_with_one_seed_form_one_ring(tmp_path: Path, seed: int) -> None:
    """The seed itself comes up third, knowing nobody; a sixth joins, another leaves."""
    rng = random.Random(seed)
    cluster = ClusterProcess(5, tmp_path, arguments=["--log-level", "info"], seeds=[2])
    order = [node for node in cluster.nodes if node.index != 2]
    rng.shuffle(order)
    order.insert(2, cluster.nodes[2])
    try:
        for node in order:
            cluster.start_node(node)
            time.sleep(rng.random())
        cluster.wait_formed(40.0)
        shares_before = shares(cluster)
        assert max(shares_before) <= 2 / 5
        sixth = cluster.add_node()
        cluster.wait_formed(30.0, members=6)
        ring = sixth.ring()
        assert ring is not None
        own = {member["id"]: member["share"] for member in ring["members"]}[ring["node"]]
        assert 0 < own <= 2 / 6
        assert max(shares(cluster)) <= 2 / 6 + 1e-9
        deadline = time.monotonic() + 10.0
        while ring is not None and ring["slots"]["home"] != round(own * 4096):
            assert time.monotonic() < deadline, ring["slots"]
            time.sleep(0.05)  # it is a member first, and takes its slots over then
            ring = sixth.ring()
        leaves_politely(cluster, cluster.nodes[rng.randrange(5)].index)
    finally:
        cluster.stop()


def shares(cluster: ClusterProcess) -> list[float]:
    ring = cluster.alive[0].ring()
    assert ring is not None
    return [member["share"] for member in ring["members"]]


def leaves_politely(cluster: ClusterProcess, index: int) -> None:
    leaver = cluster.nodes[index]
    members = len(cluster.alive)
    leaver.terminate()
    others = [node for node in cluster.alive if node is not leaver]

    def gone() -> bool:
        rings = [node.ring() for node in others]
        return all(ring is not None and len(ring["members"]) == members - 1 for ring in rings)

    took = wait_until(gone, 10.0, f"node {index} is gone from every ring")
    assert took <= 2.0, f"took {took:.2f} s"
    assert leaver.wait() == 0


def test_nothing_is_lost_when_a_node_leaves(make_cluster: Callable[..., ClusterProcess]) -> None:
    """Logs and sessions of a leaver go to the others: a subscriber elsewhere misses nothing."""
    cluster = make_cluster(3)
    edge, leaver, publisher = cluster.nodes
    _, (reply,) = request(edge.client_port, "POST", "/bayeux", [HANDSHAKE])
    client = {"clientId": reply["clientId"]}
    ring = leaver.ring()
    assert ring is not None
    channel = next(
        name
        for name in (f"/room/{i}" for i in range(100))
        if edge.api(f"/api/locate?channel={name}")[1]["node"]["id"] == ring["node"]
    )
    subscribe = {"channel": "/meta/subscribe", "subscription": channel, **client}
    assert request(edge.client_port, "POST", "/bayeux", [subscribe])[1][0]["successful"]
    offsets = []
    for number in range(40):
        if number == 20:
            leaver.terminate()
        status, body = publisher.api("/api/publish", {"channel": channel, "data": number})
        assert status == 200, body
        offsets.append(body["offset"])
    assert offsets == sorted(set(offsets))
    assert leaver.wait() == 0
    connect = {
        "channel": "/meta/connect",
        "connectionType": "long-polling",
        "advice": {"timeout": 500},
        **client,
    }
    got: list[int] = []
    deadline = time.monotonic() + 10
    while len(got) < 40 and time.monotonic() < deadline:
        _, messages = request(edge.client_port, "POST", "/bayeux/connect", [connect])
        got += [message["data"] for message in messages if message["channel"] == channel]
    assert got == list(range(40))
