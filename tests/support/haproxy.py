"""HAProxy before a ring: round-robin, not sticky, and it looks at `/readyz` as a balancer does.

A node that is not ready gets nothing new, and keeps what it has (so a drain is
left in peace). From a node that hangs the connections are taken (`cut`), over
the runtime socket, since HAProxy has one check a server. A balancer would find
out at `/healthz`; here the kernel is asked whether the process is stopped, so
that a machine with too much to do does not look like a node that hangs.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

from cluster_process import HOST, free_port, wait_until
from programs import require_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster_process import NodeProcess

LOOK = 0.3  # seconds between looks at processes; stopped twice in a row and it is cut off
CONFIGURATION = """\
global
    maxconn 4000
    nbthread 1
    stats socket {socket} level admin
    hard-stop-after 2s
defaults
    mode http
    timeout connect 1s
    timeout check 2s
    timeout client 90s
    timeout server 90s
    timeout tunnel 1h
    retries 3
    option redispatch 1
frontend clients
    bind {host}:{port}
    default_backend nodes
backend nodes
    balance leastconn
    option httpchk GET /readyz
    default-server check inter 250ms fastinter 200ms downinter 250ms fall 1 rise 1
{servers}
"""


class HAProxy:
    """One HAProxy process before `nodes`, for a `with` block; `url` is where it listens."""

    def __init__(self, nodes: Sequence[NodeProcess], folder: Path) -> None:
        self._program = require_program("haproxy")
        self._nodes = list(nodes)
        self._folder = folder
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._done = Event()
        self._watch = Thread(target=self._watch_health, daemon=True)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._socket = self._folder / "haproxy.sock"
        servers = "\n".join(
            f"    server n{node.index} {HOST}:{node.client_port} check port {node.ops_port}"
            for node in self._nodes
        )
        file = self._folder / "haproxy.cfg"
        file.write_text(
            CONFIGURATION.format(socket=self._socket, host=HOST, port=self.port, servers=servers)
        )
        with (self._folder / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-db", "-f", str(file)], stdout=log, stderr=log
            )
        self._watch.start()
        wait_until(self._listens, 5.0, "HAProxy to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join(5.0)
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cut(self, node: NodeProcess) -> None:
        """Close every connection that goes to `node`, on both sides."""
        self._say(f"shutdown sessions server nodes/n{node.index}")

    def errors(self) -> dict[str, int]:
        """What HAProxy itself counts: connection, response and request errors, 5xx answers."""
        lines = self._say("show stat").splitlines()
        names = lines[0].lstrip("# ").split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:] if line]
        total = next(row for row in rows if row["svname"] == "BACKEND" and row["pxname"] == "nodes")
        return {name: int(total[name] or 0) for name in ("econ", "eresp", "wretr", "hrsp_5xx")}

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "haproxy.log").read_text()
        try:
            socket.create_connection((HOST, self.port), 1.0).close()
        except OSError:
            return False
        return True

    def _say(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as conn:
            conn.settimeout(5.0)
            conn.connect(str(self._socket))
            conn.sendall(command.encode() + b"\n")
            parts = []
            while part := conn.recv(65_536):
                parts.append(part)
        return b"".join(parts).decode()

    def _watch_health(self) -> None:
        stopped = dict.fromkeys(range(len(self._nodes)), 0)
        while not self._done.wait(LOOK):
            for i, node in enumerate(self._nodes):
                stopped[i] = stopped[i] + 1 if _stopped(node) else 0
                if stopped[i] == 2:
                    self.cut(node)


def _stopped(node: NodeProcess) -> bool:
    """Whether the node's process is (state T of proc(5))."""
    try:
        stat = Path(f"/proc/{node.pid}/stat").read_text("ascii")
    except (OSError, AssertionError):
        return False
    return stat.rpartition(")")[2].split()[0] == "T"
