"""A peer's process: started, published to, measured, stopped."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from loadtest.accounting import Cpu, cpu_of, resident_bytes
from loadtest.server import HOST, ServerError, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.peers.catalogue import Peer

_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_TOLD: Final = 400


class Running:
    """One peer that answers on `port`."""

    def __init__(self, peer: Peer, folder: Path, port: int) -> None:
        self.peer = peer
        self.port = port
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                peer.command(folder, port), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._connection: HTTPConnection | None = None

    def wait_ready(self) -> None:
        """Return when it takes connections. Raises `ServerError` if it does not."""
        deadline = monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or monotonic() > deadline:
                    words = self._log.read_text("utf-8", "replace")[-_TOLD:]
                    raise ServerError(f"{self.peer.name} did not start: {words}") from None
                sleep(_POLL_SECONDS)
            else:
                return

    @property
    def pid(self) -> int:
        """The process that does the work."""
        pid = self._process.pid
        if self.peer.worker:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
            return int(children[0])
        return pid

    def publish(self, data: bytes) -> None:
        """One message, JSON, to every client."""
        if self._connection is None:
            self._connection = HTTPConnection(HOST, self.port, timeout=60)
        headers = {"Content-Type": "application/json"}
        body = self.peer.wrap(data)
        self._connection.request("POST", self.peer.publish_path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise ServerError(f"{self.peer.name} answered {response.status}: {answer[:200]!r}")

    def cpu(self) -> Cpu:
        return cpu_of(self.pid)

    def resident(self) -> int:
        return resident_bytes(self.pid)

    def stop(self) -> None:
        """End it."""
        if self._connection is not None:
            self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(peer: Peer) -> Iterator[Running]:
    """The peer, ready. Raises `NotInstalled`, or `ServerError` if it does not start."""
    with tempfile.TemporaryDirectory(prefix="cometring-peer-") as folder:
        Path(folder).chmod(0o755)  # nginx's worker is another user
        (port,) = free_ports(1)
        server = Running(peer, Path(folder), port)
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()
