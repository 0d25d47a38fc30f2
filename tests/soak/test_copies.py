"""Nodes that hold the copies of a slot die together: two of the three, and all."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from chaos import START_LIMIT, wait_healed
from cluster_process import ClusterProcess, NodeProcess
from witnesses import Reader, Writer, missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ARRIVED = 20.0  # seconds for the last message to come
WITHIN = 0.05  # seconds in which all the copies die
ROOMS = [f"/room/{i}" for i in range(40)]


def started(nodes: int, folder: Path) -> ClusterProcess:
    cluster = ClusterProcess(nodes, folder)
    cluster.start_within = START_LIMIT
    return cluster


def copies(cluster: ClusterProcess, channel: str) -> list[NodeProcess]:
    """The nodes that hold `channel`, its home first."""
    _, found = cluster.nodes[0].api(f"/api/locate?channel={channel}")
    ports = {node.peer: node for node in cluster.nodes}
    return [ports[replica["peer"]] for replica in found["replicas"]]


def kill_together(nodes: Sequence[NodeProcess]) -> None:
    began = time.monotonic()
    for node in nodes:
        node.signal(signal.SIGKILL)
    assert time.monotonic() - began < WITHIN
    for node in nodes:
        node.wait()


def wait_arrived(writers: Sequence[Writer], readers: Sequence[Reader]) -> None:
    end = time.monotonic() + ARRIVED
    while any(missing(writers, reader) for reader in readers) and time.monotonic() < end:
        time.sleep(0.2)


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_one_copy_of_three_is_enough(tmp_path: Path) -> None:
    with started(5, tmp_path) as cluster, ExitStack() as stack:
        wait_healed(cluster)
        dying = copies(cluster, ROOMS[0])[:2]
        left = [node for node in cluster.nodes if node not in dying]
        readers = [stack.enter_context(Reader(node, ROOMS)) for node in left]
        writers = [stack.enter_context(Writer(node, ROOMS, 60)) for node in left]
        time.sleep(2.0)
        kill_together(dying)
        time.sleep(6.0)
        for writer in writers:
            writer.stop()
        wait_arrived(writers, readers)
        for reader in readers:
            assert not missing(writers, reader), reader.gaps
            assert not reader.gaps
            for room in ROOMS:
                assert reader.order(room) == readers[0].order(room)
        for writer in writers:
            assert writer.answers[-1][2] == "ok"


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_where_all_copies_die_readers_are_told_of_a_gap(tmp_path: Path) -> None:
    """The others notice nothing. Nine nodes: five vote, and enough of those must live."""
    with started(9, tmp_path) as cluster, ExitStack() as stack:
        wait_healed(cluster)
        ring = cluster.nodes[0].ring()
        assert ring is not None
        voters = set(ring["voters"])
        ids = {node.peer: node.ring()["node"] for node in cluster.nodes}  # type: ignore[index]
        room = next(
            room
            for room in ROOMS
            if sum(ids[node.peer] in voters for node in copies(cluster, room)) <= 2
        )
        dying = copies(cluster, room)
        held = [name for name in ROOMS if copies(cluster, name)[0] in dying]
        whole = [name for name in ROOMS if any(node not in dying for node in copies(cluster, name))]
        left = [node for node in cluster.nodes if node not in dying]
        readers = [stack.enter_context(Reader(node, ROOMS)) for node in left[:3]]
        writers = [stack.enter_context(Writer(node, ROOMS, 40)) for node in left[:3]]
        time.sleep(3.0)
        kill_together(dying)
        time.sleep(8.0)
        for writer in writers:
            writer.stop()
        wait_arrived(writers, readers[:0])
        time.sleep(3.0)
        assert room in held
        for reader in readers:
            assert room in reader.gaps, "told, not left to wonder"
            assert not {*reader.gaps} & {*whole}, "the others lose nothing"
            for name in whole:
                came = set(reader.order(name))
                for writer in writers:
                    assert came >= set(writer.acknowledged[name])
        for writer in writers:
            assert writer.answers[-1][2] == "ok", "the slot goes on, empty"
        lossy = [n.metrics().get('cometring_takeovers_total{outcome="lossy"}', 0) for n in left]
        assert sum(lossy) > 0
