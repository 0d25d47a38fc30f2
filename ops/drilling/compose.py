"""A ring that docker compose runs, for drills: the same steps, by ``docker`` commands."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ops.drilling.prometheus import DrillFailed, Prometheus

if TYPE_CHECKING:
    from ops.drilling.ring import Door

STEPS: Final = ("healthy", "kill", "hang", "rolling", "majority")
"""What can be done to containers from outside and be undone."""
PORT: Final = 8080  # where nodes listen in their containers
VERBS: Final = {
    signal.SIGKILL: "kill",
    signal.SIGTERM: "stop",
    signal.SIGSTOP: "pause",
    signal.SIGCONT: "unpause",
}


def _docker(*words: str) -> str:
    try:
        done = subprocess.run(
            ["docker", *words],  # noqa: S607 - from PATH
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except OSError as error:
        raise DrillFailed(f"cannot run docker: {error}") from error
    if done.returncode:
        raise DrillFailed(f"docker {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass
class Container:
    """One node's container."""

    name: str
    door: Door
    prefix: tuple[str, ...] = ()

    @property
    def client_address(self) -> str:
        """As the ring tells it to clients."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return f"{_docker('inspect', '--format', form, self.name)}:{PORT}"

    def start(self) -> None:
        _docker("start", self.name)

    def send(self, number: int) -> None:
        _docker(VERBS[signal.Signals(number)], self.name)

    def end(self, number: int = signal.SIGKILL) -> None:
        """As `send`; docker waits for the end by itself."""
        self.send(number)

    def ready(self) -> bool:
        return _docker("inspect", "--format", "{{.State.Running}}", self.name) == "true"


class ComposeRing:
    """The containers of the service ``node`` of a compose file that is up."""

    has_balancer = True
    other_side = None
    forgets_the_dead = True  # their names resolve to containers that run

    def __init__(self, file: str, prometheus: str, door: Door) -> None:
        """`prometheus`: its URL; `door`: where the balancer listens."""
        self.prometheus = Prometheus(prometheus)
        self.doors = [door]
        self.key = os.environ.get("COMETRING_API_KEY", "")
        if not self.key:
            raise DrillFailed("set COMETRING_API_KEY to the ring's key, so that it can be used")
        names = _docker("compose", "-f", file, "ps", "--quiet", "node").split()
        if not names:
            raise DrillFailed(f"no nodes of {file} are running: docker compose -f {file} up")
        self.nodes = [Container(name[:12], door) for name in names]

    def start(self) -> None:
        """It runs already."""
        self.wait_whole()

    def wait_whole(self, timeout: float = 60.0) -> float:
        """Seconds until all are ready and on one view, as Prometheus sees it."""
        began = time.monotonic()
        self.prometheus.wait_for_value("sum(cometring_ready)", len(self.nodes), timeout)
        self.prometheus.wait_for_value("cometring:views:count", 1, timeout)
        return time.monotonic() - began

    def mend(self) -> None:
        """Have every node run again, whatever a step that failed has left."""
        for node in self.nodes:
            with suppress(DrillFailed):  # it is not paused
                node.send(signal.SIGCONT)
            node.start()

    def close(self) -> None:
        """It is not ours to end."""
