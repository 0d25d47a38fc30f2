"""Real clusters of two to five nodes over loopback TCP, in one process."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
import structlog
import trio

from cluster_rig import Node, ring
from node.cluster.messages import Relay, RelayCancel
from peers_rig import HOST, until
from pubsub.messages import Appended, Failed, Joined


def append(node: Node, topic: str, payload: bytes, message_id: str) -> list[Any]:
    """Publish from `node`; the outcome appears in the list."""
    told: list[Any] = []
    node.cluster.append(topic, payload, message_id, told.append)
    return told


async def join(*nodes: Node, topic: str) -> None:
    told: list[Any] = []
    for node in nodes:
        node.cluster.join(topic, None, told.append)
    await until(lambda: len(told) == len(nodes))
    assert all(isinstance(each, Joined) for each in told)


@pytest.mark.parametrize("size", [2, 3, 5])
async def test_nodes_form_one_ring(size: int) -> None:
    async with ring(size) as (nodes, _):
        digests = {node.cluster.view.digest for node in nodes if node.cluster.view}
        assert len(digests) == 1
        await until(lambda: all(len(n.cluster.status().links) == size - 1 for n in nodes))
        assert len({node.cluster.me for node in nodes}) == size
        shares = [node.cluster.placement.share(node.cluster.me) for node in nodes]  # type: ignore[union-attr]
        assert sum(shares) == pytest.approx(1)
        for node in nodes:
            assert not node.stats.link_refused["secret"]
            await until(lambda node=node: node.stats.link_rtt_seconds.count > 0)  # type: ignore[misc]


@pytest.mark.parametrize("seed_starts", [0, 2, 4])
async def test_five_started_in_any_order_with_one_seed_known(seed_starts: int) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    seed = f"{HOST}:{listener.socket.getsockname()[1]}"
    await listener.aclose()
    nodes = [Node(join=seed, expect=3) for _ in range(4)]
    nodes.insert(seed_starts, Node(peer=seed, join=seed, expect=3))
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.run)
            await trio.sleep(0.3)
        await until(lambda: {node.members for node in nodes} == {5}, 10)
        assert len({node.cluster.view.ring for node in nodes if node.cluster.view}) == 1
        sixth = Node(join=seed, expect=3)
        await nursery.start(sixth.run)
        await until(lambda: {node.members for node in (*nodes, sixth)} == {6})
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("flat_limit", [0, 32])
async def test_messages_reach_all_readers_once_and_in_order(flat_limit: int) -> None:
    async with ring(3, flat_limit=flat_limit) as (nodes, _):
        await join(*nodes, topic="/chat/room")
        told: list[Any] = []
        for number in range(300):
            publisher = nodes[number % 3]
            publisher.cluster.append("/chat/room", str(number).encode(), f"m{number}", told.append)
        await until(lambda: len(told) == 300)
        assert all(isinstance(each, Appended) for each in told)
        await until(lambda: all(len(n.edge.entries["/chat/room"]) == 300 for n in nodes))
        sequences = {tuple(node.edge.payloads("/chat/room")) for node in nodes}
        assert len(sequences) == 1
        (sequence,) = sequences
        for first in range(3):  # each publisher's own order is kept
            mine = [int(each) for each in sequence if int(each) % 3 == first]
            assert mine == sorted(mine)


async def test_edges_speak_to_each_other() -> None:
    async with ring(2) as ([one, other], _):
        for number in range(100):
            assert one.cluster.post(other.cluster.me, Relay(number, "t.x", b"body"))
        await until(lambda: len(other.edge.of("message")) == 100)
        requests = [message.request for _, message in other.edge.of("message")]
        assert requests == list(range(100))
        assert {sender for sender, _ in other.edge.of("message")} == {one.cluster.me}
        assert 0 < other.edge.batches < 100


async def test_a_node_joins_later_and_leaves_politely() -> None:
    async with ring(3) as (nodes, nursery):
        seed = nodes[0].peer
        late = Node(join=seed, expect=3)
        await nursery.start(late.run)
        await until(lambda: late.cluster.ready)
        await until(lambda: {node.members for node in nodes} == {4})
        assert late.cluster.placement is not None
        assert late.cluster.placement.share(late.cluster.me) >= 1 / 8
        await join(*nodes, topic="/a")
        with trio.fail_after(2):
            await late.cluster.leave_ring()
            await until(lambda: {node.members for node in nodes} == {3})
        late.scope.cancel()
        outcome = append(nodes[1], "/a", b"1", "m1")
        await until(lambda: outcome)
        assert isinstance(outcome[0], Appended)
        await until(lambda: all(node.edge.payloads("/a") == [b"1"] for node in nodes))


async def test_what_a_leaver_held_is_handed_over() -> None:
    async with ring(3) as (nodes, _):
        topics = [f"/topic/{number}" for number in range(60)]
        outcomes = [append(nodes[0], topic, b"kept", f"m{topic}") for topic in topics]
        await until(lambda: all(outcomes))
        with trio.fail_after(5):
            await nodes[2].cluster.leave_ring()
        nodes[2].scope.cancel()
        await until(lambda: nodes[0].members == nodes[1].members == 2)
        again = [append(nodes[1], topic, b"more", f"n{topic}") for topic in topics]
        await until(lambda: all(again))
        for before, after in zip(outcomes, again, strict=True):
            assert after[0].cursor.offset == before[0].cursor.offset + 1


async def test_a_killed_node_is_gone_within_a_second() -> None:
    async with ring(3) as (nodes, _):
        nodes[2].kill()
        with trio.fail_after(1):
            await until(lambda: nodes[0].members == nodes[1].members == 2)
        assert (nodes[2].cluster.me,) in nodes[0].edge.of("link_lost")
        outcome = append(nodes[0], "/a", b"1", "m1")
        await until(lambda: outcome)


async def test_a_restart_under_the_same_address_comes_back() -> None:
    async with ring(3) as (nodes, nursery):
        port = nodes[2].port
        nodes[2].kill()
        await until(lambda: nodes[0].members == nodes[1].members == 2)
        back = Node(peer=f"{HOST}:{port}", join=nodes[0].peer, expect=3)
        await nursery.start(back.run)
        await until(lambda: back.cluster.ready and nodes[0].members == nodes[1].members == 3)


async def test_a_cut_connection_loses_nothing() -> None:
    """Links break and come back under load: every message still arrives once, in order."""
    async with ring(3) as (nodes, _):
        await join(*nodes, topic="/a")
        told: list[Any] = []
        rng = random.Random(1)
        for number in range(400):
            nodes[number % 3].cluster.append("/a", str(number).encode(), f"m{number}", told.append)
            if number % 40 == 20:
                node = rng.choice(nodes)
                for link in list(node.cluster._links.links.values()):
                    link._stream.socket.shutdown(trio.socket.SHUT_RDWR)
            await trio.sleep(0.002)
        await until(lambda: len(told) == 400, 15)
        assert not [each for each in told if isinstance(each, Failed)]
        await until(lambda: all(len(node.edge.entries.get("/a", [])) == 400 for node in nodes), 10)
        sequences = {tuple(node.edge.payloads("/a")) for node in nodes}
        assert len(sequences) == 1
        assert len(set(next(iter(sequences)))) == 400
        assert {node.members for node in nodes} == {3}


async def test_another_secret_stays_outside() -> None:
    async with ring(2) as (nodes, nursery):
        stranger = Node(join=nodes[0].peer, expect=3, cluster_secret="x" * 32)
        with structlog.testing.capture_logs() as logs:
            await nursery.start(stranger.run)
            await until(lambda: stranger.stats.link_refused["secret"])
            await until(lambda: nodes[0].stats.link_refused["secret"])
        assert "xxxx" not in str(logs)
        assert "ssss" not in str(logs)
        assert not stranger.cluster.ready
        assert nodes[0].members == 2
        stranger.scope.cancel()


async def test_a_secret_is_rotated_under_way() -> None:
    """Old alone, then both, then new alone: at each step neighbours still agree."""
    old, both, new = "o" * 32, f"{'n' * 32} {'o' * 32}", "n" * 32
    async with ring(2, cluster_secret=old) as (nodes, nursery):
        seed = nodes[0].peer
        middle = Node(join=seed, expect=2, cluster_secret=both)
        await nursery.start(middle.run)
        await until(lambda: middle.cluster.ready and nodes[0].members == 3)
        last = Node(join=middle.peer, expect=2, cluster_secret=new)
        await nursery.start(last.run)
        await until(
            lambda: middle.cluster.me in {each.node for each in last.cluster.status().links}
        )


async def test_noise_on_the_peer_port_does_not_disturb_the_ring() -> None:
    async with ring(2) as (nodes, _):
        views = [list(node.edge.views) for node in nodes]
        rng = random.Random(7)
        for _ in range(100):
            stream = await trio.open_tcp_stream(HOST, nodes[0].port)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(rng.randbytes(rng.choice([1, 4, 40, 400, 4000])))
                if rng.random() < 0.5:
                    await stream.send_eof()
                    await stream.receive_some(1000)
            await stream.aclose()
        await until(lambda: nodes[0].cluster.status().strangers == 0)
        assert sum(nodes[0].stats.link_refused.values()) >= 100
        assert [node.edge.views for node in nodes] == views
        assert nodes[0].cluster.post(nodes[1].cluster.me, RelayCancel(1))
        await until(lambda: nodes[1].edge.of("message"))


async def test_zones_keep_copies_apart() -> None:
    """Four nodes in two zones: no zone has all copies of a slot, nor all voters."""
    seed = Node(zone="zone-0", join=f"{HOST}:1", expect=4)
    async with trio.open_nursery() as nursery:
        await nursery.start(seed.run)
        nodes = [Node(zone=f"zone-{i % 2}", join=seed.peer, expect=4) for i in (1, 2, 3)]
        for node in nodes:
            await nursery.start(node.run)
        await until(lambda: {node.members for node in (seed, *nodes)} == {4}, 20)
        view, placement = seed.cluster.view, seed.cluster.placement
        assert view is not None
        assert placement is not None
        zones = {member.id: member.zone for member in view.members}
        assert sorted(zones.values()) == ["zone-0", "zone-0", "zone-1", "zone-1"]
        assert {zones[voter] for voter in view.voters} == {"zone-0", "zone-1"}
        for slot in range(4096):
            first, second, _ = (zones[copy] for copy in placement.replicas(slot))
            assert first != second
        nursery.cancel_scope.cancel()
