"""What an operator is handed is well-formed by the published rules of each tool, and complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import kubernetes_validate
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from compose_file import ROOT, compose_config, stop_grace
from dockerfile import read_dockerfile
from node.config import load_config
from ops.dashboards.__main__ import rendered
from ops_files import DASHBOARDS, RULES, panels, rules
from programs import require_program

OPS = ROOT / "ops"
RUNBOOKS = ROOT / "docs" / "operations" / "runbooks.md"
# Of Grafana's Prometheus source, not of the dashboards' own schema.
ANNOTATION_EXTRAS = {"step", "titleFormat", "textFormat"}


def run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def beside_python(name: str) -> str:
    """A program that a Python package brings along."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} is to come with the extra `ops`"
    return found


class TestImage:
    def test_the_dockerfile_passes_its_linter(self) -> None:
        run(beside_python("hadolint"), "--failure-threshold", "info", OPS / "Dockerfile")

    def test_what_runs_is_nobody_and_brings_no_tools(self) -> None:
        *_, image = read_dockerfile(OPS / "Dockerfile")
        assert image.user == "10001:10001"
        assert not any("pip" in str(step) or "apt" in str(step) for step in image.steps)
        assert image.health
        assert image.volumes == ["/var/lib/cometring"]

    def test_what_it_copies_is_sent_to_the_builder(self) -> None:
        kept = (ROOT / ".dockerignore").read_text().split()
        copied = {
            name.removeprefix("./").partition("/")[0]
            for stage in read_dockerfile(OPS / "Dockerfile")
            for step in stage.steps
            if getattr(step, "stage", "") is None
            for name in getattr(step, "sources", ())
        }
        assert copied >= {"node", "requirements.lock", "ops"}
        assert all(any(line.startswith(f"!{name}") for line in kept) for name in copied)

    def test_it_has_every_package_that_the_wheel_has(self) -> None:
        build, _ = read_dockerfile(OPS / "Dockerfile")
        copied = {name for step in build.steps for name in getattr(step, "sources", ())}
        assert {"dht", "pubsub", "node", "loadtest"} <= copied


class TestCompose:
    def test_docker_compose_itself_takes_the_file(self) -> None:
        assert set(compose_config()["services"]) == {
            "secret", "node", "balancer", "console", "prometheus", "grafana",
        }  # fmt: skip

    def test_a_node_has_time_to_leave(self) -> None:
        node = compose_config()["services"]["node"]
        assert stop_grace(node) > float(node["environment"]["COMETRING_DRAIN_GRACE"])
        assert stop_grace(compose_config()["services"]["balancer"]) > 30

    @pytest.mark.parametrize("name", ["node", "balancer", "console", "prometheus", "grafana"])
    def test_every_service_is_bounded_and_hardened(self, name: str) -> None:
        service = compose_config()["services"][name]
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits)
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]

    def test_only_clients_come_in_from_outside(self) -> None:
        services = compose_config()["services"]
        published = {
            name: [port.get("host_ip", "everywhere") for port in service.get("ports", [])]
            for name, service in services.items()
        }
        assert published == {
            "secret": [],
            "node": [],
            "balancer": ["everywhere"],
            "console": ["127.0.0.1"],
            "prometheus": ["127.0.0.1"],
            "grafana": ["127.0.0.1"],
        }
        assert compose_config()["networks"]["ring"]["internal"] is True
        assert set(services["node"]["networks"]) == {"ring"}

    def test_every_mounted_file_is_there(self) -> None:
        for service in compose_config()["services"].values():
            for volume in service.get("volumes", []):
                if volume["type"] == "bind":
                    assert Path(volume["source"]).exists(), volume

    @pytest.mark.parametrize("name", ["haproxy.cfg", "console.cfg"])
    def test_haproxy_takes_its_files(self, name: str) -> None:
        run(require_program("haproxy"), "-c", "-f", OPS / "haproxy" / name)


