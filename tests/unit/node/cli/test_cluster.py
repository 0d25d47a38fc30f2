from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import free_ports
from node.cli import cluster as cluster_module
from node.cli.cluster import plan_ring
from node.cli.main import main
from node.endpoint import Endpoint

if TYPE_CHECKING:
    from pathlib import Path


def words(arguments: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def test_ports_count_up_and_seeds_are_the_others(tmp_path: Path) -> None:
    plans = plan_ring(3, 8080, 7400, 9100, tmp_path)
    assert [plan.client.port for plan in plans] == [8080, 8081, 8082]
    assert plans[1].ops == Endpoint("127.0.0.1", 9101)
    said = words(plans[1].arguments)
    assert said["--peer"] == "127.0.0.1:7401"
    assert said["--join"] == "127.0.0.1:7400,127.0.0.1:7402"
    assert said["--expect"] == "3"
    assert said["--state-dir"] == str(tmp_path / "node-1")


def test_one_node_is_a_ring_of_its_own() -> None:
    (plan,) = plan_ring(1, 8080, 7400, 9100)
    assert "--join" not in plan.arguments
    assert words(plan.arguments)["--expect"] == "1"


def test_many_nodes_name_some_seeds() -> None:
    plans = plan_ring(40, 8080, 7400, 9100)
    assert words(plans[0].arguments)["--join"].count(":") == 5


class LauncherSpy:
    """Stands for the launcher: keeps what it was given, and ends at once."""

    def __init__(self, plans: Any, environ: dict[str, str], **options: Any) -> None:
        LauncherSpy.plans, LauncherSpy.environ, LauncherSpy.options = plans, environ, options

    plans: Any = None
    environ: dict[str, str]
    options: dict[str, Any]

    async def run(self) -> int:
        return 0


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[LauncherSpy]:
    for name in list(os.environ):
        if name.startswith("COMETRING_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(cluster_module, "Launcher", LauncherSpy)
    return LauncherSpy


def ports() -> list[str]:
    given = []
    for option in ("--client-port", "--peer-port", "--ops-port"):
        given += [option, str(free_ports(3))]
    return given


def test_secrets_are_neither_among_the_arguments_nor_in_the_environment(
    spy: type[LauncherSpy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETRING_PEER", "192.0.2.1:1")
    monkeypatch.setenv("COMETRING_TIMEOUT", "5")
    assert main(["cluster", "--api-key", "the-key", *ports()]) == 0
    assert spy.options["secrets"]["COMETRING_API_KEY_FILE"] == "the-key"
    assert len(spy.options["secrets"]["COMETRING_CLUSTER_SECRET_FILE"]) == 43
    assert "the-key" not in spy.environ.values()
    assert "COMETRING_CLUSTER_SECRET" not in spy.environ
    assert spy.environ["COMETRING_DEMO"] == "true"
    assert spy.environ["COMETRING_TIMEOUT"] == "5"
    assert "COMETRING_PEER" not in spy.environ
    assert not any("the-key" in word for plan in spy.plans for word in plan.arguments)


def test_options_reach_the_launcher(spy: type[LauncherSpy]) -> None:
    assert main(["cluster", "--nodes", "2", "--respawn", "--no-demo", *ports()]) == 0
    assert len(spy.plans) == 2
    assert spy.options["respawn"] is True
    assert spy.options["grace"] < 10
    assert spy.environ["COMETRING_DEMO"] == "false"
    assert "COMETRING_API_KEY_FILE" not in spy.options["secrets"]


def test_a_secret_of_the_operator_is_kept(
    spy: type[LauncherSpy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", "chosen-by-the-operator")
    assert main(["cluster", *ports()]) == 0
    assert spy.options["secrets"]["COMETRING_CLUSTER_SECRET_FILE"] == "chosen-by-the-operator"
    assert "chosen-by-the-operator" not in spy.environ.values()


def test_a_secret_file_of_the_operator_is_read_by_the_nodes_themselves(
    spy: type[LauncherSpy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET_FILE", "/run/ring.secret")
    assert main(["cluster", *ports()]) == 0
    assert "COMETRING_CLUSTER_SECRET_FILE" not in spy.options["secrets"]
    assert spy.environ["COMETRING_CLUSTER_SECRET_FILE"] == "/run/ring.secret"
