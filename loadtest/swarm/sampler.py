"""The sampled few: clients whose every message is decoded, checked and timed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from loadtest.swarm.orders import Note

if TYPE_CHECKING:
    from loadtest.latency import Latency


class WrongMessage(Exception):
    """A sampled client got a message out of its sequence."""


class _Delivery(msgspec.Struct):
    channel: str
    data: Note | None = None


_deliveries = msgspec.json.Decoder(list[_Delivery])
_one_delivery = msgspec.json.Decoder(_Delivery)


class Sampler:
    """Checks one reader's messages: they count up from 1, none missing, none twice."""

    __slots__ = ("checked", "last", "latency")

    def __init__(self, latency: Latency) -> None:
        self.latency = latency
        self.last = 0
        self.checked = 0

    def check(self, body: bytes, now_ns: int) -> None:
        """Decode one Bayeux body that came at `now_ns` (monotonic clock).

        Raises `WrongMessage` if a message is out of order or the body is not Bayeux.
        """
        try:
            batch = (
                _deliveries.decode(body) if body.startswith(b"[") else [_one_delivery.decode(body)]
            )
        except msgspec.MsgspecError as error:
            raise WrongMessage(f"{error}: {body[:200]!r}") from error
        for message in batch:
            if message.data is None:
                continue
            if message.data.n != self.last + 1:
                raise WrongMessage(f"message {message.data.n} after {self.last}")
            self.last += 1
            self.checked += 1
            self.latency.record_ns(now_ns - message.data.sent_ns)