class TestKubernetes:
    MANIFESTS: ClassVar = list(
        yaml.safe_load_all((OPS / "kubernetes" / "cometring.yaml").read_text())
    )

    @pytest.mark.parametrize("version", ["1.29", "1.37"])
    def test_the_published_schemas_take_every_manifest(self, version: str) -> None:
        for manifest in self.MANIFESTS:
            kubernetes_validate.validate(manifest, version, strict=True)

    def test_what_selects_finds(self) -> None:
        (stateful,) = self.of("StatefulSet")
        labels = stateful["spec"]["template"]["metadata"]["labels"]
        ports = {port["name"] for port in self.container()["ports"]}
        assert stateful["spec"]["selector"]["matchLabels"] == labels
        for service in self.of("Service"):
            assert service["spec"]["selector"] == labels
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
        assert stateful["spec"]["serviceName"] in {
            s["metadata"]["name"] for s in self.of("Service")
        }
        for kind, where in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
            (found,) = self.of(kind)
            assert found["spec"][where]["matchLabels"] == labels

    def test_a_pod_has_time_to_leave(self) -> None:
        pod = self.of("StatefulSet")[0]["spec"]["template"]["spec"]
        waits = float(self.container()["lifecycle"]["preStop"]["exec"]["command"][1])
        grace = float(self.environ()["COMETRING_DRAIN_GRACE"])
        assert pod["terminationGracePeriodSeconds"] > waits + grace + 5

    def test_a_ring_that_cannot_decide_is_not_killed_for_it(self) -> None:
        assert self.container()["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert self.container()["readinessProbe"]["httpGet"]["path"] == "/readyz"

    def test_its_settings_are_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert_settings(monkeypatch, self.environ())

    def test_the_pods_are_hardened(self) -> None:
        pod = self.of("StatefulSet")[0]["spec"]["template"]["spec"]
        context = self.container()["securityContext"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.MANIFESTS if each["kind"] == kind]

    def container(self) -> dict[str, Any]:
        (found,) = self.of("StatefulSet")[0]["spec"]["template"]["spec"]["containers"]
        return dict(found)

    def environ(self) -> dict[str, str]:
        return {each["name"]: each["value"] for each in self.container()["env"] if "value" in each}


def assert_settings(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    """That a node would start with these on the image's own."""
    *_, image = read_dockerfile(OPS / "Dockerfile")
    for name in [name for name in os.environ if name.startswith("COMETRING_")]:
        monkeypatch.delenv(name)
    ours = {k: v for k, v in (image.environ | environ).items() if k.startswith("COMETRING_")}
    ours.pop("COMETRING_CLUSTER_SECRET_FILE", None)
    config = load_config({"cluster_secret": "x" * 32})
    for name, value in ours.items():
        assert hasattr(config, name.removeprefix("COMETRING_").lower()), name
        monkeypatch.setenv(name, value)
    assert load_config({"cluster_secret": "x" * 32}).ops.port == 9100


def test_the_settings_of_compose_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = compose_config()["services"]["node"]["environment"]
    assert_settings(monkeypatch, {k: str(v) for k, v in environ.items() if v is not None})


class TestSystemd:
    UNIT = OPS / "systemd" / "cometring.service"

    def test_systemd_takes_the_unit(self, tmp_path: Path) -> None:
        unit = self.installed(tmp_path)
        assert run(require_program("systemd-analyze"), "verify", unit) == ""

    def test_it_gives_away_little(self, tmp_path: Path) -> None:
        told = run(
            require_program("systemd-analyze"),
            "security",
            "--offline=true",
            self.installed(tmp_path),
        )
        level = re.search(r"Overall exposure level for .*: ([\d.]+)", told)
        assert level is not None, told
        assert float(level.group(1)) <= 1.5

    def test_its_example_of_a_configuration_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COMETRING_CLUSTER_SECRET", "x" * 32)
        config = load_config({}, OPS / "systemd" / "cometring.toml")
        assert len(config.join) == config.expect == 3
        assert config.ops.is_loopback
        stop = re.search(r"TimeoutStopSec=(\d+)", self.UNIT.read_text())
        assert stop is not None
        assert float(stop.group(1)) > config.drain_grace + 5

    def installed(self, folder: Path) -> Path:
        """The unit with a program that exists here in the place of ours."""
        unit = folder / "cometring.service"
        text = self.UNIT.read_text()
        assert "ExecStart=/opt/cometring/bin/cometring serve " in text
        unit.write_text(text.replace("/opt/cometring/bin/cometring", "/bin/true"))
        return unit


class TestPrometheus:
    def test_the_configuration_and_the_rules_are_valid(self) -> None:
        promtool = require_program("promtool")
        run(promtool, "check", "config", OPS / "prometheus" / "prometheus.yml")
        run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml")))

    def test_every_alert_fires_on_what_it_is_for_and_on_nothing_else(self) -> None:
        file = OPS / "prometheus" / "tests" / "alerts.yml"
        run(require_program("promtool"), "test", "rules", file)
        tests = yaml.safe_load(file.read_text())["tests"]
        fires: set[str] = set()
        still = {"CometringWatchdog"}  # which never does
        for each in (case for test in tests for case in test["alert_rule_test"]):
            (fires if each["exp_alerts"] else still).add(each["alertname"])
        assert fires == still == {rule["alert"] for rule in rules("alert")}

    def test_every_alert_says_what_to_do(self) -> None:
        headings = re.findall(r"^### (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
        for rule in rules("alert"):
            notes = rule["annotations"]
            assert set(notes) == {"summary", "description", "runbook"}, rule["alert"]
            page, _, anchor = notes["runbook"].partition("#")
            assert ROOT / page == RUNBOOKS
            assert anchor == rule["alert"].lower()
            assert rule["alert"] in headings
            assert rule["labels"]["severity"] in {"page", "ticket", "none"}
        assert sorted(headings) == sorted({rule["alert"] for rule in rules("alert")})


class TestDashboards:
    def test_what_is_committed_is_what_the_code_makes(self) -> None:
        committed = {file.name: file.read_text() for file in DASHBOARDS}
        assert committed == rendered(), "run: python -m ops.dashboards"

    @pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
    def test_grafanas_own_types_know_every_field(self, file: Path) -> None:
        register_default_plugins()
        given = json.loads(file.read_text())
        understood = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))
        assert lost(given, understood) == []

    def test_a_field_that_grafana_does_not_know_would_be_noticed(self) -> None:
        register_default_plugins()
        given = json.loads(DASHBOARDS[0].read_text())
        given["panels"][1]["options"]["colourMode"] = "background"
        understood = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))
        assert lost(given, understood) == ["/panels/1/options/colourMode"]

    @pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
    def test_every_panel_can_be_understood_alone(self, file: Path) -> None:
        seen = []
        for panel in panels(file):
            defaults = panel["fieldConfig"]["defaults"]
            assert len(panel["description"]) > 20, panel["title"]
            assert defaults["unit"], panel["title"]
            assert defaults["thresholds"]["steps"], panel["title"]
            assert panel["targets"], panel["title"]
            seen.append(panel["gridPos"])
        assert not any(overlap(one, other) for i, one in enumerate(seen) for other in seen[:i])
        assert all(place["x"] + place["w"] <= 24 for place in seen)


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def lost(given: Any, understood: Any, path: str = "") -> list[str]:
    """Paths in `given` that came back otherwise, or not at all."""
    if isinstance(given, dict) and isinstance(understood, dict):
        found = []
        for key, value in given.items():
            if key in understood:
                found += lost(value, understood[key], f"{path}/{key}")
            elif not (path.startswith("/annotations") and key in ANNOTATION_EXTRAS):
                found.append(f"{path}/{key}")
        return found
    if isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        return [
            each
            for index, pair in enumerate(zip(given, understood, strict=True))
            for each in lost(*pair, f"{path}/{index}")
        ]
    return [] if given == understood else [path]


def test_every_metric_that_is_asked_for_is_documented() -> None:
    """In the reference, whose table a test of the metrics themselves holds true."""
    asked = [rule["expr"] for rule in rules("alert") + rules("record")]
    asked += [
        target["expr"]
        for file in DASHBOARDS
        for panel in panels(file)
        for target in panel["targets"]
    ]
    names = {name for expr in asked for name in re.findall(r"\bcometring_(\w+)", expr)}
    reference = (ROOT / "docs" / "reference.md").read_text()
    table = reference[reference.index("## Metrics") :]
    documented = set(re.findall(r"`(\w+)(?:\{[\w,]+\})?`", table))
    histograms = {f"{name}{end}" for name in documented for end in ("_bucket", "_count", "_sum")}
    assert names - documented - histograms == set()
    assert len(names) > 40
