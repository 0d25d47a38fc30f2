"""A ring of processes on loopback for drills, with Prometheus and, if there is one, HAProxy.

Prometheus has the rules of ``ops/prometheus`` as they are, and their scrape
configuration but for how nodes are found: from a file, here.
"""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.cluster.state import Identity, save_identity
from ops.drilling.network import HERE, THERE, OtherSide, is_isolated
from ops.drilling.prometheus import DrillFailed, Prometheus, wait_for

OPS: Final = Path(__file__).parents[1]
HOST: Final = "127.0.0.1"
KEY: Final = "drill-key-for-this-run-only"
MAIN: Final = "main"
LATE: Final = "/drill/late"
SETTINGS: Final = f"""
shed_lag = 0.25  # a stutter that the ring still bears is to be enough

[[channel]]
match = "{LATE}"
batch = 3.0  # seconds: readers get it late
"""

Door = tuple[str, int]
"""Host and port of a client listener."""


@dataclass
class Node:
    """One process of the drill's own."""

    name: str
    words: list[str]
    host: str
    client: int
    peer: int
    ops: int
    environ: dict[str, str]
    log: Path
    descriptors: int | None = None
    prefix: tuple[str, ...] = ()  # words before its own, to run it elsewhere
    cluster: str = MAIN  # its ring's name, as Prometheus is told
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def door(self) -> Door:
        """Where its clients come in."""
        return (self.host, self.client)

    @property
    def client_address(self) -> str:
        """As the ring tells it to clients."""
        return f"{self.host}:{self.client}"

    def start(self) -> None:
        words = [*self.prefix, sys.executable, "-m", "node.cli", "serve", *self.words]
        limits = self.descriptors

        def limit() -> None:
            if limits is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limits, limits))

        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ,
                preexec_fn=limit,  # noqa: PLW1509 - no threads yet when nodes are started
            )

    def send(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def end(self, number: int = signal.SIGKILL, timeout: float = 30.0) -> None:
        """Send a signal that ends it, and wait."""
        self.send(number)
        if self.process is not None:
            self.process.wait(timeout)

    def ready(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            url = f"http://{self.host}:{self.ops}/readyz"
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        return False


class Ring:  # and, as far as steps need it, `ops.drilling.compose.ComposeRing`
    """`count` nodes; `base` is the first of a hundred ports. `close()` ends everything."""

    def __init__(self, folder: Path, base: int, count: int) -> None:
        """In a network of the drill's own, a minority of the nodes gets another."""
        self.folder = folder
        self.key = KEY
        self.forgets_the_dead = False  # whether Prometheus drops the target of a dead node
        self.other_side = OtherSide() if is_isolated() else None
        self.base = base
        self.nodes: list[Node] = []
        self.others: list[Node] = []  # that are scraped, too, and are no members
        self._helpers: dict[str, subprocess.Popen[bytes]] = {}
        self._secret = secrets.token_urlsafe(32)
        self._settings = folder / "settings.toml"
        self._settings.write_text(SETTINGS)
        self._hosts = [HOST] * count
        if self.other_side is not None:
            minority = (count - 1) // 2
            self._hosts = [THERE] * minority + [HERE] * (count - minority)
        for index in range(count):
            self.nodes.append(self.plan(f"node-{index}", index, join=count > 1, expect=count))
        self.prometheus = Prometheus(f"http://{HOST}:{base + 90}")

    def plan(
        self,
        name: str,
        index: int,
        *extra: str,
        join: bool = False,
        expect: int = 1,
        secret: str | None = None,
        descriptors: int | None = None,
    ) -> Node:
        """A node that is not started yet; `index` chooses its ports."""
        client, peer, ops = self.base + index, self.base + 30 + index, self.base + 60 + index
        state = self.folder / name
        host = self._hosts[index] if index < len(self._hosts) else self._hosts[-1]
        words = [
            "--client",
            f"{host}:{client}",
            "--peer",
            f"{host}:{peer}",
            "--ops",
            f"{host}:{ops}",
        ]
        words += ["--state-dir", str(state)]
        if join:
            hosts = enumerate(self._hosts)
            seeds = [f"{each}:{self.base + 30 + i}" for i, each in hosts if i != index]
            words += ["--join", ",".join(seeds), "--expect", str(expect)]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("COMETRING_")}
        environ |= {"COMETRING_CLUSTER_SECRET": secret or self._secret, "COMETRING_API_KEY": KEY}
        environ["COMETRING_CONFIG"] = str(self._settings)
        log = self.folder / f"{name}.log"
        there = self.other_side is not None and host == THERE
        prefix = self.other_side.prefix if there and self.other_side is not None else ()
        return Node(
            name, [*words, *extra], host, client, peer, ops, environ, log, descriptors, prefix
        )

    def plan_lopsided(self, *extra: str) -> list[Node]:
        """Seven nodes of a ring apart, of which the first is home to half of all slots.

        Their ids are not dealt: each has one in its state directory, as if from an earlier
        life, and that of the first is alone in its half of the key space. `extra` is for
        that one.
        """
        host = self._hosts[-1]
        hosts = [f"{host}:{self.base + 50 + i}" for i in range(7)]
        made = []
        for index in range(7):
            seeds = ",".join(host for other, host in enumerate(hosts) if other != index)
            words = ["--join", seeds, "--expect", "7", *(extra if index == 0 else ())]
            node = self.plan(f"lopsided-{index}", 20 + index, *words, secret="y" * 32)
            node.cluster = "lopsided"
            state = self.folder / node.name
            state.mkdir()
            first = 0x80 if index == 0 else index << 4
            save_identity(state, Identity(bytes([first]) + secrets.token_bytes(19), 1, kept=True))
            made.append(node)
        return made

    def start(self) -> None:
        """Everything, and wait until the ring has formed and is scraped."""
        for node in self.nodes:
            node.start()
        self._start_prometheus()
        self._start_balancer()
        wait_for(lambda: all(n.ready() for n in self.nodes), 60, lambda: "the ring has not formed")
        members = "cometring:members:max"
        self.prometheus.wait_for_value(members, len(self.nodes), 60)

    def tell_targets(self) -> None:
        """Have Prometheus scrape the nodes and the others, alive or not."""
        found = [
            {"targets": [f"{node.host}:{node.ops}"], "labels": {"cluster": node.cluster}}
            for node in (*self.nodes, *self.others)
        ]
        (self.folder / "nodes.json").write_text(json.dumps(found))

    def write_prometheus(self) -> Path:
        """Our configuration, with files in the place of names."""
        config = (OPS / "prometheus" / "prometheus.yml").read_text()
        config, changed = re.subn(
            r"- \{names: \[(\w+)\], type: A, port: \d+, refresh_interval: 5s\}",
            lambda found: (
                f"- {{files: [{self.folder}/{found.group(1)}s.json], refresh_interval: 1s}}"
            ),
            config.replace("dns_sd_configs", "file_sd_configs"),
        )
        config, named = re.subn(  # the files say which ring a node is of
            r"\{(target_label: cluster, )", r'{source_labels: [cluster], regex: "", \1', config
        )
        if (changed, named) != (2, 2):
            raise DrillFailed("prometheus.yml has changed: the drill does not know its way in it")
        config = config.replace("rules/*.yml", f"{OPS}/prometheus/rules/*.yml")
        config = config.replace("localhost:9090", f"{HOST}:{self.base + 90}")
        file = self.folder / "prometheus.yml"
        file.write_text(config)
        return file

    def _start_prometheus(self) -> None:
        config = self.write_prometheus()
        self.tell_targets()
        found = [{"targets": [f"{HOST}:{self.base + 92}"], "labels": {"cluster": MAIN}}]
        (self.folder / "balancers.json").write_text(json.dumps(found))
        self._help(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder}/prometheus",
            f"--web.listen-address={HOST}:{self.base + 90}",
        )

    @property
    def has_balancer(self) -> bool:
        return shutil.which("haproxy") is not None

    def write_balancer(self) -> Path:
        """Our configuration, with addresses in the place of names."""
        config = (OPS / "haproxy" / "haproxy.cfg").read_text()
        config = re.sub(r"resolvers network\n(?:    .*\n)+", "", config)
        config = config.replace("bind :8080", f"bind {HOST}:{self.base + 91}")
        config = config.replace("bind :8404", f"bind {HOST}:{self.base + 92}")
        lines = "".join(
            f"    server {n.name} {n.host}:{n.client} check port {n.ops} inter 1s fall 1 rise 1\n"
            for n in self.nodes
        )
        config = re.sub(r"    default-server .*\n    server-template .*\n", lines, config)
        file = self.folder / "haproxy.cfg"
        file.write_text(config)
        return file

    def _start_balancer(self) -> None:
        if self.has_balancer:
            self._help("haproxy", "-W", "-db", "-f", str(self.write_balancer()))

    def _help(self, program: str, *words: str) -> None:
        path = shutil.which(program)
        if path is None:
            raise DrillFailed(f"{program} is not installed (Debian: apt install {program})")
        with (self.folder / f"{program}.log").open("ab") as log:
            self._helpers[program] = subprocess.Popen(
                [path, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop_balancer(self) -> None:
        self._end_helper("haproxy")

    def _end_helper(self, program: str) -> None:
        process = self._helpers.pop(program, None)
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()

    @property
    def doors(self) -> list[Door]:
        """Where clients come in: the balancer, or all nodes."""
        if self.has_balancer:
            return [(HOST, self.base + 91)]
        return [node.door for node in self.nodes]

    def wait_whole(self, timeout: float = 40.0) -> float:
        """Seconds until all nodes are ready and on one view, as Prometheus sees it."""
        began = time.monotonic()
        for node in self.nodes:
            wait_for(node.ready, timeout, lambda: "a node does not come back")
        self.prometheus.wait_for_value("cometring:views:count", 1, timeout)
        self.prometheus.wait_for_value("sum(cometring_ready)", len(self.nodes), timeout)
        return time.monotonic() - began

    def mend(self) -> None:
        """Have every node run again, whatever a step that failed has left."""
        for node in self.nodes:
            node.send(signal.SIGCONT)
            if node.process is None or node.process.poll() is not None:
                node.start()

    def close(self) -> None:
        for node in (*self.nodes, *self.others):
            node.send(signal.SIGCONT)
            node.end()
        for program in list(self._helpers):
            self._end_helper(program)
        if self.other_side is not None:
            self.other_side.close()
