from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from node.config import Config, ConfigError, load_config
from node.endpoint import Endpoint

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a-secret-of-twenty-chars"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("COMETRING_"):
            monkeypatch.delenv(name)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def complaint(flags: dict[str, Any] | None = None, file: Path | None = None) -> str:
    with pytest.raises(ConfigError) as info:
        load_config(flags or {}, file)
    assert "\n" not in str(info.value)
    return str(info.value)


# -- defaults and sources ----------------------------------------------------------


def test_the_defaults_are_a_lone_node_on_loopback() -> None:
    config = load_config({})
    assert config.client == Endpoint("127.0.0.1", 8080)
    assert config.peer == Endpoint("127.0.0.1", 7400)
    assert config.ops == Endpoint("127.0.0.1", 9100)
    assert (config.join, config.expect, config.workers) == ((), 1, 1)
    assert (config.timeout, config.interval, config.max_interval) == (30.0, 0.0, 10.0)
    assert config.max_message_size == 1 << 20
    assert config.api_key is None
    assert not config.demo
    assert config.zone


def test_flag_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(
        tmp_path / "c.toml", 'client = "a:1"\npeer = "127.0.0.1:2"\ntimeout = 3\ndemo=true'
    )
    monkeypatch.setenv("COMETRING_CLIENT", "b:1")
    monkeypatch.setenv("COMETRING_PEER", "127.0.0.1:3")
    config = load_config({"client": "c:1", "peer": None}, file)
    assert config.client.host == "c"
    assert config.peer.port == 3
    assert config.timeout == 3.0
    assert config.demo


def test_the_environment_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "c.toml", "flat_limit = 0")
    monkeypatch.setenv("COMETRING_CONFIG", str(file))
    assert load_config({}).flat_limit == 0


def test_lists_may_be_words_with_commas_or_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_config({}).allowed_origins == ("*",)
    assert load_config({}).hosts == ()
    config = load_config({"allowed_origins": "https://A.example, same-origin", "hosts": "a,b:1"})
    assert config.allowed_origins == ("https://a.example", "same-origin")
    assert config.hosts == ("a", "b:1")
    file = write(tmp_path / "c.toml", 'allowed_origins = ["https://*.a.example"]\nhosts = []')
    assert load_config({}, file).allowed_origins == ("https://*.a.example",)
    monkeypatch.setenv("COMETRING_ALLOWED_ORIGINS", "same-origin")
    assert load_config({}, file).allowed_origins == ("same-origin",)


def test_an_origin_that_is_none_is_told_in_one_line() -> None:
    assert "write https://HOST" in complaint({"allowed_origins": "example.org"})
    assert "list of strings" in complaint({"hosts": [1]})


def test_an_empty_variable_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETRING_TIMEOUT", "")
    assert load_config({}).timeout == 30.0


def test_a_port_alone_may_be_a_number_in_toml(tmp_path: Path) -> None:
    assert load_config({}, write(tmp_path / "c.toml", "ops = 9")).ops == Endpoint("127.0.0.1", 9)


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config({}).timeout = 1.0  # type: ignore[misc]


# -- what is said of mistakes --------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"client": "nonsense:x"}, "--client: 'nonsense:x' is not HOST:PORT"),
        ({"max_message_size": "huge"}, "--max-message-size: "),
        ({"max_message_size": "65MiB"}, "--max-message-size: "),
        ({"timeout": "0"}, "--timeout: "),
        ({"timeout": "inf"}, "--timeout: "),
        ({"timeout": "nan"}, "--timeout: "),
        ({"expect": "0"}, "--expect: "),
        ({"workers": "several"}, "--workers: "),
        ({"log_level": "loud"}, "--log-level: "),
        ({"join": "a:b:c"}, "--join: "),
        ({"advertise": ":1"}, "--advertise: ':1' cannot be dialled"),
        ({"peer": "9100"}, "--peer and --ops are both 127.0.0.1:9100"),
        ({"peer": ":7400"}, "--advertise HOST"),
        ({"max_partial_bytes": "1MiB"}, "--max-partial-bytes: "),
        ({"max_log_bytes": "1MB"}, "--max-log-bytes: "),
        ({"tls_cert": "c.pem"}, "--tls-cert and --tls-key go together"),
        ({"tls_key": "k.pem"}, "--tls-cert and --tls-key go together"),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_named(flags: dict[str, Any], says: str) -> None:
    assert says in complaint(flags)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETRING_INTERVAL", "soon")
    assert complaint().startswith("COMETRING_INTERVAL: ")


def test_a_wrong_key_is_named_with_its_file(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "interval = -1")
    assert complaint(file=file).startswith(f"interval in {file}: ")


