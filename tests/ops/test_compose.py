"""`docker compose up --scale node=5`, performed without Docker: see `sandbox`.

The image is built by the Dockerfile's own steps, and every service runs the
command, environment, volumes and networks that docker compose reads in our file.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import wait_until
from compose_file import API_KEY, ROOT, compose_config, stop_grace
from ops.drilling.panels import PROVOKED, queries
from ops_files import DASHBOARDS, panels, rules
from programs import require_program
from sandbox import Sandbox, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = 5
ROOM = "/demo/room"
JSON = {"Content-Type": "application/json"}
API = JSON | {"Authorization": f"Bearer {API_KEY}"}
SCRAPES = 12.0  # seconds: two scrapes, from which a rate can be had


def publish(sandbox: Sandbox, data: object, headers: dict[str, str] = API) -> int:
    """Through the balancer; the status."""
    body = json.dumps({"channel": ROOM, "data": data})
    return sandbox.fetch("balancer-1", 8080, "/api/publish", "POST", body, headers)[0]


def targets(sandbox: Sandbox) -> Counter[tuple[str, str]]:
    """Prometheus' targets by job and health."""
    found = sandbox.prometheus("/api/v1/targets?state=active")["activeTargets"]
    return Counter((each["labels"]["job"], each["health"]) for each in found)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Five nodes, a balancer, Prometheus and a client that listens; some traffic has been."""
    for program in ("unshare", "ip", "dnsmasq", "haproxy", "prometheus"):
        require_program(program)
    if os.geteuid():
        pytest.skip("needs root, for namespaces and mounts")
    config = deepcopy(compose_config())
    # A client beside them, who knows nothing but the balancer.
    config["services"]["client"] = {
        "build": {},
        "command": ["listen", ROOM, "--url", "http://balancer:8080"],
        "networks": {"clients": None},
    }
    with Sandbox(tmp_path_factory.mktemp("compose"), config) as sandbox:
        sandbox.build(ROOT / "ops" / "Dockerfile")
        assert sandbox.run_to_end("secret") == 0, sandbox.log("secret-1")
        nodes = sandbox.up("node", NODES)
        sandbox.up("balancer")
        sandbox.up("console")
        sandbox.up("prometheus")
        try:
            wait_until(lambda: all(ready(sandbox, name) for name in nodes), 20, "a ring of five")
            wait_until(lambda: publish(sandbox, "first") == 200, 20, "a way through the balancer")
        except AssertionError as error:
            logs = [sandbox.log(name) for name in (*nodes, "balancer-1", "prometheus-1")]
            raise AssertionError("\n".join([str(error), *logs])) from None
        sandbox.up("client")
        until = time.monotonic() + SCRAPES
        sent = 0
        while time.monotonic() < until:
            assert publish(sandbox, sent) == 200
            sent += 1
            time.sleep(0.05)
        assert publish(sandbox, 0, JSON) == 401  # so that refusals can be seen, too
        yield sandbox


def ready(sandbox: Sandbox, name: str) -> bool:
    return sandbox.fetch(name, 9100, "/readyz")[0] == 200


class TestContainers:
    def test_nodes_find_each_other_by_the_service_name(self, sandbox: Sandbox) -> None:
        views = set()
        for i in range(1, NODES + 1):
            ring = json.loads(sandbox.fetch(f"node-{i}", 9100, "/ring")[1])
            views.add((ring["ring"], ring["view"], ring["digest"], len(ring["members"])))
        assert len(views) == 1
        assert views.pop()[3] == NODES

    def test_the_health_check_works(self, sandbox: Sandbox) -> None:
        assert all(sandbox.healthy(f"node-{i}") for i in range(1, NODES + 1))

    def test_they_run_as_nobody_on_a_file_system_that_they_cannot_write(
        self, sandbox: Sandbox
    ) -> None:
        assert sandbox.execute("node-1", ["id", "-u"]) == (0, "10001\n")
        for path in ("/opt/cometring/x", "/etc/x", "/run/cometring-secret/x"):
            assert sandbox.execute("node-1", ["touch", path])[0] != 0, path
        assert sandbox.execute("node-1", ["touch", "/var/lib/cometring/x"]) == (0, "")
        assert sandbox.execute("node-1", ["sh", "-c", "ls /opt/cometring/bin/pip*"])[0] != 0

    def test_the_secret_is_made_once_and_is_for_nobody_else(self, sandbox: Sandbox) -> None:
        read = ["cat", "/run/cometring-secret/ring.secret"]
        status, secret = sandbox.execute("node-1", read)
        assert status == 0
        assert len(secret) > 32
        mode = sandbox.execute("node-1", ["stat", "-c", "%a %u", read[1]])
        assert mode == (0, "600 10001\n")
        name = sandbox.up("secret", 2)[0]  # as `up` does the next time
        assert sandbox.ask("wait", name=name, timeout=10.0) == 0
        assert sandbox.execute("node-2", read) == (0, secret)
        assert "not private" not in sandbox.log("node-1")

    def test_commands_in_a_container_find_the_node(self, sandbox: Sandbox) -> None:
        status, told = sandbox.execute("node-3", ["cometring", "ring", "status"])
        assert status == 0, told
        assert f"{NODES} members" in told


class TestBalancer:
    def test_a_client_gets_everything_in_order(self, sandbox: Sandbox) -> None:
        lines = [line for line in sandbox.log("client-1").splitlines() if line.startswith("{")]
        numbers = [json.loads(line)["data"] for line in lines]
        assert len(numbers) > 50
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    def test_websockets_pass(self, sandbox: Sandbox) -> None:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        assert sandbox.fetch("balancer-1", 8080, "/bayeux", headers=headers)[0] == 101

    def test_requests_go_to_every_node(self, sandbox: Sandbox) -> None:
        counts = sandbox.query('haproxy_server_sessions_total{proxy="nodes"} > 0')
        assert len(counts) == NODES


class TestConsole:
    def test_whichever_node_is_ready_shows_it_and_nothing_else_of_the_ops_listener(
        self, sandbox: Sandbox
    ) -> None:
        def status(path: str, method: str = "GET") -> int:
            return sandbox.fetch("console-1", 9100, path, method)[0]

        wait_until(lambda: status("/console") == 200, 15, "the console through its proxy")
        assert status("/console/app.js") == 200
        status_found, found = sandbox.fetch("console-1", 9100, f"/console/find?name={ROOM}")
        assert status_found == 200
        assert json.loads(found)["known"]
        assert status("/") == 302
        assert [status(path) for path in ("/metrics", "/ring", "/consoles")] == [404] * 3
        assert status("/ring/recover", "POST") == 404
        assert status("/console", "POST") == 405


class TestWatching:
    def test_all_targets_are_up(self, sandbox: Sandbox) -> None:
        assert targets(sandbox) == {
            ("cometring", "up"): NODES, ("balancer", "up"): 1, ("prometheus", "up"): 1,
        }  # fmt: skip

    def test_every_rule_works(self, sandbox: Sandbox) -> None:
        wait_until(lambda: sandbox.query("cometring:refused:rate1m"), 15, "a scrape of the refusal")
        groups = sandbox.prometheus("/api/v1/rules")["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        assert [rule for rule in found if rule["health"] != "ok"] == []
        assert len(found) == len(rules("alert")) + len(rules("record"))
        empty = [rule["record"] for rule in rules("record") if not sandbox.query(rule["record"])]
        assert empty == []

    def test_a_healthy_ring_raises_no_alarm(self, sandbox: Sandbox) -> None:
        firing = sandbox.prometheus("/api/v1/alerts")["alerts"]
        names = {each["labels"]["alertname"] for each in firing if each["state"] == "firing"}
        assert names == {"CometringWatchdog"}

    @pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
    def test_every_query_of_every_panel_has_data(self, sandbox: Sandbox, file: Any) -> None:
        """Without the zero that some show where nothing is; those of `PROVOKED` the drill fills."""
        empty: dict[str, list[str]] = {}
        for panel in panels(file):
            for expr in queries(panel, "20s"):
                try:
                    if not sandbox.query(expr):
                        empty.setdefault(panel["title"], []).append(expr)
                except SandboxError as error:
                    empty.setdefault(panel["title"], []).append(str(error))
        filled = {title for stem, title in PROVOKED.values() if stem == file.stem}
        assert {title: found for title, found in empty.items() if title not in filled} == {}


class TestDayTwo:
    """Last: these change the ring."""

    def test_a_node_that_is_stopped_is_not_missed_by_clients(self, sandbox: Sandbox) -> None:
        node = compose_config()["services"]["node"]
        statuses = [publish(sandbox, "before")]
        took = sandbox.stop("node-2")
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            statuses.append(publish(sandbox, "after"))
        assert took < stop_grace(node)
        assert set(statuses) == {200}
        assert len(statuses) > 20
        assert ready(sandbox, "node-1")
        left = 'quantile(0.5, cometring_members_gone_total{how="left"})'
        wait_until(lambda: sandbox.query(f"{left} == 1"), 15, "the others' word that it has left")
        assert sandbox.query('max(cometring_members_gone_total{how="died"}) == 0')

    def test_scaling_up_needs_no_change_anywhere(self, sandbox: Sandbox) -> None:
        (name,) = sandbox.up("node", NODES)
        wait_until(lambda: ready(sandbox, name), 15, "the newcomer in the ring")
        wait_until(
            lambda: targets(sandbox)["cometring", "up"] == NODES, 20, "its target in Prometheus"
        )
        active = 'haproxy_backend_active_servers{proxy="nodes"}'
        wait_until(
            lambda: sandbox.query(f"{active} == {NODES}"), 20, "its place behind the balancer"
        )
