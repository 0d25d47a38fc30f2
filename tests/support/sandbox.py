"""A compose file performed without Docker: by mount, network and process namespaces.

Everything runs under one `unshare`: when that process ends, so do all "containers",
and their mounts, networks and processes go with it; nothing outside is touched.

- An image is what its Dockerfile's COPY and RUN leave in an overlay above this
  machine's own file system. Images of others (HAProxy, Prometheus) are this machine.
- A container is a process with a root of its own (read-only, where the file says
  so), the user of the image, an address on each of its networks, and a name server
  at 127.0.0.11, as Docker has it, that knows the services on these networks.

`Sandbox` is the side of the test: it starts this file as a program in the
namespaces and asks it things, one JSON object a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("sandbox_inside.py")


class SandboxError(Exception):
    """The other side could not do what it was asked for."""


class Sandbox:
    """For a `with` block; `folder` gets logs, the rest is gone afterwards."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder = folder
        self._config = config

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        words += [sys.executable, str(PROGRAM), str(self.folder)]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(PROGRAM.parent)},
        )
        self.ask("begin", config=self._config)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def ask(self, what: str, **given: Any) -> Any:
        """One call of a method of `sandbox_inside.Inside`. Raises SandboxError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, "given": given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SandboxError(f"the sandbox ended: status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SandboxError(f"{what}: {answer['error']}")
        return answer["result"]

    # -- what tests ask -----------------------------------------------------------------

    def build(self, dockerfile: Path) -> None:
        """Perform the Dockerfile; services with a `build` use the result."""
        self.ask("build", dockerfile=str(dockerfile), context=str(ROOT))

    def up(self, service: str, count: int | None = None) -> list[str]:
        """Start a service's containers, `count` of them where it scales; returns their names."""
        return list(self.ask("up", service=service, count=count))

    def run_to_end(self, service: str, timeout: float = 30.0) -> int:
        """Run a one-shot service; returns its exit status."""
        (name,) = self.up(service)
        return int(self.ask("wait", name=name, timeout=timeout))

    def address(self, name: str) -> str:
        """The container's address on the first of its networks."""
        return str(self.ask("address", name=name))

    def signal(self, name: str, number: int) -> None:
        self.ask("signal", name=name, number=number)

    def stop(self, name: str) -> float:
        """As ``docker stop``: the stop signal, the grace period; returns the seconds it took."""
        return float(self.ask("stop", name=name))

    def execute(self, name: str, words: list[str]) -> tuple[int, str]:
        """As ``docker exec``: exit status and output."""
        status, output = self.ask("execute", name=name, words=words)
        return int(status), str(output)

    def healthy(self, name: str) -> bool:
        """What the image's health check says."""
        return bool(self.ask("healthy", name=name))

    def fetch(
        self,
        name: str,
        port: int,
        target: str,
        method: str = "GET",
        body: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """One HTTP request to a container; status 0 where nobody answered."""
        status, text = self.ask(
            "fetch",
            name=name,
            port=port,
            target=target,
            method=method,
            body=body,
            headers=headers or {},
        )
        return int(status), str(text)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """What Prometheus answers to an instant query. Raises SandboxError where it is wrong."""
        from urllib.parse import urlencode  # noqa: PLC0415 - used here alone

        status, text = self.fetch(
            "prometheus-1", 9090, "/api/v1/query?" + urlencode({"query": promql})
        )
        if status != 200:
            raise SandboxError(f"{promql}: {status} {text}")
        return list(json.loads(text)["data"]["result"])

    def prometheus(self, target: str) -> Any:
        """GET one of Prometheus' API pages; its ``data``."""
        status, text = self.fetch("prometheus-1", 9090, target)
        if status != 200:
            raise SandboxError(f"{target}: {status} {text}")
        return json.loads(text)["data"]

    def log(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""
