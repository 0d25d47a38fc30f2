"""Peers: installed by name or named as missing, started, published to, measured beside us."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadtest.peers import install
from loadtest.peers.catalogue import BAKE_OFF, PEERS, Peer
from loadtest.peers.install import NotInstalled
from loadtest.peers.running import running
from loadtest.scenarios import peers
from loadtest.server import ServerError

SCRIPT = Path(__file__).parents[2] / "support" / "poll_server.py"
POLLS = {"long-polling": {"transport": "poll", "path": "/poll"}}


def standard_library(_folder: Path, port: int) -> list[str]:
    return [sys.executable, str(SCRIPT), str(port)]


def missing(_folder: Path, _port: int) -> list[str]:
    raise NotInstalled("no such thing here")


def test_who_can_be_had_is_measured_and_who_cannot_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers, "_QUIET", 0.1)
    monkeypatch.setattr(peers, "_HOLD", 0.3)
    one = Peer("standard library", standard_library, POLLS)
    none = Peer("nowhere", missing, POLLS)
    monkeypatch.setattr(peers, "PEERS", (one, none))
    monkeypatch.setattr(peers, "BAKE_OFF", (one, none))
    settings = peers.Peers(
        subscribers=20, warm_up=5, messages=2, rounds=1, held=10, transports=("long-polling",)
    )
    report = peers.run(settings, lambda _: None)
    names = [figure.name for figure in report.figures]
    for name in ("cometring", "standard library"):
        assert f"long-polling: {name}: CPU a delivery" in names
    assert "bake-off: standard library: memory a held poll" in names
    remarks = " ".join(report.remarks)
    assert "nowhere was not measured over long-polling: no such thing here" in remarks
    assert "nowhere was not in the bake-off" in remarks
    assert "clients got" not in remarks
    assert {plot.title for plot in report.plots} >= {
        "long-polling: CPU a delivery",
        "bake-off: memory a held poll",
    }


def test_a_peer_that_ends_at_once_is_told_with_its_words() -> None:
    def command(_folder: Path, _port: int) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('not today')"]

    with pytest.raises(ServerError, match="not today"), running(Peer("brief", command, POLLS)):
        pass


def test_a_failing_installer_is_told_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETRING_BENCH_CACHE", str(tmp_path))
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho there is no registry >&2\nexit 1\n", "utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(NotInstalled, match="npm failed: there is no registry"):
        install.npm()
    npm.write_text("#!/bin/sh\n", "utf-8")
    folder = install.npm()
    assert (folder / "faye.js").exists()
    npm.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    assert install.npm() == folder  # nothing is installed twice


def test_a_program_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NotInstalled, match="apt install nothing-at-all"):
        install.program("no-such-program-anywhere", "nothing-at-all")


def test_each_peer_has_a_name_of_its_own_and_known_transports() -> None:
    everyone = [*PEERS, *BAKE_OFF]
    assert len({peer.name for peer in everyone}) == len(everyone)
    for peer in everyone:
        assert set(peer.transports) <= {"websocket", "sse", "long-polling"}
