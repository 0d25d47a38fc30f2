"""The doctor: every finding, and that its questions change nothing at the nodes it asks."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from node.cli.main import main
from node.config import Config, load_config
from node.doctor import Finding, Level, worst
from node.doctor.exposure import check_exposure, is_public
from node.doctor.host import check_host
from node.doctor.network import check_peers, check_ports, check_state
from node.endpoint import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SECRET = "a-secret-of-twenty-characters"


def by_subject(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def config(**settings: Any) -> Config:
    return load_config(settings)


# -- the machine -----------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc where all is well."""
    for name, value in {
        "net/core/somaxconn": "4096",
        "net/ipv4/tcp_max_syn_backlog": "8192",
        "net/ipv4/ip_local_port_range": "15000\t64999",
        "net/netfilter/nf_conntrack_max": "262144",
        "net/netfilter/nf_conntrack_count": "10",
    }.items():
        write(tmp_path, name, value)
    (tmp_path / "meminfo").write_text("MemTotal: 99999999 kB\nMemAvailable: 67108864 kB\n")
    return tmp_path


def write(proc: Path, name: str, value: str) -> None:
    file = proc / "sys" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(value + "\n")


def test_a_good_machine(proc: Path) -> None:
    findings = by_subject(check_host(config(max_sessions=100), proc))
    findings.pop("clock")  # (this machine's own)
    assert {finding.level for finding in findings.values()} == {Level.OK}
    assert set(findings) == {
        *("descriptors", "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog"),
        *("connection tracking", "local ports", "memory", "logs", "cores"),
    }


@pytest.mark.parametrize(
    ("name", "value", "subject", "advice"),
    [
        ("net/core/somaxconn", "128", "net.core.somaxconn", "sysctl -w net.core.somaxconn=4096"),
        ("net/ipv4/ip_local_port_range", "40000 50000", "local ports", "ip_local_port_range"),
        ("net/netfilter/nf_conntrack_count", "250000", "connection tracking", "conntrack_max"),
    ],
)
def test_what_is_too_small_is_named_with_its_cure(
    proc: Path, name: str, value: str, subject: str, advice: str
) -> None:
    write(proc, name, value)
    finding = by_subject(check_host(config(max_sessions=100), proc))[subject]
    assert finding.level is Level.WARN
    assert advice in finding.advice


