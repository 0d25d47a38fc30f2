"""Bare `send()` loops, in C and in Python: what any server must at least pay."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.accounting import Cpu, cpu_of
from loadtest.server import ServerError, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

C_FLOOR: Final = "C send() loop"
_SOURCE: Final = Path(__file__).with_name("floor.c")
_STOP_SECONDS: Final = 5.0


class Floor:
    """One running send loop; `send` makes it write one message to every connection."""

    def __init__(self, name: str, command: list[str], frame_bytes: int) -> None:
        self.name = name
        self.frame_bytes = frame_bytes
        (self.port,) = free_ports(1)
        self._process = subprocess.Popen(
            [*command, str(self.port), str(frame_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise ServerError("no pipes to the floor")
        self._orders = self._process.stdin
        self._said = self._process.stdout
        if self._said.readline() != b"ready\n":
            raise ServerError(f"{name} did not start")

    def send(self) -> None:
        """One message to everybody."""
        self._orders.write(b"send\n")

    def cpu(self) -> Cpu:
        return cpu_of(self._process.pid)

    def stop(self) -> None:
        """It ends with its standard input."""
        self._orders.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()


def compile_floor(folder: Path) -> Path | None:
    """The C floor, compiled into `folder`; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    program = folder / "floor"
    subprocess.run([compiler, "-O2", "-o", str(program), str(_SOURCE)], check=True)
    return program


@contextmanager
def running_floors(frame_bytes: int, most: int = 2) -> Iterator[list[Floor]]:
    """The C floor, where it can be compiled, and the Python floor; the first `most` of them."""
    with tempfile.TemporaryDirectory(prefix="cometring-floor-") as folder:
        commands = {"Python send() loop": [sys.executable, "-m", "loadtest.floor_loop"]}
        program = compile_floor(Path(folder))
        if program is not None:
            commands = {C_FLOOR: [str(program)], **commands}
        floors: list[Floor] = []
        try:
            for name, command in list(commands.items())[:most]:
                floors.append(Floor(name, command, frame_bytes))
            yield floors
        finally:
            for floor in floors:
                floor.stop()
