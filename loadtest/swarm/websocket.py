"""WebSocket clients: upgrade, say what the server wants to hear first, then read."""

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
from loadtest.swarm.orders import DATA_MARK, channels_of
from loadtest.swarm.responses import BadResponse, cookies_of, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.swarm.crowd import Crowd
    from loadtest.swarm.sampler import Sampler

_SWITCHING: Final = 101


class FrameClient(Client):
    """One WebSocket: ``order.dialogue`` is said frame by frame, each after an answer."""

    __slots__ = ("_mask", "_said")

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int) -> None:
        super().__init__(crowd, sampler)
        self._said = 0
        # A fresh mask each frame protects proxies from scripts; here one a client will do.
        self._mask = seed.to_bytes(8, "big")[-4:]

    def opened(self) -> None:
        visitor = Visitor(Random(int.from_bytes(self._mask, "big")), self.crowd.address)
        key = b64encode(self._mask * 4).decode("ascii")
        self.expect(lambda: self._upgraded(visitor))
        self.send(visitor.upgrade(self.crowd.order.path, key))

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
        self.greet()
        if self.buffer and not self._reads:
            self._walk(self._answered)

    def greet(self) -> None:
        """Say the first frame, or begin to read at once."""
        self.expect(lambda: self._read_frames(self._answered))
        if self.crowd.order.dialogue:
            self._say_next()
        else:
            self._begin_reading()

    def _say_next(self) -> None:
        self._say(self.crowd.order.dialogue[self._said].encode())
        self._said += 1

    def _answered(self, _body: bytes) -> None:
        if self._said < len(self.crowd.order.dialogue):
            self._say_next()
        elif not self._reads:
            self._begin_reading()

    @property
    def _reads(self) -> bool:
        return self._said > len(self.crowd.order.dialogue)

    def _begin_reading(self) -> None:
        self._said = len(self.crowd.order.dialogue) + 1
        self.crowd.loop.replace(self.sock.fileno(), self._readable)
        self.crowd.client_ready(self)

    def _say(self, body: bytes) -> None:
        self.send(client_frame(body, self._mask, TEXT))

    def _readable(self) -> None:
        """Count what has come: one whole text frame, as a rule. The hot path."""
        try:
            data = self.receive()
            if self.sampler is None and is_one_text_frame(data):
                self.glance(data)
                number = data.count(DATA_MARK)
            else:
                self.buffer = data
                number = self._walk(self.heard)
        except FAULTS as error:
            self.fail(error)
            return
        if number:
            self.count(number, data[: len(data) - len(self.buffer)])

    def glance(self, data: bytes) -> None:
        """A whole text frame, header included, of a client that is not sampled."""
        if DATA_MARK not in data:
            self._answer_heartbeat(data[2:])

    def heard(self, body: bytes) -> None:
        """One text, to be checked."""
        if self.sampler is not None:
            self.sampler.check_marks(body, monotonic_ns())
        if DATA_MARK not in body:
            self._answer_heartbeat(body)

    def _answer_heartbeat(self, body: bytes) -> None:
        asks, answer = self.crowd.order.heartbeat
        if asks and body == asks.encode():
            self._say(answer.encode())

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


class WebSocketClient(FrameClient):
    """Bayeux over one socket; keeps a ``/meta/connect`` outstanding, as CometD's does."""

    __slots__ = ("_body", "_number", "_turn")

    def __init__(self, crowd: Crowd, sampler: Sampler | None, seed: int, number: int = 0) -> None:
        super().__init__(crowd, sampler, seed)
        self._body = b""
        self._number = number
        self._turn = 2

    def greet(self) -> None:
        self.expect(lambda: self._read_frames(self._handshaken))
        self._say(bayeux.HANDSHAKE)

    def _handshaken(self, body: bytes) -> None:
        self.session = bayeux.reply_to("/meta/handshake", body).clientId
        order = self.crowd.order
        self._body = bayeux.connect_prefix(self.session, "websocket", order.poll_timeout)
        if order.channel:
            self.expect(lambda: self._read_frames(self._subscribed))
            self._say(bayeux.subscribe(self.session, *channels_of(order, self._number)))
        else:
            self._begin_reading()

    def _subscribed(self, body: bytes) -> None:
        bayeux.reply_to("/meta/subscribe", body)
        self._begin_reading()

    def _begin_reading(self) -> None:
        self._connect()
        super()._begin_reading()

    def _connect(self) -> None:
        self._turn += 1
        self._say(bayeux.connect(self._body, self._turn))

    def glance(self, data: bytes) -> None:
        if bayeux.CONNECT_MARK in data:
            self._connected_again(data)

    def heard(self, body: bytes) -> None:
        if bayeux.CONNECT_MARK in body:
            self._connected_again(body)
        if self.sampler is not None:
            self.sampler.check(body, monotonic_ns())

    def _connected_again(self, data: bytes) -> None:
        if bayeux.FAILURE_MARK in data:
            raise bayeux.Refused(data[-300:].decode("latin-1"))
        self.crowd.cycles += 1
        self.after_pause(data, self._connect)
