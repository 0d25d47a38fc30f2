"""The sampled few: clients whose every message is decoded, checked and timed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from loadtest.swarm.orders import Note

if TYPE_CHECKING:
    from loadtest.latency import Latency


class WrongMessage(Exception):
    """A sampled client got a message out of its sequence."""


class _Delivery(msgspec.Struct):
    channel: str
    data: Note | None = None


_MARK: Final = re.compile(rb'"n":(\d+),"sent_ns":(\d+)')
_deliveries = msgspec.json.Decoder(list[_Delivery])
_one_delivery = msgspec.json.Decoder(_Delivery)


def last_number(data: bytes) -> int:
    """The number that the last message in `data` carries; 0 where there is none."""
    start = data.rfind(b'"n":')
    return int(data[start + 4 : data.index(b",", start)]) if start >= 0 else 0


class Sampler:
    """Checks one reader's messages: on each channel they count up from 1, none missing or twice."""

    __slots__ = ("_last", "checked", "latency")

    def __init__(self, latency: Latency) -> None:
        self.latency = latency
        self._last: dict[str, int] = {}
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
            if message.data is not None:
                self._check_one(message.channel, message.data.n, message.data.sent_ns, now_ns)

    def check_marks(self, body: bytes, now_ns: int) -> None:
        """The same for any other wrapping of the messages, all of one channel."""
        for number, sent_ns in _MARK.findall(body):
            self._check_one("", int(number), int(sent_ns), now_ns)

    def _check_one(self, channel: str, number: int, sent_ns: int, now_ns: int) -> None:
        last = self._last.get(channel, 0)
        if number != last + 1:
            raise WrongMessage(f"message {number} after {last}")
        self._last[channel] = number
        self.checked += 1
        self.latency.record_ns(now_ns - sent_ns)
