"""How many nodes have a channel's messages before they are acknowledged: as its rule says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster_process import ClusterProcess
from raw_client import locate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    folder: Path = tmp_path_factory.mktemp("copies")
    rules = folder / "channels.toml"
    rules.write_text('[[channel]]\nmatch = "/fast/**"\nreplicas = 1\n')
    options = ["--channels", str(rules), "--suspect-after", "3"]
    with ClusterProcess(3, folder, options) as cluster:
        yield cluster
    assert not cluster.complaints(), cluster.logs()


def test_one_copy_does_not_wait_for_the_others_and_three_do(ring: ClusterProcess) -> None:
    home, *others = ring.nodes
    fast, safe = locate(home, home, "/fast/{}"), locate(home, home, "/safe/{}")
    for channel in (fast, safe):
        assert home.api("/api/publish", {"channel": channel, "data": 0})[0] == 200
    for node in others:
        node.pause()
    try:
        assert home.api("/api/publish", {"channel": fast, "data": 1}, timeout=0.5)[0] == 200
        with pytest.raises(TimeoutError):
            home.api("/api/publish", {"channel": safe, "data": 1, "id": "1"}, timeout=0.5)
    finally:
        for node in others:
            node.resume()
    status, told = home.api("/api/publish", {"channel": safe, "data": 1, "id": "1"})
    assert status == 200
    assert told["offset"] == 2, "the one that was not answered is the same"