def test_too_few_descriptors_or_too_little_memory_for_the_sessions(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.doctor.host.resource.getrlimit", lambda _: (1024, 4096))
    findings = by_subject(check_host(config(max_sessions=10_000), proc))
    assert findings["descriptors"].level is Level.WARN
    monkeypatch.setattr("node.doctor.host.resource.getrlimit", lambda _: (256, 256))
    assert by_subject(check_host(config(), proc))["descriptors"].level is Level.FAIL
    monkeypatch.setattr("node.doctor.host.resource.getrlimit", lambda _: (10**6, 10**6))
    (proc / "meminfo").write_text("MemAvailable: 100000 kB\n")
    assert by_subject(check_host(config(), proc))["memory"].level is Level.WARN


def test_logs_that_a_control_group_has_no_room_for(proc: Path, tmp_path: Path) -> None:
    (proc / "self").mkdir()
    (proc / "self" / "cgroup").write_text("0::/\n")
    (tmp_path / "memory.max").write_text(f"{600 << 20}\n")
    findings = by_subject(check_host(config(), proc, tmp_path))
    assert findings["logs"].level is Level.WARN
    assert "--max-log-bytes to 200MiB" in findings["logs"].advice
    findings = by_subject(check_host(config(max_log_bytes="200MiB"), proc, tmp_path))
    assert findings["logs"].level is Level.OK
    findings = by_subject(check_host(config(max_log_bytes="200MiB", workers=2), proc, tmp_path))
    assert "to 100MiB" in findings["logs"].advice


def test_what_cannot_be_read_is_not_judged(tmp_path: Path) -> None:
    findings = by_subject(check_host(config(max_sessions=100), tmp_path))
    assert set(findings) == {"descriptors", "clock", "cores"}


@pytest.mark.parametrize(("state", "level"), [(0, Level.OK), (5, Level.WARN), (-1, Level.OK)])
def test_the_clock(proc: Path, monkeypatch: pytest.MonkeyPatch, state: int, level: Level) -> None:
    class Libc:
        def adjtimex(self, _buffer: object) -> int:
            return state

    monkeypatch.setattr("node.doctor.host.ctypes.CDLL", lambda *_, **__: Libc())
    assert by_subject(check_host(config(), proc))["clock"].level is level


# -- what is open ----------------------------------------------------------------------


def test_loopback_is_nobodys_business() -> None:
    assert worst(check_exposure(config())) is Level.OK


def test_everything_open_is_said() -> None:
    wide = config(
        client=":8080",
        peer=":7400",
        advertise="10.1.2.3",
        ops=":9100",
        demo=True,
        cluster_secret=SECRET,
    )
    findings = by_subject(check_exposure(wide))
    warned = {subject for subject, each in findings.items() if each.level is Level.WARN}
    assert warned == {"--ops", "--peer", "--client", "origins", "sessions", "rates", "demo"}
    assert all(findings[subject].advice for subject in warned)


def test_what_has_been_closed_is_not_warned_of(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef0123456789abcdef")
    secret.chmod(0o600)
    closed = config(
        client=":8080",
        allowed_origins="https://example.com",
        token_secret_file=str(secret),
        session_rate=10,
        address_rate=10,
        api_key="sesame-sesame",
    )
    findings = by_subject(check_exposure(closed))
    warned = {subject for subject, each in findings.items() if each.level is not Level.OK}
    assert warned == {"--client"}  # no TLS
    assert "sesame" not in str(findings)


def test_files_that_will_not_do_fail(tmp_path: Path) -> None:
    for name in ("keys", "rules", "token", "cert"):
        (tmp_path / name).write_text("[[")
    findings = by_subject(
        check_exposure(
            config(
                api_keys=str(tmp_path / "keys"),
                channels=str(tmp_path / "rules"),
                token_secret_file=str(tmp_path / "token"),
                tls_cert=str(tmp_path / "cert"),
                tls_key=str(tmp_path / "cert"),
            )
        )
    )
    failed = {subject for subject, each in findings.items() if each.level is Level.FAIL}
    assert failed == {"/api", "tokens", "channel rules", "certificate"}


@pytest.mark.parametrize(
    ("endpoint", "public"),
    [
        ("127.0.0.1:1", False),
        ("localhost:1", False),
        ("10.1.2.3:1", False),
        ("[fd00::1]:1", False),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("8.8.8.8:1", True),
        ("node.example.com:1", True),
    ],
)
def test_who_can_reach_it(endpoint: str, public: bool) -> None:
    assert is_public(parse_endpoint(endpoint)) is public


# -- ports, state, peers ------------------------------------------------------------------


def test_ports_that_are_taken() -> None:
    findings = list(check_ports(config(), lambda endpoint, option: f"{option} {endpoint}"))
    assert [finding.level for finding in findings] == [Level.WARN] * 3
    assert worst(check_ports(config(), lambda *_: None)) is Level.OK


def test_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_state(config()).level is Level.OK
    ring = {"join": "a:1", "cluster_secret": SECRET}
    assert check_state(config(**ring)).level is Level.WARN
    assert check_state(config(state_dir=str(tmp_path / "new" / "one"))).level is Level.OK
    monkeypatch.setattr("node.doctor.network.os.access", lambda *_: False)
    assert check_state(config(state_dir=str(tmp_path))).level is Level.FAIL


async def asked(join: str, secret: str = SECRET) -> list[Finding]:
    return [f async for f in check_peers(config(join=join, cluster_secret=secret))]


async def test_seeds_that_are_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        (finding,) = await asked(f"127.0.0.1:{port}")
    assert finding.level is Level.WARN
    assert "no node listens" in finding.found
    (finding,) = await asked("nowhere.invalid:7400")
    assert "cannot be reached" in finding.found
    (finding,) = [f async for f in check_peers(config())]
    assert finding.level is Level.OK


async def test_a_seed_that_is_no_node() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        finding = (await asked(f"127.0.0.1:{listener.getsockname()[1]}"))[0]
    assert finding.level is Level.FAIL
    assert "does not answer as a node" in finding.found


# -- the command ----------------------------------------------------------------------------


def test_the_command_prints_everything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETRING_CLIENT", ":0")
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "anybody may begin one" in told
    assert "→ let your application sign tokens" in told
    assert "to look at, 0 to mend" in told
    assert main(["doctor", "--json"]) == 0
    assert {"level", "subject", "found", "advice"} == set(json.loads(capsys.readouterr().out)[0])


def test_what_must_be_mended_is_status_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[[channel]]\nmatch = "nonsense"\n')
    assert main(["doctor", "--config", str(file)]) == 1
    assert "fail" in capsys.readouterr().out
    file.write_text("nonsense = 1")
    assert main(["doctor", "--config", str(file)]) == 2
