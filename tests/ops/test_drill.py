"""The drill itself: `make drill` runs it in earnest, for minutes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from cluster_process import free_ports
from compose_file import ROOT
from dht.placement import Placement
from dht.view import Member, MemberState, View
from node.cluster.state import load_identity
from node.ops_pages import balance
from ops.drilling import compose
from ops.drilling.__main__ import main
from ops.drilling.panels import PROVOKED, panel_queries
from ops.drilling.prometheus import DrillFailed, Prometheus
from ops.drilling.ring import Ring
from ops.drilling.steps import STEPS
from ops.drilling.watching import LASTING, intact, seen
from ops_files import rules
from programs import require_program
from stub_http import Answer, Asked, StubServer

if TYPE_CHECKING:
    from pathlib import Path

ALERTS = {rule["alert"] for rule in rules("alert")} - {"CometringWatchdog"}


def alert(name: str, state: str = "firing") -> dict[str, Any]:
    return {"labels": {"alertname": name}, "state": state}


def prometheus(*pages: Any) -> StubServer:
    """Answers each request with the next of `pages`, and the last of them for ever."""
    left = list(pages)

    def answer(_asked: Asked) -> Answer:
        page = left.pop(0) if len(left) > 1 else left[0]
        return Answer({"status": "success", "data": page})

    return StubServer(answer)


class TestSteps:
    def test_they_wait_for_alerts_that_there_are(self) -> None:
        assert {name for step in STEPS for name in step.alerts} | LASTING <= ALERTS

    def test_the_documentation_says_which_alert_is_provoked_by_which_step(self) -> None:
        page = (ROOT / "docs" / "operations" / "drill.md").read_text()
        for step in STEPS:
            row = re.search(rf"^\| `{step.name}` \|.*\| (.+) \|$", page, re.MULTILINE)
            assert row is not None, step.name
            told = {f"Cometring{name}" for name in re.findall(r"[A-Z]\w+", row.group(1))}
            assert told == step.alerts, step.name

    def test_every_alert_is_provoked(self) -> None:
        assert {name for step in STEPS for name in step.alerts} == ALERTS

    def test_what_is_empty_on_a_healthy_ring_is_a_panel_and_a_step(self) -> None:
        assert set(PROVOKED) <= {step.name for step in STEPS}
        for place in PROVOKED.values():
            (query,) = panel_queries(*place, "1m")
            assert "$" not in query
            assert "vector(0)" not in query

    def test_the_table_of_alerts_says_the_same(self) -> None:
        page = (ROOT / "docs" / "operations" / "watch.md").read_text()
        _, _, table = page.partition("| alert | made to fire by |")
        rows = dict(re.findall(r"^\| (\w+) \| (.+) \|$", table.partition("\n\n")[0], re.MULTILINE))
        assert {f"Cometring{name}" for name in rows} == ALERTS | {"CometringWatchdog"}
        names = {step.name for step in STEPS}
        for alert_name, how in rows.items():
            told = {name for name in re.findall(r"`(\w+)`", how) if name in names}
            due = {step.name for step in STEPS if f"Cometring{alert_name}" in step.alerts}
            assert told == due, alert_name


class TestOwnRing:
    """The files that it makes of ours, before anything runs."""

    @pytest.fixture
    def ring(self, tmp_path: Path) -> Ring:
        return Ring(tmp_path, free_ports(100), 3)

    def test_prometheus_takes_its_configuration(self, ring: Ring) -> None:
        ring.tell_targets()
        (ring.folder / "balancers.json").write_text("[]")
        file = ring.write_prometheus()
        check = [require_program("promtool"), "check", "config", str(file)]
        done = subprocess.run(check, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert "2 rule files found" in done.stdout
        assert str(ring.nodes[2].ops) in (ring.folder / "nodes.json").read_text()

    def test_the_balancer_takes_its_configuration(self, ring: Ring) -> None:
        file = ring.write_balancer()
        check = [require_program("haproxy"), "-c", "-f", str(file)]
        done = subprocess.run(check, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert file.read_text().count("    server node-") == 3
        assert "resolvers" not in file.read_text()

    def test_a_lopsided_ring_is_one(self, ring: Ring) -> None:
        nodes = ring.others = ring.plan_lopsided("--max-log-bytes", "1MiB")
        ids = [load_identity(ring.folder / node.name, Random(1)) for node in nodes]
        assert all(each.kept for each in ids)
        members = sorted(
            (Member(each.id, 1, "h:1", "h:2", "z", MemberState.ACTIVE) for each in ids),
            key=lambda member: member.id,
        )
        view = View(1, b"r" * 16, tuple(members))
        assert balance(Placement(view)) == 3.5
        assert [node for node in nodes if "--max-log-bytes" in node.words] == nodes[:1]
        ring.tell_targets()
        told = json.loads((ring.folder / "nodes.json").read_text())
        assert [each["labels"]["cluster"] for each in told] == ["main"] * 3 + ["lopsided"] * 7

    def test_nodes_are_told_of_each_other(self, ring: Ring) -> None:
        words = ring.nodes[1].words
        seeds = words[words.index("--join") + 1].split(",")
        others = [node for node in ring.nodes if node is not ring.nodes[1]]
        assert seeds == [f"{node.host}:{node.peer}" for node in others]


class TestPrometheus:
    def test_alerts_are_waited_for(self) -> None:
        with prometheus(
            {"alerts": [alert("A", "pending")]}, {"alerts": [alert("A"), alert("B")]}
        ) as stub:
            seen = Prometheus(stub.url).wait_for_alerts({"A"}, 5.0)
        assert list(seen) == ["A"]
        assert seen["A"] > 0

    def test_one_that_does_not_fire_is_named(self) -> None:
        with (
            prometheus({"alerts": [alert("A"), alert("CometringWatchdog")]}) as stub,
            pytest.raises(DrillFailed, match="not firing after 0 s: B"),
        ):
            Prometheus(stub.url).wait_for_alerts({"A", "B"}, 0.0)

    def test_so_is_one_that_does_not_end(self) -> None:
        with (
            prometheus({"alerts": [alert("A"), alert("B")]}) as stub,
            pytest.raises(DrillFailed, match=r"still firing: \['B'\]"),
        ):
            Prometheus(stub.url).wait_until_quiet(0.0, frozenset({"A"}))

    def test_values_are_waited_for(self) -> None:
        one, two = ({"result": [{"value": [0, number]}]} for number in ("1", "2"))
        with prometheus({"result": []}, one, two) as stub:
            assert Prometheus(stub.url).wait_for_value("x", 2, 5.0) > 0
        assert parse_qs(urlsplit(stub.asked[0].target).query) == {"query": ["x"]}

    def test_nobody_there_is_told_in_a_line(self) -> None:
        with pytest.raises(
            DrillFailed, match=r"no answer from Prometheus at http://127\.0\.0\.1:1"
        ):
            Prometheus("http://127.0.0.1:1/").alerts("firing")


class TestWatching:
    @staticmethod
    def ring(stub: StubServer) -> Any:
        return SimpleNamespace(prometheus=Prometheus(stub.url))

    def test_a_loss_fails_a_step_that_leaves_a_copy(self) -> None:
        said: list[str] = []
        with (
            prometheus({"alerts": [alert("CometringGapReported")]}) as stub,
            pytest.raises(DrillFailed, match=r"a copy was left.*CometringGapReported"),
        ):
            intact(self.ring(stub), said.append, set())
        assert said == []

    def test_one_of_a_step_before_does_not(self) -> None:
        said: list[str] = []
        with prometheus({"alerts": [alert("CometringTakeoverLossy"), alert("B")]}) as stub:
            intact(self.ring(stub), said.append, {"CometringTakeoverLossy"})
        assert len(said) == 1

    def test_a_panel_is_looked_at_until_it_has_data(self) -> None:
        said: list[str] = []
        with prometheus({"result": []}, {"result": [{"value": [0, "1"]}]}) as stub:
            seen(self.ring(stub), said.append, "partition")
        assert said == ["traffic: Told to retry has data"]
        assert "vector(0)" not in parse_qs(urlsplit(stub.asked[0].target).query)["query"][0]


class TestCompose:
    @pytest.fixture
    def docker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A `docker` that writes down what it is asked for; returns that file."""
        asked = tmp_path / "asked"
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\necho "$*" >> {asked}\n'
            'case "$*" in *" ps "*) echo 0123456789abcdef; echo fedcba9876543210;;'
            " *range*) echo 10.1.2.3;; inspect*) echo true;;"
            ' "stop fedcba987654") echo gone >&2; exit 1;; esac\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.setenv("COMETRING_API_KEY", "key")
        return asked

    def test_each_trouble_is_a_command(self, docker: Path) -> None:
        ring = compose.ComposeRing("f.yml", "http://127.0.0.1:9090", ("127.0.0.1", 8080))
        node = ring.nodes[0]
        node.end()
        node.start()
        for number in (19, 18, 15):  # STOP, CONT, TERM
            node.send(number)
        assert node.ready()
        assert node.client_address == "10.1.2.3:8080"
        assert docker.read_text().splitlines() == [
            "compose -f f.yml ps --quiet node",
            "kill 0123456789ab",
            "start 0123456789ab",
            "pause 0123456789ab",
            "unpause 0123456789ab",
            "stop 0123456789ab",
            "inspect --format {{.State.Running}} 0123456789ab",
            "inspect --format {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}} "
            + node.name,
        ]

    @pytest.mark.usefixtures("docker")
    def test_what_docker_refuses_is_told(self) -> None:
        ring = compose.ComposeRing("f.yml", "http://127.0.0.1:9090", ("127.0.0.1", 8080))
        with pytest.raises(DrillFailed, match="docker stop fedcba987654: gone"):
            ring.nodes[1].send(15)

    def test_its_steps_are_steps(self) -> None:
        assert set(compose.STEPS) <= {step.name for step in STEPS}


def test_a_step_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kil"]) == 2
    assert "no step kil; there are healthy, kill" in capsys.readouterr().err


def test_the_script_finds_its_way(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "ops" / "drill", "--help"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "partition" in done.stdout
