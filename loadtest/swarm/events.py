"""A reader of server-sent events: one GET, and then it reads."""

from __future__ import annotations

from random import Random
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from loadtest.swarm.browser import Visitor
from loadtest.swarm.client import FAULTS, Client
from loadtest.swarm.orders import DATA_MARK
from loadtest.swarm.responses import BadResponse, status_of

if TYPE_CHECKING:
    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler

_OK: Final = 200
_EVENT_END: Final = b"\n\n"
_ENDINGS: Final = (b"\n\n", b"\n\n\r\n")  # of whole events, bare or in chunks


class EventClient(Client):
    """Reads ``<path>``; ready when the response has begun and something stands in it."""

    __slots__ = ("_seed",)

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int) -> None:
        super().__init__(crowd, sampler)
        self._seed = seed

    def opened(self) -> None:
        visitor = Visitor(Random(self._seed), self.crowd.address)
        self.expect(self._begun)
        self.send(visitor.get(self.crowd.order.path, "text/event-stream").bodiless())

    def _begun(self) -> None:
        data = self.receive()
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self.buffer = data
            return
        if status_of(head) != _OK:
            raise BadResponse(data[:400].decode("latin-1"))
        if not rest:
            self.buffer = data
            return
        self.crowd.loop.replace(self.sock.fileno(), self._readable)
        self.crowd.client_ready(self)
        self._count(rest)

    def _readable(self) -> None:
        """Count the events that have come. The hot path."""
        try:
            self._count(self.receive())
        except FAULTS as error:
            self.fail(error)

    def _count(self, data: bytes) -> None:
        if not data.endswith(_ENDINGS):
            whole = data.rfind(_EVENT_END) + 1
            data, self.buffer = data[:whole], data[whole:]
        number = data.count(DATA_MARK)
        if number:
            if self.sampler is not None:
                self.sampler.check_marks(data, monotonic_ns())
            self.count(number, data)
