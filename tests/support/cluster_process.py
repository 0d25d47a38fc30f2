"""Real rings for tests: one `cometring serve` process a node, on free ports of loopback.

Everything is synchronous and bounded in time, so that plain and trio tests
can both use it. Nodes are signalled by pid, and only those that were started here.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
API_KEY = "test-key"
# Below the range from which the kernel draws ports for outgoing connections.
PORTS = range(11_000, 32_000)
_taken: set[int] = set()


def free_port() -> int:
    """A port that nothing listens on, not given out before in this process."""
    draw = random.SystemRandom()
    while True:
        port = draw.choice(PORTS)
        if port in _taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        _taken.add(port)
        return port


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row."""
    while True:
        first = free_port()
        try:
            for port in range(first + 1, first + count):
                with socket.socket() as probe:
                    probe.bind((HOST, port))
        except OSError:
            continue
        _taken.update(range(first, first + count))
        return first


def request(
    port: int,
    method: str,
    target: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    timeout: float = 10.0,
) -> tuple[int, Any]:
    """One HTTP request; returns the status and the body (as JSON where it is)."""
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(
            method, target, data, {"Content-Type": "application/json"} | (headers or {})
        )
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    try:
        return response.status, json.loads(text)
    except ValueError:
        return response.status, text


def wait_until(
    condition: Callable[[], object], timeout: float, what: str, interval: float = 0.05
) -> float:
    """Poll until `condition()` is true; returns the seconds it took, or fails saying `what`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(interval)
    return time.monotonic() - began


@dataclass
class NodeProcess:
    """One node: where it listens, and its process once started."""

    index: int
    arguments: list[str]
    log: Path
    client_port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)
    ops_port: int = field(default_factory=free_port)
    peer_host: str = HOST
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The client listener."""
        return f"http://{HOST}:{self.client_port}"

    @property
    def peer(self) -> str:
        return f"{self.peer_host}:{self.peer_port}"

    @property
    def ops(self) -> str:
        return f"{HOST}:{self.ops_port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"node {self.index} is not started"
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def api(self, target: str, body: object = None, timeout: float = 10.0) -> tuple[int, Any]:
        """POST `body` (or GET without one) to ``/api/…`` with the cluster's key."""
        method = "GET" if body is None else "POST"
        headers = {"Authorization": f"Bearer {API_KEY}"}
        return self.request(self.client_port, method, target, body, headers, timeout)

    def request(self, *words: Any, **options: Any) -> tuple[int, Any]:
        """`request` to one of the node's own ports."""
        return request(*words, **options)

    def ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        with suppress(OSError, http.client.HTTPException):
            return self.request(self.ops_port, "GET", "/readyz", timeout=2.0)[0] == 200
        return False

    def ring(self) -> dict[str, Any] | None:
        """What ``/ring`` answers; None where it does not."""
        with suppress(OSError, http.client.HTTPException):
            status, body = self.request(self.ops_port, "GET", "/ring", timeout=2.0)
            if status == 200 and isinstance(body, dict):
                return body
        return None

    def metrics(self) -> dict[str, float]:
        """Samples of ``/metrics`` by name with labels, as in ``cometring_slots{role="home"}``."""
        _, text = self.request(self.ops_port, "GET", "/metrics")
        lines = (line.rpartition(" ") for line in str(text).splitlines() if line[:1] != "#")
        return {name: float(value) for name, _, value in lines if name}

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """``kill -9`` and wait for the end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> None:
        """SIGTERM: leave politely; returns at once."""
        self.signal(signal.SIGTERM)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float = 15.0) -> int:
        """The exit status once it has ended; negative for a signal."""
        assert self.process is not None
        return self.process.wait(timeout)


class ClusterProcess:
    """A ring of real nodes. `start()`, then `nodes[i]`; `stop()` leaves no process behind.

    `arguments` go to every node after ``cometring serve``; `seeds` are the indices
    of the nodes that all others are told to join (every other node where None).
    """

    start_within = 20.0
    """Seconds in which `with` wants the nodes to be a ring."""

    def __init__(
        self,
        nodes: int,
        log_dir: Path,
        arguments: Sequence[str] = (),
        seeds: Sequence[int] | None = None,
        demo: bool = True,
    ) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir = log_dir
        self._arguments = [*arguments, "--demo"] if demo else list(arguments)
        self._seeds = seeds
        self._expect = nodes
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("COMETRING_")}
        self.secret = secrets.token_urlsafe(32)
        self._environ |= {
            "COMETRING_CLUSTER_SECRET": self.secret,
            "COMETRING_API_KEY": API_KEY,
            "COMETRING_DRAIN_GRACE": "5",
            "COMETRING_DRAIN_DELAY": "0",
        }
        self._leash: tuple[int, int] | None = None
        self.nodes: list[NodeProcess] = []
        for _ in range(nodes):
            self._add()

    def _add(self) -> NodeProcess:
        i = len(self.nodes)
        node = NodeProcess(i, list(self._arguments), self._log_dir / f"node-{i}.log")
        self.nodes.append(node)
        return node

    def start(self, timeout: float = 20.0) -> Self:
        """Start all nodes and wait until they are one ring."""
        for node in self.nodes:
            self.start_node(node)
        self.wait_formed(timeout)
        return self

    def start_node(self, node: NodeProcess) -> None:
        """Start one node, for the first time or after its end; does not wait."""
        chosen = range(len(self.nodes)) if self._seeds is None else self._seeds
        seeds = [self.nodes[i].peer for i in chosen if i != node.index]
        if not seeds and len(self.nodes) > 1:  # the only seed: it, too, must find somebody
            seeds = [n.peer for n in self.nodes if n is not node][:1]
        words = ["--client", f"{HOST}:{node.client_port}", "--peer", node.peer, "--ops", node.ops]
        words += ["--expect", str(self._expect), *node.arguments]
        if seeds:
            words += ["--join", ",".join(seeds)]
        if self._leash is None:  # nodes end with this process, however it ends
            self._leash = os.pipe()
        words += ["--launcher-fd", str(self._leash[0])]
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [sys.executable, "-m", "node.cli", "serve", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                pass_fds=self._leash[:1],
            )

    def add_node(self) -> NodeProcess:
        """One more node, started; use `wait_formed` for it to be in."""
        node = self._add()
        self.start_node(node)
        return node

    @property
    def alive(self) -> list[NodeProcess]:
        return [node for node in self.nodes if node.alive]

    def agreed(self, members: int) -> bool:
        """Whether all living nodes are ready and on one view of `members` members."""
        views = set()
        for node in self.alive:
            ring = node.ring() if node.ready() else None
            if ring is None or len(ring["members"]) != members:
                return False
            views.add((ring["view"], ring.get("digest")))
        return len(views) == 1

    def wait_formed(self, timeout: float = 20.0, members: int | None = None) -> float:
        """Wait until living nodes agree on a view of themselves; returns the seconds it took."""
        expected = len(self.alive) if members is None else members

        def formed() -> bool:
            dead = [n.index for n in self.nodes if n.process is not None and not n.alive]
            if members is None and len(self.alive) < expected:
                raise AssertionError(f"nodes {dead} ended while the ring formed\n{self.logs()}")
            return self.agreed(expected)

        try:
            return wait_until(formed, timeout, f"a ring of {expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def logs(self, lines: int = 40) -> str:
        """The last `lines` of each node's log."""
        parts = []
        for node in self.nodes:
            text = node.log.read_text(errors="replace") if node.log.exists() else ""
            tail = "\n".join(text.splitlines()[-lines:])
            parts.append(f"-- node {node.index} (client {node.client_port})\n{tail}")
        return "\n".join(parts)

    def complaints(self) -> list[str]:
        """Lines that no healthy node writes: tracebacks, logged exceptions."""
        marks = ("Traceback (most recent call last)", '"exception":')
        return [
            f"node {node.index}: {line}"
            for node in self.nodes
            if node.log.exists()
            for line in node.log.read_text(errors="replace").splitlines()
            if any(mark in line for mark in marks)
        ]

    def stop(self, timeout: float = 1.0) -> None:
        """End every node: politely, then not."""
        for node in self.alive:
            node.resume()
            node.terminate()
        deadline = time.monotonic() + timeout
        for node in self.alive:
            with suppress(subprocess.TimeoutExpired):
                node.wait(max(0.0, deadline - time.monotonic()))
            if node.alive:
                node.kill()
        for end in self._leash or ():
            os.close(end)
        self._leash = None

    def __enter__(self) -> Self:
        return self.start(self.start_within)

    def __exit__(self, *_: object) -> None:
        self.stop()