def test_an_unknown_key_gets_a_suggestion(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", "max_sesions = 1")
    assert (
        complaint(file=file) == f"{file} has an unknown key max_sesions: did you mean max_sessions?"
    )


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    assert "cannot read" in complaint(file=tmp_path / "none.toml")
    assert "is not TOML" in complaint(file=write(tmp_path / "c.toml", "client ="))
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    assert "is not TOML" in complaint(file=tmp_path / "b.toml")


# -- the ring ------------------------------------------------------------------------


def test_seeds_get_ports_and_make_three_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", SECRET)
    config = load_config({"join": "seed.example, [::1]:9 ,"})
    assert config.join == ("seed.example:7400", "[::1]:9")
    assert config.expect == 3
    assert load_config({"join": "a", "expect": "5"}).expect == 5


def test_seeds_may_be_a_list_in_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", SECRET)
    assert load_config({}, write(tmp_path / "c.toml", 'join = ["a", "b:1"]')).join == (
        "a:7400",
        "b:1",
    )
    assert "join in " in complaint(file=write(tmp_path / "d.toml", "join = [1]"))


def test_advertised_addresses() -> None:
    alone = load_config({"peer": "127.0.0.1:0"})
    assert alone.peer_address(1234) == "127.0.0.1:1234"
    assert alone.client_address() == "127.0.0.1:8080"
    named = Config(client="[::]:80", peer=":7401", advertise="node-1", cluster_secret=SECRET)
    assert named.peer_address() == "node-1:7401"
    assert named.client_address() == "node-1:80"
    assert named.client_address(81) == "node-1:81"
    both = Config(peer=":7401", advertise="[2001:db8::1]:9", cluster_secret=SECRET)
    assert both.peer_address() == "[2001:db8::1]:9"


def test_auto_workers_are_counted() -> None:
    assert load_config({"workers": "auto"}).workers == len(os.sched_getaffinity(0))
    assert load_config({"workers": "3"}).workers == 3


# -- the cluster secret --------------------------------------------------------------


def test_a_lone_node_links_with_nobody() -> None:
    one, other = load_config({}), load_config({})
    assert len(one.secrets) == 1
    assert one.secrets != other.secrets


@pytest.mark.parametrize(
    "flags",
    [
        {"join": "127.0.0.1:7401"},
        {"expect": "3"},
        {"peer": "192.0.2.1:7400"},
        {"peer": ":7400", "advertise": "node-1"},
    ],
)
def test_a_ring_without_a_secret_is_refused(flags: dict[str, Any]) -> None:
    assert "cometring secret" in complaint(flags)


def test_the_file_may_hold_two_for_rotation(tmp_path: Path) -> None:
    file = write(tmp_path / "s", f"{SECRET}-new\n{SECRET}-old\n")
    config = load_config({"cluster_secret_file": str(file), "join": "a"})
    assert config.secrets == (f"{SECRET}-new".encode(), f"{SECRET}-old".encode())
    assert config.file_warnings() == []


def test_the_nearer_source_of_a_secret_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "s", f"{SECRET}-of-the-file")
    toml = write(tmp_path / "c.toml", f'cluster_secret_file = "{file}"')
    assert load_config({}, toml).secrets == (f"{SECRET}-of-the-file".encode(),)
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", SECRET)
    assert load_config({}, toml).secrets == (SECRET.encode(),)
    flags = {"cluster_secret_file": str(file)}
    assert load_config(flags).secrets == (f"{SECRET}-of-the-file".encode(),)


def test_secrets_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot read" in complaint({"cluster_secret_file": tmp_path / "none"})
    assert "is empty" in complaint({"cluster_secret_file": write(tmp_path / "s", " \n")})
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", "short")
    assert "16 characters" in complaint()


def test_a_secret_file_open_to_others_is_warned_of(tmp_path: Path) -> None:
    file = write(tmp_path / "s", SECRET)
    file.chmod(0o644)
    (warning,) = load_config({"cluster_secret_file": file}).file_warnings()
    assert "chmod 600" in warning
    (warning,) = load_config({"api_key_file": file}).file_warnings()
    assert f"chmod 600 {file}" in warning


def test_a_certificates_key_may_be_a_groups_and_not_everybodys(tmp_path: Path) -> None:
    file = write(tmp_path / "k", "key")
    given = {"tls_cert": tmp_path / "c", "tls_key": file}
    file.chmod(0o640)
    assert load_config(given).file_warnings() == []
    file.chmod(0o644)
    (warning,) = load_config(given).file_warnings()
    assert "can be read by others" in warning


def test_the_secret_itself_does_not_belong_in_the_toml(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", f'cluster_secret = "{SECRET}"')
    told = complaint(file=file)
    assert "cluster_secret_file" in told
    assert SECRET not in told


def test_nothing_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETRING_CLUSTER_SECRET", SECRET)
    monkeypatch.setenv("COMETRING_API_KEY", "the-key-to-it-all")
    shown = repr(load_config({})) + str(load_config({}))
    assert SECRET not in shown
    assert "the-key-to-it-all" not in shown


# -- the API key in a file, and how long a silence may be ----------------------------


def test_the_api_key_can_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "key", "the-key\n")
    assert load_config({"api_key_file": file}).api_key == "the-key"
    monkeypatch.setenv("COMETRING_API_KEY", "another")
    assert load_config({"api_key_file": file}).api_key == "the-key"
    assert load_config({}, write(tmp_path / "c", f'api_key_file = "{file}"')).api_key == "another"
    monkeypatch.delenv("COMETRING_API_KEY")
    monkeypatch.setenv("COMETRING_API_KEY_FILE", str(file))
    assert load_config({}, write(tmp_path / "d", 'api_key = "from-file"')).api_key == "the-key"
    assert load_config({"api_key": "given"}).api_key == "given"


def test_a_key_file_that_is_none(tmp_path: Path) -> None:
    assert "cannot read the API key" in complaint({"api_key_file": tmp_path / "none"})
    assert "is empty" in complaint({"api_key_file": write(tmp_path / "empty", " \n")})


def test_silence_shorter_than_three_beats_is_no_ground() -> None:
    assert load_config({"suspect_after": "2"}).suspect_after == 2.0
    assert "--suspect-after" in complaint({"suspect_after": "0.3"})
