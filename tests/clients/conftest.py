"""One ring of three for the foreign clients of a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cluster_process import ClusterProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcess]:
    with ClusterProcess(3, tmp_path_factory.mktemp("ring")) as cluster:
        yield cluster
