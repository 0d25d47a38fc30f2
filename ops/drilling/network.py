"""A network of the drill's own, so that it can be cut and nothing else can be hit.

The drill moves into a network namespace; a minority of the nodes gets another one,
with a cable between the two. A cut drops what nodes say to nodes over that cable;
Prometheus goes on to see everybody, as with a real partition it often does not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ops.drilling.prometheus import DrillFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.drilling.ring import Ring

HERE: Final = "10.99.0.1"
THERE: Final = "10.99.0.2"
MARK: Final = "COMETRING_DRILL_ISOLATED"
PROGRAMS: Final = ("unshare", "nsenter", "ip", "nft")


def is_isolated() -> bool:
    """Whether this process lives in a network of its own."""
    return os.environ.get(MARK) == "1"


def isolate() -> None:
    """Start this program again in a network of its own; returns where that is not permitted."""
    if is_isolated() or not all(shutil.which(program) for program in PROGRAMS):
        return
    words = ["unshare", "--net", "--mount"]
    if os.geteuid():
        words += ["--user", "--map-root-user"]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return
    os.environ[MARK] = "1"
    os.execvp("unshare", [*words, sys.executable, "-m", "ops.drilling", *sys.argv[1:]])  # noqa: S606, S607 - ourselves


class OtherSide:
    """The namespace at the other end of the cable, as long as a process holds it."""

    def __init__(self) -> None:
        _run("ip", "link", "set", "lo", "up")
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo there; exec cat"],  # noqa: S607 - from PATH
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None  # noqa: S101 - it is a pipe
        self._holder.stdout.readline()
        pid = self._holder.pid
        self.prefix = ("nsenter", f"--net=/proc/{pid}/ns/net")
        _run(
            "ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(pid)
        )
        for prefix, name, address in (((), "here", HERE), (self.prefix, "there", THERE)):
            _run(*prefix, "ip", "link", "set", "lo", "up")
            _run(*prefix, "ip", "addr", "add", f"{address}/24", "dev", name)
            _run(*prefix, "ip", "link", "set", name, "up")

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


@contextmanager
def cut_in_two(ring: Ring) -> Iterator[None]:
    """Let nothing pass between the nodes here and there, for a `with` block."""
    if ring.other_side is None:
        raise DrillFailed("networks cannot be cut here")
    ports = ", ".join(str(node.peer) for node in ring.nodes)
    rules = f"""
        table inet drill {{
            chain cut {{
                type filter hook input priority 0;
                iifname {{ here, there }} tcp dport {{ {ports} }} drop
                iifname {{ here, there }} tcp sport {{ {ports} }} drop
            }}
        }}"""
    sides: tuple[Sequence[str], ...] = ((), ring.other_side.prefix)
    for prefix in sides:
        _run(*prefix, "nft", rules)
    try:
        yield
    finally:
        for prefix in sides:
            _run(*prefix, "nft", "delete table inet drill")


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DrillFailed(f"{' '.join(words)}: {done.stderr.strip()}")
