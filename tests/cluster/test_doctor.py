"""`cometring doctor` against nodes that run: it asks, and leaves no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster_process import ClusterProcess
from node.config import load_config
from node.doctor import Finding, Level
from node.doctor.network import check_peers

if TYPE_CHECKING:
    from pathlib import Path


async def asked(join: str, secret: str) -> list[Finding]:
    return [f async for f in check_peers(load_config({"join": join, "cluster_secret": secret}))]


def test_a_seed_is_asked_for_secret_and_version_and_nothing_changes(tmp_path: Path) -> None:
    with ClusterProcess(2, tmp_path) as ring:
        before = ring.nodes[0].ring()
        assert before is not None
        seeds = ",".join(node.peer for node in ring.nodes)
        for finding in trio.run(asked, seeds, ring.secret):
            assert finding.level is Level.OK, finding
            assert "1 answered" in finding.found
        (stranger,) = trio.run(asked, ring.nodes[0].peer, "another-secret-altogether")
        assert stranger.level is Level.FAIL
        assert "secret" in stranger.found
        after = ring.nodes[0].ring()
        assert after is not None
        assert (after["view"], after["digest"]) == (before["view"], before["digest"])
