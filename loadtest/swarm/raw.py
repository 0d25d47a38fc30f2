"""Clients of the floor: they do what the others do on the wire, and nothing else."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from loadtest.swarm import bayeux
from loadtest.swarm.browser import Visitor
from loadtest.swarm.client import FAULTS, Client

if TYPE_CHECKING:
    from loadtest.swarm.crowd import Crowd


class RawClient(Client):
    """Counts deliveries of a fixed size; may answer each with a request, as a poller would."""

    __slots__ = ("_got", "_request")

    def __init__(self, crowd: Crowd, seed: int, *, answers: bool) -> None:
        super().__init__(crowd, None)
        self._got = 0
        self._request = b""
        if answers:
            visitor = Visitor(Random(seed), crowd.address)
            visitor.set_cookies({"BAYEUX_BROWSER": "0" * 22})
            body = bayeux.connect_prefix("0" * 32, "long-polling", crowd.order.poll_timeout)
            self._request = visitor.post("/bayeux/connect").request(bayeux.connect(body, 10))

    def opened(self) -> None:
        # Connected is not yet accepted: the floor greets whom it will send to.
        self.expect(self._greeted)

    def _greeted(self) -> None:
        self._got += len(self.receive())
        if self._got >= self.crowd.order.frame_bytes:
            self._got -= self.crowd.order.frame_bytes
            self.crowd.loop.replace(self.sock.fileno(), self._readable)
            if self._request:
                self.send(self._request)
            self.crowd.client_ready(self)

    def _readable(self) -> None:
        try:
            self._got += len(self.receive())
            number, self._got = divmod(self._got, self.crowd.order.frame_bytes)
            if number and self._request:
                self.send(self._request)
        except FAULTS as error:
            self.fail(error)
            return
        if number:
            self.crowd.cycles += number
            self.count(number)
