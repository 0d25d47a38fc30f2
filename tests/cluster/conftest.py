"""One ring of three that the tests of a module share, where they do not break it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster_process import ClusterProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    """Three ready nodes with an API key; `ClusterProcess.nodes` has them."""
    with ClusterProcess(3, tmp_path_factory.mktemp("three")) as cluster:
        yield cluster
    assert not cluster.complaints(), cluster.logs()
