from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import structlog

from cluster_process import free_port
from node.cli import serve as serve_module
from node.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node.config import Config


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serving sets limits and logging of the process: put them back."""
    for name in list(os.environ):
        if name.startswith("COMETRING_"):
            monkeypatch.delenv(name)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """What the node was started with; it ends at once."""
    configs: list[Config] = []

    async def serve(config: Config) -> None:
        configs.append(config)

    app = ModuleType("node.app")
    app.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "node.app", app)
    return configs


def listeners() -> list[str]:
    words = []
    for option in ("--client", "--peer", "--ops"):
        words += [option, f"127.0.0.1:{free_port()}"]
    return words


def test_options_become_the_configuration(served: list[Config], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("timeout = 3\ninterval = 4\n")
    words = ["--config", str(file), "--interval", "5", "--demo", "--max-message-size", "2MiB"]
    assert main(["serve", *listeners(), *words]) == 0
    (config,) = served
    assert (config.timeout, config.interval, config.demo) == (3.0, 5.0, True)
    assert config.max_message_size == 2 << 20


def test_as_many_descriptors_as_allowed(served: list[Config]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 256), hard))
    assert main(["serve", *listeners()]) == 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard


def test_a_taken_port_is_told_before_anything_starts(
    served: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    words = listeners()
    words[3] = words[5] = "127.0.0.1:0"
    words[1] = "192.0.2.1:8080"
    assert main(["serve", *words]) == 1
    assert "192.0.2.1:8080" in capsys.readouterr().err
    assert not served


def test_a_certificate_that_will_not_do_is_told_before_anything_starts(
    served: list[Config], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cert.pem").write_text("hello")
    (tmp_path / "key.pem").write_text("hello")
    (tmp_path / "key.pem").chmod(0o600)
    pair = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    for more in ([], ["--workers", "2"]):
        assert main(["serve", *listeners(), *pair, *more]) == 2
        told = capsys.readouterr().err
        assert "--tls-cert, --tls-key: " in told
        assert "cert.pem has no certificate in PEM" in told
        assert told.count("\n") == 1
    assert served == []


def test_a_secret_that_others_can_read_is_warned_of(
    served: list[Config], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_text("a-secret-of-twenty-chars")
    file.chmod(0o644)
    words = ["--cluster-secret-file", str(file), "--log-format", "json"]
    assert main(["serve", *listeners(), *words]) == 0
    line = json.loads(capfd.readouterr().err)
    assert line["level"] == "warning"
    assert "chmod 600" in line["advice"]
    assert line["client"] == str(served[0].client)


def test_workers_are_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    class LauncherSpy:
        def __init__(self, plans: list[object], *_: object, **options: object) -> None:
            assert len(plans) == 2
            assert options["respawn"] is True

        async def run(self) -> int:
            return 0

    monkeypatch.setattr(serve_module, "Launcher", LauncherSpy)
    assert main(["serve", *listeners(), "--workers", "2"]) == 0


@pytest.mark.parametrize("deaf", [False, True])
def test_an_orphan_ends_by_itself(deaf: bool) -> None:
    program = f"""
import signal, time
from node.cli import serve
serve.ORPHAN_GRACE = 0.1
signal.signal(signal.SIGTERM, signal.{"SIG_IGN" if deaf else "SIG_DFL"})
serve._end_with_launcher(0)
print("watching", flush=True)
time.sleep(30)
"""
    orphan = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert orphan.stdin is not None
    assert orphan.stdout is not None
    with orphan.stdout:
        assert orphan.stdout.readline() == b"watching\n"
        orphan.stdin.close()
        assert orphan.wait(10) == (1 if deaf else -signal.SIGTERM)


def test_keys_that_will_not_do_are_told_before_anything_starts(
    served: list[Config], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "keys.toml"
    file.write_text('[[key]]\nname="a"\nkey="short"\n')
    file.chmod(0o600)
    for more in ([], ["--workers", "2"]):
        assert main(["serve", *listeners(), "--api-keys", str(file), *more]) == 2
        told = capsys.readouterr().err
        assert "key 1 (a): a key has 16 characters or more" in told
    assert served == []
