"""The server under test: real node processes, started, measured and stopped from outside."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import SystemRandom
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from loadtest.accounting import Cpu, cpu_of, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST: Final = "127.0.0.1"
_FIRST_PORT: Final = 18_000  # below the kernel's ephemeral range, so no client sits on it
_LAST_PORT: Final = 32_000
_START_SECONDS: Final = 90.0  # on a machine that is busy with other things
_STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05
_CALL_SECONDS: Final = 30.0
_LOG_TAIL: Final = 2_000
PROGRAM: Final = (sys.executable, "-m", "node.cli")


class ServerError(Exception):
    """A node did not start, died, or answered an application call with an error."""


def free_ports(number: int) -> list[int]:
    """TCP ports on loopback that nobody listens on, below the ephemeral range."""
    ports: list[int] = []
    chance = SystemRandom()
    while len(ports) < number:
        port = chance.randrange(_FIRST_PORT, _LAST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


class Node:
    """One `cometring serve` process with its three ports and its API key."""

    def __init__(self, folder: Path, number: int, api_key: str) -> None:
        self.client_port, self.peer_port, self.ops_port = free_ports(3)
        self.api_key = api_key
        self.number = number
        self._log = folder / f"node-{number}.log"
        self._state = folder / f"node-{number}"
        self._process: subprocess.Popen[bytes] | None = None
        self._api: HTTPConnection | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises `ServerError` if the node does not run."""
        if self._process is None:
            raise ServerError(f"node {self.number} was not started")
        return self._process.pid

    @property
    def peer_address(self) -> str:
        return f"{HOST}:{self.peer_port}"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, options: list[str], program: tuple[str, ...] = PROGRAM) -> None:
        """Start the process; `wait_ready` comes after."""
        command = [
            *program, "serve",
            "--client", f"{HOST}:{self.client_port}",
            "--peer", self.peer_address,
            "--ops", f"{HOST}:{self.ops_port}",
            "--state-dir", str(self._state),
            "--api-key", self.api_key,
            *options,
        ]  # fmt: skip
        self._state.mkdir(exist_ok=True)
        clean = {name: v for name, v in os.environ.items() if not name.startswith("COMETRING_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean
            )

    def wait_ready(self, timeout: float = _START_SECONDS) -> None:
        """Return when the node is in the ring. Raises `ServerError` with the log's end if not."""
        deadline = monotonic() + timeout
        while not self.ready():
            if not self.alive or monotonic() > deadline:
                raise ServerError(f"node {self.number} did not get ready:\n{self.log_tail()}")
            sleep(_POLL_SECONDS)

    def ready(self) -> bool:
        """What `/readyz` says now."""
        try:
            return self.ops("/readyz")[0] == 200
        except (OSError, HTTPException):
            return False

    def ops(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET on the ops listener."""
        connection = HTTPConnection(HOST, self.ops_port, timeout=_CALL_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def call(self, path: str, body: object) -> dict[str, object]:
        """An application call, on one kept connection. Raises `ServerError` unless answered 200."""
        if self._api is None:
            self._api = HTTPConnection(HOST, self.client_port, timeout=_CALL_SECONDS)
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Content-Type": "application/json",
        }
        text = json.dumps(body, separators=(",", ":"))
        self._api.request("POST", path, text.encode(), headers)
        response = self._api.getresponse()
        answer = response.read()
        if response.status != 200:
            raise ServerError(f"{path} answered {response.status}: {answer[:300]!r}")
        reply: dict[str, object] = json.loads(answer)
        return reply

    def cpu(self) -> Cpu:
        """CPU seconds of the process so far."""
        return cpu_of(self.pid)

    def resident(self) -> int:
        """Resident bytes of the process."""
        return resident_bytes(self.pid)

    def log_tail(self) -> str:
        """The last lines the process has written."""
        if not self._log.exists():
            return ""
        return self._log.read_text("utf-8", "replace")[-_LOG_TAIL:]

    def stop(self) -> None:
        """Ask it to leave (SIGTERM); end it if it will not."""
        if self._api is not None:
            self._api.close()
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


@contextmanager
def running_nodes(
    number: int, options: tuple[str, ...] = (), program: tuple[str, ...] = PROGRAM
) -> Iterator[list[Node]]:
    """A ring of `number` nodes on loopback, ready; stopped and cleared away on the way out."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cometring-bench-")))
        secret = folder / "secret"
        secret.write_text(secrets.token_urlsafe(32), "ascii")
        secret.chmod(0o600)
        api_key = secrets.token_urlsafe(16)
        nodes = [Node(folder, index, api_key) for index in range(number)]
        common = ["--cluster-secret-file", str(secret), *options]
        if number > 1:
            common += ["--join", ",".join(node.peer_address for node in nodes)]
            common += ["--expect", str(number)]
        for node in nodes:
            stack.callback(node.stop)
            node.start(common, program)
        for node in nodes:
            node.wait_ready()
        yield nodes


@contextmanager
def running_node(
    options: tuple[str, ...] = (), program: tuple[str, ...] = PROGRAM
) -> Iterator[Node]:
    """A single node, ready."""
    with running_nodes(1, options, program) as nodes:
        yield nodes[0]
