"""Plain long-polling: a GET that is answered when there is something, and asked again."""

from __future__ import annotations

from random import Random
from time import monotonic_ns
from typing import TYPE_CHECKING

from loadtest.swarm.browser import Head, Visitor
from loadtest.swarm.client import FAULTS, Client
from loadtest.swarm.orders import DATA_MARK
from loadtest.swarm.responses import headers_of

if TYPE_CHECKING:
    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler


class PollClient(Client):
    """Polls ``<path>`` without end; may name the last answer, as nchan wants it."""

    __slots__ = ("_head", "_last")

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int) -> None:
        super().__init__(crowd, sampler)
        self._head: Head = Visitor(Random(seed), crowd.address).get(crowd.order.path)
        self._last = b""

    def opened(self) -> None:
        self.crowd.loop.replace(self.sock.fileno(), self._polled)
        self.guard(self._poll)
        self.crowd.client_ready(self)

    def _poll(self) -> None:
        self.send(self._head.bodiless(self._last))

    def _polled(self) -> None:
        """A poll has (perhaps) been answered: count and poll again. The hot path."""
        try:
            data = self.receive()
            total = self.crowd.lengths.measure(data)
            if not total or len(data) < total:
                self.buffer = data
                return
            if self.crowd.order.conditional:
                self._remember(data.partition(b"\r\n\r\n")[0])
            if self.sampler is not None:
                self.sampler.check_marks(data, monotonic_ns())
            self._poll()
        except FAULTS as error:
            self.fail(error)
            return
        self.crowd.cycles += 1
        if DATA_MARK in data:
            self.count(data.count(DATA_MARK))

    def _remember(self, head: bytes) -> None:
        fields = dict(headers_of(head))
        self._last = (
            f"If-Modified-Since: {fields['last-modified']}\r\nIf-None-Match: {fields['etag']}\r\n"
        ).encode("ascii")
