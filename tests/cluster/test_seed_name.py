"""Five processes, one seed name that resolves to all of them: one ring, every time.

COMETRING_ROUNDS sets how often (`make form-ring`: a hundred times).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cluster_process import HOST, ClusterProcess, free_port
from named_node import ADDRESSES, NAME

if TYPE_CHECKING:
    from cluster_process import NodeProcess

ROUNDS = int(os.environ.get("COMETRING_ROUNDS", "1"))
NODES = 5
PROGRAM = Path(__file__).parents[1] / "support" / "named_node.py"


class NamedCluster(ClusterProcess):
    """Every node has an address of its own, the same port, and the same single seed."""

    def __init__(self, log_dir: Path) -> None:
        super().__init__(NODES, log_dir, demo=False)
        self._directory = log_dir
        self._port = free_port()
        addresses = [f"127.0.0.{index + 1}" for index in range(NODES)]
        self._environ |= {ADDRESSES: ",".join(addresses), "PYTHONPATH": os.pathsep.join(sys.path)}

    def start_node(self, node: NodeProcess) -> None:
        """Start one node; does not wait."""
        words = ["--client", f"{HOST}:{node.client_port}", "--ops", node.ops]
        words += ["--peer", f"127.0.0.{node.index + 1}:{self._port}"]
        words += ["--join", f"{NAME}:{self._port}", "--expect", str(NODES)]
        words += ["--state-dir", str(self._directory / f"state-{node.index}")]
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "serve", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
            )

    def timed_start(self) -> float:
        """Start all; the seconds until they were one ring, the interpreters' start included."""
        began = time.monotonic()
        self.start(timeout=120.0)
        return time.monotonic() - began

    def ring_ids(self) -> set[str]:
        """The rings that the nodes say they are in."""
        pages = [node.ring() for node in self.nodes]
        return {page["ring"] if page else "none" for page in pages}


@pytest.mark.timeout(300 * ROUNDS)
def test_they_form_one_ring_also_after_a_full_stop(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        cluster = NamedCluster(tmp_path / str(number))
        try:
            first = cluster.timed_start()
            rings = cluster.ring_ids()
            assert len(rings) == 1, f"round {number}: {rings}"
            for node in cluster.nodes:
                node.signal(9)
            for node in cluster.nodes:
                node.wait()
            again = cluster.timed_start()
            assert cluster.ring_ids() == rings, f"round {number}: another ring after a full stop"
            assert not cluster.complaints()
            print(f"{number + 1}: one ring in {first:.2f} s, the same again in {again:.2f} s")
        finally:
            cluster.stop()
