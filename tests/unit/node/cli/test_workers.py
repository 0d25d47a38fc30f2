from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import free_port, free_ports
from node.cli.workers import plan_workers
from node.config import load_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("COMETRING_"):
            monkeypatch.delenv(name)


def listeners(workers: int) -> dict[str, Any]:
    return {
        "workers": str(workers),
        "client": f"127.0.0.1:{free_port()}",
        "peer": f"127.0.0.1:{free_ports(workers)}",
        "ops": f"127.0.0.1:{free_ports(workers)}",
    }


def settings(arguments: tuple[str, ...], environ: dict[str, str], mp: pytest.MonkeyPatch) -> Any:
    """The configuration that a worker reads from its words and environment."""
    flags: dict[str, object] = {}
    rest = list(arguments)
    while rest:
        name = rest.pop(0).removeprefix("--")
        if name in {"reuse-port", "demo"}:
            flags[name.replace("-", "_")] = True
        else:
            flags[name.replace("-", "_")] = rest.pop(0)
    with mp.context() as context:
        for name, value in environ.items():
            context.setenv(name, value)
        return load_config(flags)


def test_workers_share_the_client_port_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = listeners(3) | {"api_key": "k", "demo": True, "state_dir": str(tmp_path)}
    plans, environ, secrets = plan_workers(load_config(flags), flags, None)
    for name, secret in secrets.items():
        (tmp_path / name).write_text(secret)
        environ[name] = str(tmp_path / name)
    configs = [settings(plan.arguments, environ, monkeypatch) for plan in plans]
    assert {str(c.client) for c in configs} == {flags["client"]}
    assert len({c.peer for c in configs}) == len({c.ops for c in configs}) == 3
    assert len({c.state_dir for c in configs}) == 3
    assert all(c.reuse_port and c.demo and c.workers == 1 and c.expect == 3 for c in configs)
    assert all(c.api_key == "k" for c in configs)
    assert configs[1].join == (str(configs[0].peer), str(configs[2].peer))
    assert len({c.secrets for c in configs}) == 1
    assert not any("k" in plan.arguments for plan in plans)


def test_workers_join_a_ring_of_other_hosts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-twenty-chars")
    port = free_ports(2)
    flags = listeners(2) | {
        "peer": f":{port}",
        "advertise": "node-1",
        "join": "node-2",
        "cluster_secret_file": str(secret),
    }
    plans, environ, secrets = plan_workers(load_config(flags), flags, None)
    assert not secrets
    assert "COMETRING_CLUSTER_SECRET" not in environ
    first, second = (settings(plan.arguments, environ, monkeypatch) for plan in plans)
    assert first.join[0] == second.join[0] == "node-2:7400"
    assert first.join[1] == f"node-1:{port + 1}"
    assert first.expect == 3
    assert first.peer_address() == f"node-1:{port}"
    assert second.peer_address() == f"node-1:{port + 1}"


def test_the_file_is_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("timeout = 3\n")
    flags = listeners(2)
    plans, _, _ = plan_workers(load_config(flags, file), flags, file)
    assert str(file) in plans[0].arguments


def test_a_secret_of_the_environment_does_not_reach_that_of_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", "a-secret-of-twenty-chars")
    monkeypatch.setenv("COMETRING_API_KEY", "the-key")
    flags = listeners(2)
    _, environ, secrets = plan_workers(load_config(flags), flags, None)
    assert secrets == {
        "COMETRING_CLUSTER_SECRET_FILE": "a-secret-of-twenty-chars",
        "COMETRING_API_KEY_FILE": "the-key",
    }
    assert not {"the-key", "a-secret-of-twenty-chars"}.intersection(environ.values())
