"""A publisher: calls the application interface, at a rate or as fast as it is answered."""

from __future__ import annotations

import json
import socket
from collections import Counter, deque
from functools import partial
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency
from loadtest.swarm.client import READ_BYTES, Hangup
from loadtest.swarm.orders import Published
from loadtest.swarm.responses import BadResponse, ResponseLengths

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.swarm.loop import Loop
    from loadtest.swarm.orders import Answer, Publish

_NS: Final = 1_000_000_000
_FAULTS_KEPT: Final = 10
_DONE_MARK: Final = b'"offset":'
_GRACE: Final = 30.0  # seconds that late answers are waited for


class _Caller:
    """One keep-alive connection with at most one call outstanding, and its share of the targets.

    A target hears from one connection only: two would race, and its reader
    could not tell a reordering by the server from one by us.
    """

    __slots__ = ("_next", "_targets", "buffer", "busy", "due", "meant_ns", "sock")

    def __init__(self, host: str, port: int, targets: list[str]) -> None:
        self.sock = socket.create_connection((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._targets = targets
        self._next = 0
        self.buffer = b""
        self.busy = False
        self.due: deque[int] = deque()  # meant times of calls that wait for the last answer
        self.meant_ns = 0

    def target(self) -> str:
        """Whose turn it is."""
        self._next = (self._next + 1) % len(self._targets)
        return self._targets[self._next]


class Publisher:
    """Carries out one `Publish` order. Answers with `Published`.

    `sequence` holds how many messages each target has been sent, by earlier
    orders too: readers check that theirs count up.
    """

    def __init__(
        self,
        loop: Loop,
        order: Publish,
        sequence: Counter[str],
        answer: Callable[[Answer], None],
    ) -> None:
        self._loop = loop
        self._order = order
        self._answer = answer
        self._lengths = ResponseLengths()
        self._latency = Latency()
        self._sequence = sequence
        self._accepted = 0
        self._refused = 0
        self._faults: list[str] = []
        self._open: list[_Caller] = []
        self._started = monotonic()
        self._ends = self._started + order.seconds
        self._calls = round(order.rate * order.seconds / order.batch)
        self._released = not order.rate  # every call of an open load has had its time
        self._finished = False

    def start(self) -> None:
        """Connect and begin."""
        number = min(self._order.connections, len(self._order.targets))
        for first in range(number):
            share = self._order.targets[first::number]
            caller = _Caller(self._order.host, self._order.port, share)
            self._open.append(caller)
            self._loop.watch(caller.sock.fileno(), partial(self._readable, caller))
        self._started = monotonic()
        self._ends = self._started + self._order.seconds
        self._loop.call_at(self._ends, self._finish_if_answered)
        self._loop.call_at(self._ends + _GRACE, self._finish)
        if self._order.rate:
            self._tick(0)
        else:
            for caller in self._open:
                self._call(caller, monotonic_ns())

    def _tick(self, number: int) -> None:
        """Release every call whose time has come; call number n is meant for n / rate."""
        if self._finished:
            return
        step = self._order.batch / self._order.rate
        now = monotonic()
        while number < self._calls and (meant := self._started + number * step) <= now:
            if self._open:
                caller = self._open[number % len(self._open)]
                if caller.busy:
                    caller.due.append(int(meant * _NS))
                else:
                    self._call(caller, int(meant * _NS))
            number += 1
        if number < self._calls:
            self._loop.call_at(self._started + number * step, lambda: self._tick(number))
        else:
            self._released = True
            if now >= self._ends:
                self._finish_if_answered()

    def _call(self, caller: _Caller, meant_ns: int) -> None:
        caller.busy = True
        caller.meant_ns = meant_ns
        targets = [caller.target() for _ in range(self._order.batch)]
        if len(targets) == 1:
            path = f"/api/{_call_for(targets[0])}"
            body = self._message_body(targets[0], meant_ns)
        else:
            path = "/api/batch"
            commands = [
                f'{{"{_call_for(target)}":{self._message_body(target, meant_ns)}}}'
                for target in targets
            ]
            body = '{"commands":[' + ",".join(commands) + "]}"
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._order.host}:{self._order.port}\r\n"
            f"Authorization: Bearer {self._order.api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        caller.sock.sendall((head + body).encode())

    def _message_body(self, target: str, meant_ns: int) -> str:
        self._sequence[target] += 1
        named = "channel" if target.startswith("/") else "session"
        return (
            f'{{"{named}":"{target}","data":'
            f'{{"n":{self._sequence[target]},"sent_ns":{meant_ns},'
            f'"text":{json.dumps(self._order.text)}}}}}'
        )

    def _readable(self, caller: _Caller) -> None:
        try:
            data = caller.sock.recv(READ_BYTES * 4)
            if not data:
                raise Hangup("closed by the server")
            caller.buffer += data
            total = self._lengths.measure(caller.buffer)
        except (OSError, BadResponse) as error:
            self._lose(caller, error)
            return
        if not total or len(caller.buffer) < total:
            return
        done = min(caller.buffer.count(_DONE_MARK), self._order.batch)
        self._latency.record_ns(monotonic_ns() - caller.meant_ns)
        if done < self._order.batch:
            self._refuse(self._order.batch - done, caller.buffer[-300:].decode("latin-1"))
        self._accepted += done
        caller.buffer = b""
        caller.busy = False
        self._next(caller)

    def _next(self, caller: _Caller) -> None:
        if caller.due:
            self._call(caller, caller.due.popleft())
        elif not self._order.rate and monotonic() < self._ends:
            self._call(caller, monotonic_ns())
        elif monotonic() >= self._ends:
            self._finish_if_answered()

    def _finish_if_answered(self) -> None:
        if self._released and not any(caller.busy for caller in self._open):
            self._finish()

    def _refuse(self, number: int, why: str) -> None:
        self._refused += number
        if len(self._faults) < _FAULTS_KEPT:
            self._faults.append(why)

    def _lose(self, caller: _Caller, error: Exception) -> None:
        self._refuse(self._order.batch, f"{type(error).__name__}: {error}")
        self._loop.forget(caller.sock.fileno())
        caller.sock.close()
        self._open.remove(caller)
        if not self._open:
            self._finish()

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        for caller in self._open:
            unanswered = (caller.busy + len(caller.due)) * self._order.batch
            if unanswered:
                self._refuse(unanswered, f"not answered {_GRACE:.0f} s after the last was due")
            self._loop.forget(caller.sock.fileno())
            caller.sock.close()
        self._answer(
            Published(
                accepted=self._accepted,
                refused=self._refused,
                seconds=monotonic() - self._started,
                latency=self._latency.encoded(),
                faults=self._faults,
            )
        )


def _call_for(target: str) -> str:
    return "publish" if target.startswith("/") else "send"
