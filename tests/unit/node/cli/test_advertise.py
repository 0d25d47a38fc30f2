from __future__ import annotations

import socket
import time

import pytest

from node.cli.advertise import own_address, settle_advertise
from node.config import ConfigError, load_config

SECRET = "x" * 32


def auto(**settings: object) -> dict[str, object]:
    return {"advertise": "auto", "peer": ":7400", "cluster_secret": SECRET} | settings


def test_the_address_towards_a_seed() -> None:
    assert own_address(["127.0.0.1:7400"], patience=0) == "127.0.0.1"


def test_the_first_that_resolves_counts() -> None:
    assert own_address(["no-such-host.invalid:1", "localhost:7400"], patience=0) in {
        "127.0.0.1",
        "::1",
    }


def test_without_seeds_the_hosts_own_name_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert own_address([], patience=0) in {"127.0.0.1", "::1"}


def test_names_may_come_up_late(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    calls: list[object] = []

    def late(host: object, *args: object, **kwargs: object) -> object:
        calls.append(host)
        if len(calls) < 3:
            raise socket.gaierror(socket.EAI_AGAIN, "not yet")
        return real("127.0.0.1", *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", late)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert own_address(["node:7400"], patience=5) == "127.0.0.1"
    assert calls == ["node"] * 3


def test_a_seed_that_nobody_knows_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no-such-host\.invalid:7400 cannot be"):
        own_address(["no-such-host.invalid:7400"], patience=0)


def test_auto_becomes_an_address_that_can_be_dialled() -> None:
    config = load_config(auto(join="127.0.0.1", expect=2))
    settled = settle_advertise(config, patience=0)
    assert settled.peer_address() == "127.0.0.1:7400"
    assert settled.client_address() == "127.0.0.1:8080"
    assert settled.secrets == (SECRET.encode(),)


def test_ipv6_keeps_its_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cli.advertise.own_address", lambda *_: "fd00::7")
    assert settle_advertise(load_config(auto())).peer_address() == "[fd00::7]:7400"


def test_an_address_that_was_given_stays() -> None:
    config = load_config(auto(advertise="10.0.0.1"))
    assert settle_advertise(config) is config
