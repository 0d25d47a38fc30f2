"""A swarm process: orders in at standard input, answers out at standard output."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Final

import msgspec

from loadtest.swarm.crowd import Crowd
from loadtest.swarm.loop import Loop
from loadtest.swarm.orders import Answer, Broken, Expect, Open, Order, Publish, Quit, Tell
from loadtest.swarm.publisher import Publisher

_READ: Final = 1 << 20
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)


class Worker:
    """Reads orders off a descriptor and carries them out on one loop."""

    def __init__(self, orders_in: int, answers_out: int) -> None:
        self._in = orders_in
        self._out = answers_out
        self._loop = Loop()
        self._crowd: Crowd | None = None
        self._sequence: Counter[str] = Counter()
        self._pending = b""

    def run(self) -> None:
        """Serve until `Quit` or the end of the input."""
        self._loop.watch(self._in, self._read_orders)
        self._loop.run()

    def _read_orders(self) -> None:
        data = os.read(self._in, _READ)
        if not data:
            self._loop.stop()
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._obey(_orders.decode(line))

    def _obey(self, order: Order) -> None:
        if isinstance(order, Quit):
            self._loop.stop()
        elif isinstance(order, Open):
            self._crowd = Crowd(self._loop, order, self._answer)
            self._crowd.open()
        elif isinstance(order, Publish):
            Publisher(self._loop, order, self._sequence, self._answer).start()
        elif self._crowd is None:
            self._answer(Broken("no clients are open"))
        elif isinstance(order, Expect):
            self._crowd.expect(order.deliveries)
        elif isinstance(order, Tell):
            self._crowd.tell()

    def _answer(self, answer: Answer) -> None:
        line = memoryview(msgspec.json.encode(answer) + b"\n")
        while line:
            line = line[os.write(self._out, line) :]


if __name__ == "__main__":
    Worker(sys.stdin.fileno(), sys.stdout.fileno()).run()
