"""For all tests: clusters of real processes, and no silent skips in CI."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import ClusterProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test has failed: what it needs must be installed there."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be: {_reason(report.longrepr)}"
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is collected."""
    report = yield
    if IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be: {_reason(report.longrepr)}"
    return report


def _reason(longrepr: Any) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


@pytest.fixture
def make_cluster(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., ClusterProcess]]:
    """A function that starts clusters (arguments as `ClusterProcess`); they end with the test.

    The logs of a failed test's nodes are printed.
    """
    started: list[ClusterProcess] = []

    def make(nodes: int = 3, **options: Any) -> ClusterProcess:
        cluster = ClusterProcess(nodes, log_dir=tmp_path / f"cluster{len(started)}", **options)
        started.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in started:
        cluster.stop()
        if request.node.stash.get(FAILED, False) or cluster.complaints():
            print(cluster.logs())
    assert not [line for cluster in started for line in cluster.complaints()]
