"""A long-polling client: handshake, subscribe, then one poll after the other."""

from __future__ import annotations

from random import Random
from time import monotonic_ns
from typing import TYPE_CHECKING

from loadtest.swarm import bayeux
from loadtest.swarm.browser import Head, Visitor
from loadtest.swarm.client import FAULTS, Client
from loadtest.swarm.orders import DATA_MARK, channels_of
from loadtest.swarm.responses import Busy, body_of, cookies_of

if TYPE_CHECKING:
    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler


class LongPollClient(Client):
    """Keeps exactly one ``/meta/connect`` with the server, over one connection."""

    __slots__ = ("_body", "_head", "_number", "_turn", "_visitor")

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int, number: int = 0) -> None:
        super().__init__(crowd, sampler)
        self._visitor: Visitor | None = Visitor(Random(seed), crowd.address)
        self._head = self._visitor.post(f"{crowd.order.path}/handshake")
        self._body = b""
        self._number = number
        self._turn = 2

    def opened(self) -> None:
        self.expect(self._handshaken)
        self.send(self._head.request(bayeux.HANDSHAKE))

    def _handshaken(self) -> None:
        try:
            response = self._whole_response()
        except Busy as answer:  # under load: who comes is told to come again
            self.start_again(answer.after)
            return
        if response is None or self._visitor is None:
            return
        head, body = response
        self.session = bayeux.reply_to("/meta/handshake", body).clientId
        self._visitor.set_cookies(cookies_of(head))
        order = self.crowd.order
        self._body = bayeux.connect_prefix(self.session, "long-polling", order.poll_timeout)
        if not order.channel:
            self._begin_polling()
            return
        subscribe = self._visitor.post(f"{order.path}/subscribe")
        self.expect(self._subscribed)
        self.send(subscribe.request(self._subscription()))

    def _subscription(self) -> bytes:
        return bayeux.subscribe(self.session, *channels_of(self.crowd.order, self._number))

    def _subscribed(self) -> None:
        response = self._whole_response()
        if response is not None:
            bayeux.reply_to("/meta/subscribe", response[1])
            self._begin_polling()

    def _begin_polling(self) -> None:
        if self._visitor is None:
            return
        self._head = self._visitor.post(f"{self.crowd.order.path}/connect")
        self._visitor = None  # its cookies are in the head now
        self.crowd.loop.replace(self.sock.fileno(), self._polled)
        self._poll()
        self.crowd.client_ready(self)

    def _whole_response(self) -> tuple[bytes, bytes] | None:
        """Head and body of a set-up response, None while it is incomplete."""
        data = self.receive()
        total = self.crowd.lengths.measure(data)
        if not total or len(data) < total:
            self.buffer = data
            return None
        return data.partition(b"\r\n\r\n")[0], body_of(data)

    def _poll(self) -> None:
        self._turn += 1
        head: Head = self._head
        self.send(head.request(bayeux.connect(self._body, self._turn)))

    def _polled(self) -> None:
        """A poll has (perhaps) been answered: count and poll again. The hot path."""
        try:
            data = self.receive()
            total = self.crowd.lengths.measure(data)
            if not total or len(data) < total:
                self.buffer = data
                return
            if bayeux.FAILURE_MARK in data or bayeux.CONNECT_MARK not in data:
                raise bayeux.Refused(data[-300:].decode("latin-1"))
            if self.sampler is not None:
                self.sampler.check(body_of(data), monotonic_ns())
            self.after_pause(data, self._poll)
        except FAULTS as error:
            self.fail(error)
            return
        self.crowd.cycles += 1
        if DATA_MARK in data:
            self.count(data.count(DATA_MARK), data)
