"""The scenario's side of the swarm: start processes, give orders, gather answers."""

from __future__ import annotations

import selectors
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from loadtest.latency import Latency
from loadtest.swarm.orders import (
    Answer,
    Broken,
    Counts,
    Expect,
    Open,
    Order,
    Publish,
    Published,
    Quit,
    Reached,
    Ready,
    Tell,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

A = TypeVar("A", Ready, Reached, Counts, Published)

CLIENTS_A_PROCESS: Final = 15_000  # of 20,000 descriptors
_READ: Final = 1 << 20
_QUIT_SECONDS: Final = 5.0
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


class SwarmError(Exception):
    """A swarm process could not do what it was asked; its own words follow."""


class SwarmProcess:
    """One swarm process and its two pipes."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.swarm.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise SwarmError("no pipes to the swarm process")
        self._orders = self._process.stdin
        self._answers = self._process.stdout
        self._pending = b""

    def order(self, order: Order) -> None:
        """Give an order; `wait` for its answer."""
        line = memoryview(msgspec.json.encode(order) + b"\n")
        while line:
            line = line[self._orders.write(line) or 0 :]

    def wait(self, kind: type[A], timeout: float) -> A:
        """The next answer, which must be a `kind`, within `timeout` seconds.

        Raises `SwarmError` if it is another, or none comes.
        """
        answer = _answers.decode(self._line(monotonic() + timeout, kind.__name__))
        if isinstance(answer, Broken):
            raise SwarmError(answer.reason)
        if not isinstance(answer, kind):
            raise SwarmError(f"expected {kind.__name__}, got {answer!r}")
        return answer

    def _line(self, deadline: float, what: str) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - monotonic())):
                    raise SwarmError(f"no {what} from the swarm in time")
                data = self._answers.read(_READ)
                if not data:
                    raise SwarmError("the swarm process ended")
                self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            try:
                self.order(Quit())
                self._process.wait(_QUIT_SECONDS)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        self._orders.close()
        self._answers.close()


class Swarm:
    """Clients of one kind on one server, spread over processes."""

    def __init__(self, processes: list[SwarmProcess]) -> None:
        self._processes = processes
        self.sessions: list[str] = []
        self.clients = 0

    def open(self, order: Open, timeout: float = 300.0) -> float:
        """Open ``order.count`` clients in all; the seconds until the last was ready."""
        shares = _split(order.count, len(self._processes))
        for number, (process, share) in enumerate(zip(self._processes, shares, strict=True)):
            process.order(
                msgspec.structs.replace(
                    order,
                    count=share,
                    seed=order.seed + number,
                    source=f"127.0.0.{1 + number}",
                    sampled=order.sampled // len(self._processes),
                )
            )
        answers = [process.wait(Ready, timeout) for process in self._processes]
        self.sessions = [session for answer in answers for session in answer.sessions]
        self.clients = order.count
        return max(answer.seconds for answer in answers)

    def expect(self, deliveries_each: int) -> None:
        """Ask to be told when each client has had so many since it opened; `wait_reached`."""
        shares = _split(self.clients, len(self._processes))
        for process, share in zip(self._processes, shares, strict=True):
            process.order(Expect(deliveries_each * share))

    def wait_reached(self, timeout: float = 60.0) -> int:
        """When the last of them was reached (monotonic clock, nanoseconds)."""
        return max(process.wait(Reached, timeout).at_ns for process in self._processes)

    def tell(self, timeout: float = 30.0) -> Counts:
        """The totals over all processes; the sampled latencies are merged, then start afresh."""
        for process in self._processes:
            process.order(Tell())
        answers = [process.wait(Counts, timeout) for process in self._processes]
        merged = Latency()
        for answer in answers:
            merged.add_encoded(answer.latency)
        return Counts(
            at_ns=max(answer.at_ns for answer in answers),
            deliveries=sum(answer.deliveries for answer in answers),
            fewest=min(answer.fewest for answer in answers),
            most=max(answer.most for answer in answers),
            cycles=sum(answer.cycles for answer in answers),
            turned_away=sum(answer.turned_away for answer in answers),
            received_bytes=sum(answer.received_bytes for answer in answers),
            checked=sum(answer.checked for answer in answers),
            faults=[fault for answer in answers for fault in answer.faults],
            latency=merged.encoded(),
        )


def _split(total: int, parts: int) -> list[int]:
    return [total // parts + (number < total % parts) for number in range(parts)]


def processes_for(clients: int) -> int:
    """How many swarm processes `clients` need."""
    return max(1, -(-clients // CLIENTS_A_PROCESS))


@contextmanager
def swarm_processes(number: int) -> Iterator[list[SwarmProcess]]:
    """`number` idle swarm processes, ended on the way out."""
    with ExitStack() as stack:
        processes = []
        for _ in range(number):
            process = SwarmProcess()
            stack.callback(process.close)
            processes.append(process)
        yield processes


@contextmanager
def swarm_for(clients: int) -> Iterator[Swarm]:
    """A swarm with processes enough for `clients`, none of them open yet."""
    with swarm_processes(processes_for(clients)) as processes:
        yield Swarm(processes)


def publish(process: SwarmProcess, order: Publish) -> Published:
    """Have `process` publish, and wait until it is done."""
    process.order(order)
    return process.wait(Published, order.seconds + 60.0)
