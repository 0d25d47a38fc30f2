"""One `Cluster` by itself: a ring of one, and what comes before and after it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog
import trio

from cluster_rig import SECRET, Node, ring
from dht.effects import Send
from dht.ids import slot_of
from dht.messages import Seeking
from dht.view import Member, MemberState
from node.cluster import driver
from node.cluster.codec import Encoder
from node.cluster.messages import RelayCancel
from node.cluster.recovery import RecoveryRefused, prove
from node.cluster.state import StateError, load_identity, load_votes
from node.errors import LocalProtocolError
from peers_rig import HOST, Party, party, until
from pubsub.effects import Reset
from pubsub.errors import Code
from pubsub.messages import Appended, Cursor, Failed, Joined, SessionDone

if TYPE_CHECKING:
    from pathlib import Path


class Outcomes(list[Any]):
    """A callback that keeps what it is told."""

    def __call__(self, result: object) -> None:
        self.append(result)


def test_without_a_ring_everything_is_unavailable() -> None:
    cluster, told = Node().cluster, Outcomes()
    cluster.append("/a", b"{}", "m", told)
    cluster.join("/a", None, told)
    cluster.open_session("t.x", b"", told)
    cluster.update_session("t.x", 1, (), (), told)
    cluster.attach_session("t.x", told)
    assert told == [Failed(0, Code.UNAVAILABLE)] * 5
    cluster.leave("/a")
    cluster.close_session("t.x", 1)
    cluster.consumed("t.x", 1, ())
    cluster.released("t.x", 1, ())
    assert cluster.feed("/a") is None
    assert cluster.record("t.x") is None
    assert not cluster.serving_name("/a")
    assert not cluster.ready
    status = cluster.status()
    assert (status.ready, status.draining, status.ring, status.pubsub) == (False, False, None, None)
    with pytest.raises(LocalProtocolError):
        cluster.post(b"x" * 20, RelayCancel(1))


async def test_leaving_before_anything_has_begun() -> None:
    await Node().cluster.leave_ring()


async def test_a_taken_port_is_an_os_error() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        node = Node(peer=f"{HOST}:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use"):
            await node.cluster.bind()


async def test_logs_have_the_room_that_the_settings_give_them() -> None:
    async with ring(1, max_log_bytes=1 << 20) as ([node], _):
        told = Outcomes()
        for number in range(40):
            node.cluster.append(f"/a/{number}", bytes(60_000), "m", told)
        refused = [each for each in told if isinstance(each, Failed)]
        assert {each.code for each in refused} == {Code.OVERLOADED}
        status = node.cluster.status().pubsub
        assert status is not None
        assert status.refused == len(refused) == 40 - 18
        assert status.log_limit == 1 << 20
        assert status.log_bytes == 18 * 60_000  # the one that fills it, and no more


async def test_a_ring_of_one_publishes_and_reads() -> None:
    async with ring(1) as ([node], _):
        cluster, told = node.cluster, Outcomes()
        assert cluster.serving(slot_of("/a"))
        assert cluster.serving_name("/a")
        cluster.join("/a", None, told)
        cluster.append("/a", b'{"n":1}', "m1", told)
        joined, appended = told
        assert isinstance(joined, Joined)
        assert isinstance(appended, Appended)
        assert node.edge.payloads("/a") == [b'{"n":1}']
        feed = cluster.feed("/a")
        assert feed is not None
        assert feed.last == appended.cursor
        cluster.append("/a", b'{"n":1}', "mine", told, client_id=True)
        cluster.append("/a", b'{"n":1}', "mine", told, client_id=True)
        assert told[-1].cursor == told[-2].cursor
        cluster.leave("/a")
        assert cluster.feed("/a") is None


async def test_a_ring_of_one_keeps_sessions() -> None:
    async with ring(1) as ([node], _):
        cluster, told = node.cluster, Outcomes()
        address = "tag." + "a" * 20
        cluster.open_session(address, b"extra", told)
        cluster.update_session(address, 1, (("/a", Cursor(1, 0)),), (), told)
        cluster.consumed(address, 1, (("/a", Cursor(1, 0)),))
        cluster.attach_session(address, told)
        assert all(isinstance(each, SessionDone) for each in told)
        record = cluster.record(address)
        assert record is not None
        assert record.edge == cluster.me
        cluster.close_session(address, record.generation)
        assert cluster.record(address) is None


async def test_callbacks_may_call_back() -> None:
    """What a callback leads to comes after what was to be done already."""
    async with ring(1) as ([node], _):
        order: list[str] = []

        def first(_: object) -> None:
            order.append("first")
            node.cluster.append("/a", b"2", "m2", lambda _: order.append("second"))
            order.append("still first")

        node.cluster.append("/a", b"1", "m1", first)
        assert order == ["first", "still first", "second"]


async def test_batches_end_once_and_not_inside_the_edges_own_calls() -> None:
    async with ring(1) as ([node], _):
        await trio.sleep(0.05)
        before = node.edge.batches
        node.cluster.join("/a", None, Outcomes())
        node.cluster.append("/a", b"1", "m1", Outcomes())
        assert node.edge.batches == before


async def test_a_message_to_oneself_is_our_mistake() -> None:
    async with ring(1) as ([node], _):
        with pytest.raises(LocalProtocolError, match="itself"):
            node.cluster.post(node.cluster.me, RelayCancel(1))
        with pytest.raises(LocalProtocolError, match="itself"):
            node.cluster._act_ring([Send(node.cluster.me, RelayCancel(1))])
        assert not node.cluster.post(b"?" * 20, RelayCancel(1))  # a stranger is not


async def test_a_ring_of_one_ends_at_once() -> None:
    async with ring(1) as ([node], _):
        with trio.fail_after(1):
            await node.cluster.leave_ring()
        assert not node.cluster.ready
        assert node.cluster.status().draining
        await node.cluster.leave_ring()


async def test_leaving_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LEAVE_WITHIN", 0.1)
    async with ring(2) as (nodes, _):
        pubsub = nodes[0].cluster._pubsub
        assert pubsub is not None
        monkeypatch.setattr(type(pubsub), "drained", lambda _: False)
        with trio.fail_after(2):
            await nodes[0].cluster.leave_ring()


async def test_a_founders_id_outlives_the_process(tmp_path: Path) -> None:
    async with ring(1, state_dir=tmp_path) as ([node], _):
        assert load_identity(tmp_path, node.cluster._rng).id == node.cluster.me
    async with ring(1, state_dir=tmp_path) as ([again], _):
        assert again.cluster.me == node.cluster.me
        assert again.cluster.incarnation > node.cluster.incarnation


async def test_a_full_disk_is_no_reason_to_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with structlog.testing.capture_logs() as logs:
        async with ring(1, state_dir=tmp_path) as ([node], _):
            assert node.cluster.ready
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["event"] for entry in errors] == ["vote_not_kept", "identity_not_kept"]


async def test_a_ring_outlives_its_processes(tmp_path: Path) -> None:
    """Ids, the ring itself and its votes: all of it was only on the disks in between."""
    async with ring(3, state_dir=tmp_path) as (nodes, _):
        before = {node.cluster.me: node.cluster.incarnation for node in nodes}
        old = nodes[0].cluster.view
        for number, node in enumerate(nodes):
            assert load_identity(tmp_path / str(number), node.cluster._rng).id == node.cluster.me
    async with ring(3, state_dir=tmp_path) as (again, _):
        after = {node.cluster.me: node.cluster.incarnation for node in again}
        assert after.keys() == before.keys()
        assert all(after[node] > before[node] for node in after)
        new = again[0].cluster.view
        assert old is not None
        assert new is not None
        assert new.ring == old.ring
        assert new.number > old.number
        assert load_votes(tmp_path / "0") is not None


def proof_for(node: Node) -> str:
    return prove(SECRET.encode(), node.cluster.status().situation)


async def test_who_remembers_a_ring_waits_for_it_and_says_so(tmp_path: Path) -> None:
    async with ring(3, state_dir=tmp_path):
        pass
    lonely = Node(state_dir=tmp_path / "1")
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(lonely.run)
            await until(lambda: any(entry["event"] == "waiting_for_ring" for entry in logs))
            assert not lonely.cluster.ready
            lonely.cluster.recover(proof_for(lonely))  # an operator knows that the others are lost
            await until(lambda: lonely.cluster.ready)
            nursery.cancel_scope.cancel()
    assert "ring_recovered" in {entry["event"] for entry in logs}


async def test_a_state_directory_has_one_process(tmp_path: Path) -> None:
    async with ring(1, state_dir=tmp_path):
        with pytest.raises(StateError, match="in use"):
            await Node(state_dir=tmp_path).cluster.bind()


async def test_only_who_knows_the_secret_recovers_and_only_where_it_is_needed() -> None:
    with pytest.raises(RecoveryRefused, match="secret"):
        Node().cluster.recover("")
    async with ring(1) as ([node], _):
        for proof in (
            "",
            "x",
            proof_for(node)[:-1],
            prove(b"another", node.cluster.status().situation),
        ):
            with pytest.raises(RecoveryRefused) as refused:
                node.cluster.recover(proof)
            assert refused.value.status == 401
        with pytest.raises(RecoveryRefused, match="nothing to recover") as refused:
            node.cluster.recover(proof_for(node))
        assert refused.value.status == 409


async def test_without_a_lease_nothing_is_acknowledged() -> None:
    """Three nodes of which two are gone: the third serves what it has, and promises nothing."""
    async with ring(3) as (nodes, _):
        survivor, told = nodes[0], Outcomes()
        mine = next(
            topic
            for topic in (f"/topic/{number}" for number in range(100))
            if survivor.cluster.serving_name(topic)
        )
        survivor.cluster.append(mine, b"1", "m1", told)
        await until(lambda: told)
        assert isinstance(told[0], Appended)
        ring_engine = survivor.cluster._ring
        assert ring_engine is not None
        with structlog.testing.capture_logs() as logs:
            for node in nodes[1:]:
                node.kill()
            await until(lambda: not ring_engine.holds_lease(trio.current_time()))
            survivor.cluster.append(mine, b"2", "m2", told)
            survivor.cluster.join(mine, Cursor(0, 0), told)
            await until(lambda: any(entry["event"] == "ring_frozen" for entry in logs))
            assert len(told) == 2  # the read alone
            assert isinstance(told[1], Joined)
            survivor.cluster.recover(proof_for(survivor))
            await until(lambda: len(told) == 3)
        assert isinstance(told[2], Appended)


async def test_a_peer_that_breaks_the_rings_rules_loses_its_link() -> None:
    async with ring(1) as ([node], nursery):
        liar = await party("s")
        await nursery.start(liar.run)
        liar.peers.dial(node.peer)
        await until(lambda: liar.peers.links)
        somebody = msgspec.structs.replace(member_of(liar), id=b"x" * 20)
        liar.peers.send(node.cluster.me, None, Encoder().encode(Seeking(somebody, False, b"", ())))
        await until(lambda: node.stats.link_refused["malformed"] == 1)
        await until(lambda: liar.events.of("closed"))
        assert node.members == 1


def member_of(each: Party) -> Member:
    me = each.me
    return Member(me.id, me.incarnation, me.peer, "c:1", "z", MemberState.JOINING)


async def test_long_batches_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ring(1) as ([node], nursery):
        talker = await party("s")
        await nursery.start(talker.run)
        talker.peers.dial(node.peer)
        await until(lambda: talker.peers.links)
        await until(lambda: node.cluster._links.links)
        monkeypatch.setattr(driver, "SLICE", 0.0)
        before = node.edge.batches
        encoder = Encoder()
        for number in range(50):
            talker.peers.send(node.cluster.me, None, encoder.encode(RelayCancel(number)))
        await until(lambda: len(node.edge.of("message")) == 50)
        assert [message.request for _, message in node.edge.of("message")] == list(range(50))
        assert node.edge.batches - before >= 50  # a slice each


async def test_a_link_that_ends_within_a_batch_is_not_heard_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ring(1) as ([node], nursery):
        talker = await party("s")
        await nursery.start(talker.run)
        talker.peers.dial(node.peer)
        await until(lambda: node.cluster._links.links)
        monkeypatch.setattr(driver, "SLICE", 0.0)

        def hang_up(sender: bytes, message: object) -> None:
            node.edge.log.append(("message", sender, message))
            node.cluster._links.hang_up(sender, "enough")

        monkeypatch.setattr(node.edge, "on_message", hang_up)
        encoder = Encoder()
        for number in range(50):
            talker.peers.send(node.cluster.me, None, encoder.encode(RelayCancel(number)))
        await until(lambda: talker.events.of("closed"))
        assert len(node.edge.of("message")) == 1


async def test_resets_are_passed_on() -> None:
    async with ring(1) as ([node], _):
        node.cluster.join("/a", None, Outcomes())
        feed = node.cluster.feed("/a")
        assert feed is not None
        node.cluster._act_pubsub([Reset(feed)])
        assert node.edge.of("reset") == [("/a",)]
