"""The inside of `sandbox.Sandbox`: a program in namespaces of its own, asked over its input."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_build import SEARCHED, build_image, devices, overlay, run

if TYPE_CHECKING:
    from dockerfile import Stage

CLONE_NEWNET = 0x40000000
FABRIC = "fabric"  # the network namespace with the bridges, and this program
NAME_SERVER = "127.0.0.11"  # where Docker has it


@dataclass
class Container:
    """One process with its own root and network."""

    name: str
    service: str
    process: subprocess.Popen[bytes]
    addresses: dict[str, str]  # by network
    root: Path
    user: str
    environ: dict[str, str]
    directory: str
    name_server: int = 0  # its process
    health: list[str] = field(default_factory=list)


class Inside:
    """What `Sandbox` asks for; every public method can be asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = folder / "room"
        self._compose: dict[str, Any] = {}
        self._containers: dict[str, Container] = {}
        self._ever: dict[str, int] = {}  # containers that a service has had
        self._image: Stage | None = None
        self._lower = "/"
        self._bridges: dict[str, str] = {}
        self._numbers = count(10)

    def begin(self, config: dict[str, Any]) -> None:
        self._compose = config
        self._room.mkdir()
        run("mount", "-t", "tmpfs", "-o", "mode=0755", "sandbox", str(self._room))
        # Nothing that is mounted here is seen outside; names of networks are ours alone.
        run("mount", "--make-rprivate", "/")
        Path("/run/netns").mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "netns", "/run/netns")

    def build(self, dockerfile: str, context: str) -> None:
        """Perform a Dockerfile; the result is the layer below every container."""
        self._image, self._lower = build_image(self._room, Path(dockerfile), Path(context))

    # -- networks -------------------------------------------------------------------------

    def _ensure_fabric(self) -> None:
        """Bridges, one a network; from now on this program itself lives among them."""
        if self._bridges:
            return
        run("ip", "netns", "add", FABRIC)
        with Path(f"/run/netns/{FABRIC}").open("rb") as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        run("ip", "link", "set", "lo", "up")
        for index, network in enumerate(self._compose["networks"]):
            self._bridges[network] = bridge = f"br{index}"
            run("ip", "link", "add", bridge, "type", "bridge")
            run("ip", "addr", "add", f"172.30.{index}.1/24", "dev", bridge)
            run("ip", "link", "set", bridge, "up")

    def _connect(self, name: str, networks: list[str]) -> dict[str, str]:
        """A network namespace `name` with an address on each of `networks`."""
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        number = next(self._numbers)
        addresses = {}
        for index, network in enumerate(networks):
            bridge = self._bridges[network]
            outer, inner = f"v{number}-{index}", f"eth{index}"
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            run("ip", "link", "set", outer, "master", bridge, "up")
            address = f"172.30.{bridge[2:]}.{number}"
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", inner)
            run("ip", "-n", name, "link", "set", inner, "up")
            addresses[network] = address
        return addresses

    def _serve_names(self, container: Container) -> None:
        """A name server of the container's own; it listens when this returns."""
        hosts = self._folder / f"{container.name}.hosts"
        hosts.touch()
        pid_file = self._room / f"{container.name}.pid"
        words = f"nsenter --net=/run/netns/{container.name} dnsmasq --conf-file=/dev/null"
        words += f" --no-resolv --no-hosts --addn-hosts={hosts} --local-ttl=0 --user=root"
        words += f" --listen-address={NAME_SERVER} --bind-interfaces --pid-file={pid_file}"
        run(*words.split())
        container.name_server = int(pid_file.read_text())

    def _tell_names(self) -> None:
        """Every container knows the running services on its networks, by several addresses."""
        for container in self._containers.values():
            lines = [
                f"{address} {other.service} {other.name}"
                for other in self._containers.values()
                if other.process.poll() is None
                for network, address in other.addresses.items()
                if network in container.addresses
            ]
            hosts = self._folder / f"{container.name}.hosts"
            hosts.write_text("\n".join(lines) + "\n")
            if container.name_server:
                os.kill(container.name_server, signal.SIGHUP)

    # -- containers -----------------------------------------------------------------------

    def up(self, service: str, count: int | None) -> list[str]:
        self._ensure_fabric()
        wanted = (
            count if count is not None else int(self._compose["services"][service].get("scale", 1))
        )
        running = [c for c in self._containers.values() if c.service == service]
        names = [self._start(service) for _ in range(len(running), wanted)]
        self._tell_names()
        return names

    def _start(self, service: str) -> str:
        plan = self._compose["services"][service]
        self._ever[service] = self._ever.get(service, 0) + 1
        name = f"{service}-{self._ever[service]}"
        stage = self._image if "build" in plan else None
        root = overlay(self._room / f"container-{name}", self._lower if stage else "/")
        addresses = {}
        if plan.get("network_mode") != "none":
            addresses = self._connect(name, list(plan.get("networks", {})))
        else:
            run("ip", "netns", "add", name)
        environ = dict(stage.environ) if stage else {}
        environ.setdefault("PATH", SEARCHED)
        environ["PATH"] = environ["PATH"].replace("$PATH", SEARCHED)
        environ |= {k: str(v) for k, v in (plan.get("environment") or {}).items() if v is not None}
        entrypoint = plan.get("entrypoint") or (stage.entrypoint if stage else [])
        command = plan.get("command") or (stage.command if stage else [])
        directory = plan.get("working_dir") or (stage.directory if stage else "/")
        user = stage.user if stage else "65534:65534"
        mounts = self._mounts(name, plan, root, user, stage)
        script = "\n".join(
            [
                "set -e",
                *mounts,
                f"mount -o remount,bind,ro {root}" if plan.get("read_only") else "",
                f"exec chroot --userspec={user} {root} env -C {directory} "
                + shlex.join([*entrypoint, *command]),
            ]
        )
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{name}", "unshare", "--mount", "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
            )
        container = Container(name, service, process, addresses, root, user, environ, directory)
        container.health = stage.health if stage else []
        self._containers[name] = container
        if addresses:
            self._serve_names(container)
        return name

    def _mounts(
        self, name: str, plan: dict[str, Any], root: Path, user: str, stage: Stage | None
    ) -> list[str]:
        """Shell lines that mount what a container has, in its own mount namespace."""
        resolv = self._folder / "resolv.conf"
        resolv.write_text(f"nameserver {NAME_SERVER}\noptions ndots:0\n")
        lines = [
            f"mount --bind {root} {root}",
            *devices(root),
            f"mount --rbind /proc {root}/proc",
            f"mount --bind {resolv} $(readlink -f {root}/etc/resolv.conf)",
        ]
        for volume in plan.get("volumes", []):
            inside = root / volume["target"].lstrip("/")
            if volume["type"] == "bind":
                source = Path(volume["source"])
            else:
                source = self._volume(volume.get("source") or name, inside, user)
            if source.is_dir():
                inside.mkdir(parents=True, exist_ok=True)
            elif not inside.exists():
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
            lines.append(f"mount --bind {source} {inside}")
            if volume.get("read_only"):
                lines.append(f"mount -o remount,bind,ro {inside}")
        lines += [
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/{each.lstrip('/')}"
            for each in plan.get("tmpfs", [])
        ]
        return lines

    def _volume(self, name: str, inside: Path, user: str) -> Path:
        """A volume begins as the directory of the image that it is mounted over."""
        source = self._room / "volumes" / name
        if not source.exists():
            source.mkdir(parents=True)
            if inside.exists():
                found = inside.stat()
                source.chmod(found.st_mode & 0o7777)
                os.chown(source, found.st_uid, found.st_gid)
            if user.startswith("65534"):  # another's image makes its own directories
                os.chown(source, 65534, 65534)
        return source

    def wait(self, name: str, timeout: float) -> int:
        return self._containers[name].process.wait(timeout)

    def address(self, name: str) -> str:
        return next(iter(self._containers[name].addresses.values()))

    def signal(self, name: str, number: int) -> None:
        container = self._containers[name]
        container.process.send_signal(number)
        if number == signal.SIGKILL:
            container.process.wait(10)
            self._gone(container)

    def stop(self, name: str) -> float:
        container = self._containers[name]
        plan = self._compose["services"][container.service]
        number = signal.Signals[plan.get("stop_signal", "SIGTERM")]
        grace = float(str(plan.get("stop_grace_period", "10s")).removesuffix("s"))
        began = time.monotonic()
        container.process.send_signal(number)
        container.process.wait(grace)
        self._gone(container)
        return time.monotonic() - began

    def _gone(self, container: Container) -> None:
        del self._containers[container.name]
        if container.name_server:
            os.kill(container.name_server, signal.SIGKILL)
        self._tell_names()

    def execute(self, name: str, words: list[str]) -> tuple[int, str]:
        container = self._containers[name]
        enter = ["nsenter", "--target", str(container.process.pid), "--net", "--mount"]
        inside = ["chroot", f"--userspec={container.user}", str(container.root)]
        done = subprocess.run(
            [*enter, *inside, "env", "-C", container.directory, *words],
            env=container.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout

    def healthy(self, name: str) -> bool:
        return self.execute(name, self._containers[name].health)[0] == 0

    # -- talking --------------------------------------------------------------------------

    def fetch(
        self,
        name: str,
        port: int,
        target: str,
        method: str,
        body: str | None,
        headers: dict[str, str],
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address(name), port, timeout=10.0)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()


def main() -> None:
    inside = Inside(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            result = getattr(inside, asked["what"])(**asked["given"])
            answer = {"result": result}
        except (OSError, RuntimeError, ValueError, KeyError, subprocess.SubprocessError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
