"""Socket.IO over HTTP alone: Engine.IO's polling, protocol 4.

https://github.com/socketio/engine.io-protocol: packets are texts that begin
with their type, several in one body are parted by U+001E.
"""

from __future__ import annotations

import json
from random import Random
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from loadtest.swarm.browser import Visitor
from loadtest.swarm.client import FAULTS, Client
from loadtest.swarm.orders import DATA_MARK
from loadtest.swarm.responses import BadResponse, body_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler

_PARTED: Final = b"\x1e"
_PING: Final = b"2"
_PONG: Final = b"3"
_CONNECT: Final = b"40"


class EnginePollClient(Client):
    """Opens a session, connects to the default namespace, then polls."""

    __slots__ = ("_poll_request", "_post", "_seed", "_visitor")

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int) -> None:
        super().__init__(crowd, sampler)
        self._visitor: Visitor = Visitor(Random(seed), crowd.address)
        self._poll_request = b""
        self._seed = seed

    def opened(self) -> None:
        self._then(self._session_opened)
        self.send(self._visitor.get(self.crowd.order.path).bodiless())

    def _then(self, step: Callable[[bytes], None]) -> None:
        """Run `step` with the body of the next response."""

        def read() -> None:
            data = self.receive()
            total = self.crowd.lengths.measure(data)
            if not total or len(data) < total:
                self.buffer = data
            else:
                step(body_of(data))

        self.expect(read)

    def _session_opened(self, body: bytes) -> None:
        if not body.startswith(b"0"):
            raise BadResponse(body[:200].decode("latin-1"))
        path = f"{self.crowd.order.path}&sid={json.loads(body[1:])['sid']}"
        self._poll_request = self._visitor.get(path).bodiless()
        self._post = self._visitor.post(path)
        self._then(self._asked)
        self.send(self._post.request(_CONNECT))

    def _asked(self, _body: bytes) -> None:
        self._then(self._joined)
        self.send(self._poll_request)

    def _joined(self, body: bytes) -> None:
        if _CONNECT not in body:
            raise BadResponse(body[:200].decode("latin-1"))
        self.crowd.loop.replace(self.sock.fileno(), self._polled)
        self.send(self._poll_request)
        self.crowd.client_ready(self)

    def _polled(self) -> None:
        """A poll, or the post of a pong, has been answered. The hot path."""
        try:
            data = self.receive()
            total = self.crowd.lengths.measure(data)
            if not total or len(data) < total:
                self.buffer = data
                return
            number = data.count(DATA_MARK)
            if number:
                if self.sampler is not None:
                    self.sampler.check_marks(data, monotonic_ns())
                self.send(self._poll_request)
            elif _PING in body_of(data).split(_PARTED):
                self.send(self._post.request(_PONG))
            else:
                self.send(self._poll_request)
        except FAULTS as error:
            self.fail(error)
            return
        self.crowd.cycles += 1
        if number:
            self.count(number)
