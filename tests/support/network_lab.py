"""A network of its own for a ring of real processes: hosts, a router, and cables to cut.

Each node lives in a network namespace, connected to a router in another, which
drops what a cut says: without a word, as a network does that has failed. Nothing
of the machine's own network is touched, and a namespace is gone when the last
process in it ends: each is held by a shell that waits for the end of its standard
input, so nothing remains even if the test is killed.

Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN), unshare, nsenter and ip.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest

from cluster_process import ClusterProcess, NodeProcess
from programs import require_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

COMMAND_WITHIN = 10.0  # seconds
CLONE_NEWNET = 0x40000000  # sched.h
_libc = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """Namespaces cannot be made here; the text says why."""


class Namespace:
    """One network namespace, held open by a process that ends with this one."""

    def __init__(self) -> None:
        words = ["unshare", "--net", "sh", "-c", "echo made; read _"]
        self._holder = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        if self._holder.stdout.readline() != "made\n":
            reason = self._holder.stderr.read().strip()
            self.close()
            raise Unavailable(reason or "unshare --net failed")
        self._file = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)

    @property
    def pid(self) -> int:
        """A process that lives in it."""
        return self._holder.pid

    def ip(self, *commands: str) -> None:
        """Run commands of ip(8) in it. Raises Unavailable with its complaint."""
        words = ["nsenter", "--net", "--target", str(self.pid), "ip", "-batch", "-"]
        done = subprocess.run(
            words,
            input="\n".join(commands),
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"ip: {done.stderr.strip()}")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens or starts meanwhile is in the namespace."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _set_namespace(self._file)
            try:
                yield
            finally:
                _set_namespace(home)
        finally:
            os.close(home)

    def close(self) -> None:
        """Let it go; it is gone when the last process in it is."""
        if hasattr(self, "_file"):
            os.close(self._file)
        self._holder.communicate(timeout=COMMAND_WITHIN)


def _set_namespace(file: int) -> None:
    if _libc.setns(file, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise Unavailable(f"setns: {os.strerror(number)}")


class NetworkLab:
    """`hosts` namespaces around a router. Raises Unavailable where that is not permitted."""

    def __init__(self, hosts: int) -> None:
        self._stack = ExitStack()
        try:
            self.router = self._namespace()
            self.hosts = [self._namespace() for _ in range(hosts)]
            self._connect()
        except BaseException:
            self._stack.close()
            raise

    def _namespace(self) -> Namespace:
        made = Namespace()
        self._stack.callback(made.close)
        return made

    def _connect(self) -> None:
        for i, host in enumerate(self.hosts):
            gateway = f"192.0.2.{4 * i + 1}"
            self.router.ip(
                f"link add port{i} type veth peer name eth0 netns {host.pid}",
                f"addr add {gateway}/30 dev port{i}",
                f"link set port{i} up",
            )
            host.ip(
                "link set lo up",
                f"addr add {self.address(i)}/30 dev eth0",
                "link set eth0 up",
                f"route add default via {gateway}",
            )
        with self.router.inside():
            try:
                with open("/proc/sys/net/ipv4/ip_forward", "w") as setting:  # noqa: PTH123
                    setting.write("1")
            except OSError as error:
                raise Unavailable(f"no forwarding: {error.strerror}") from None

    @staticmethod
    def address(host: int) -> str:
        """The IP address of a host, out of a range that is nobody's (RFC 5737)."""
        return f"192.0.2.{4 * host + 2}"

    def cut(self, senders: Iterable[int], receivers: Sequence[int]) -> None:
        """From now on nothing that `senders` send reaches `receivers`."""
        self.router.ip(
            *(
                f"rule add from {self.address(sender)} to {self.address(receiver)} blackhole"
                for sender in senders
                for receiver in receivers
            )
        )

    def part(self, some: Sequence[int], others: Sequence[int]) -> None:
        """Cut both ways."""
        self.cut(some, others)
        self.cut(others, some)

    def heal(self) -> None:
        """Mend all cuts."""
        self.router.ip("rule flush", "rule add from all lookup main pref 32766")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class LabCluster(ClusterProcess):
    """A ring with each node on a host of its own."""

    def __init__(self, lab: NetworkLab, log_dir: Path, arguments: Sequence[str] = ()) -> None:
        self._lab = lab
        super().__init__(len(lab.hosts), log_dir, arguments)

    def _add(self) -> NodeProcess:
        node = super()._add()
        placed = LabNode(node.index, node.arguments, node.log)
        placed.peer_host = self._lab.address(node.index)
        placed.host = self._lab.hosts[node.index]
        self.nodes[-1] = placed
        return placed

    def start_node(self, node: NodeProcess) -> None:
        with self._lab.hosts[node.index].inside():
            super().start_node(node)


class LabNode(NodeProcess):
    """A node that is asked on its own host's loopback."""

    host: Namespace

    def request(self, *words: Any, **options: Any) -> tuple[int, Any]:
        with self.host.inside():
            return super().request(*words, **options)


@contextmanager
def network_lab(hosts: int) -> Iterator[NetworkLab]:
    """A lab for a test, which is skipped where there can be none."""
    for program in ("unshare", "nsenter", "ip"):
        require_program(program)
    try:
        lab = NetworkLab(hosts)
    except Unavailable as error:
        pytest.skip(f"needs network namespaces, which are not permitted here: {error}")
    with lab:
        yield lab
