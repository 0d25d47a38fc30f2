"""A WebSocket client: upgrade, handshake, subscribe, connect; then it reads."""

from __future__ import annotations

from base64 import b64encode
from random import Random
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from loadtest.swarm import bayeux
from loadtest.swarm.browser import Visitor
from loadtest.swarm.client import FAULTS, Client, Hangup
from loadtest.swarm.frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    is_one_text_frame,
    split_frame,
)
from loadtest.swarm.orders import DATA_MARK
from loadtest.swarm.responses import BadResponse, cookies_of, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler

_SWITCHING: Final = 101


class WebSocketClient(Client):
    """One socket with one session; keeps a ``/meta/connect`` outstanding, as CometD's does."""

    __slots__ = ("_body", "_mask", "_turn")

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int) -> None:
        super().__init__(crowd, sampler)
        self._body = b""
        self._turn = 2
        # A fresh mask each frame protects proxies from scripts; here one a client will do.
        self._mask = seed.to_bytes(8, "big")[-4:]

    def opened(self) -> None:
        visitor = Visitor(Random(int.from_bytes(self._mask, "big")), self.crowd.address)
        key = b64encode(self._mask * 4).decode("ascii")
        self.expect(lambda: self._upgraded(visitor))
        self.send(visitor.upgrade("/bayeux", key))

    def _upgraded(self, visitor: Visitor) -> None:
        data = self.receive()
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self.buffer = data
            return
        if status_of(head) != _SWITCHING:
            raise BadResponse(data[:400].decode("latin-1"))
        visitor.set_cookies(cookies_of(head))
        self.buffer = rest
        self.expect(lambda: self._read_frames(self._handshaken))
        self._say(bayeux.HANDSHAKE)

    def _handshaken(self, body: bytes) -> None:
        self.session = bayeux.reply_to("/meta/handshake", body).clientId
        order = self.crowd.order
        self._body = bayeux.connect_prefix(self.session, "websocket", order.poll_timeout)
        if order.channel:
            self.expect(lambda: self._read_frames(self._subscribed))
            self._say(bayeux.subscribe(self.session, order.channel))
        else:
            self._begin_reading()

    def _subscribed(self, body: bytes) -> None:
        bayeux.reply_to("/meta/subscribe", body)
        self._begin_reading()

    def _begin_reading(self) -> None:
        self.crowd.loop.replace(self.sock.fileno(), self._readable)
        self._connect()
        self.crowd.client_ready(self)

    def _say(self, body: bytes) -> None:
        self.send(client_frame(body, self._mask, TEXT))

    def _connect(self) -> None:
        self._turn += 1
        self._say(bayeux.connect(self._body, self._turn))

    def _readable(self) -> None:
        """Count what has come: one whole text frame, as a rule. The hot path."""
        try:
            data = self.receive()
            if self.sampler is None and is_one_text_frame(data):
                if bayeux.CONNECT_MARK in data:
                    self._connected_again(data)
                number = data.count(DATA_MARK)
            else:
                self.buffer = data
                number = self._walk(self._got_text)
        except FAULTS as error:
            self.fail(error)
            return
        if number:
            self.count(number)

    def _got_text(self, body: bytes) -> None:
        if bayeux.CONNECT_MARK in body:
            self._connected_again(body)
        if self.sampler is not None:
            self.sampler.check(body, monotonic_ns())

    def _connected_again(self, data: bytes) -> None:
        if bayeux.FAILURE_MARK in data:
            raise bayeux.Refused(data[-300:].decode("latin-1"))
        self.crowd.cycles += 1
        self._connect()

    def _read_frames(self, on_text: Callable[[bytes], None]) -> None:
        self.buffer = self.receive()
        self._walk(on_text)

    def _walk(self, on_text: Callable[[bytes], None]) -> int:
        """Take whole frames off the buffer; the number of deliveries in them."""
        number = 0
        while (frame := split_frame(self.buffer)) is not None:
            opcode, payload, used = frame
            self.buffer = self.buffer[used:]
            if opcode == TEXT:
                number += payload.count(DATA_MARK)
                on_text(payload)
            elif opcode == PING:
                self.send(client_frame(payload, self._mask, PONG))
            elif opcode == CLOSE:
                raise Hangup(f"close frame {payload!r}")
        return number
