"""`timesync`: how far a client's clock is from ours (CometD's extension).

    request   {tc: its clock, l: the lag that it knows, o: the offset that it knows}
    reply     {tc, ts: our clock when the request came, p: how long we held it, a: its error}

All milliseconds, clocks since 1970: the client takes the lag for (now - tc - p) / 2
and the offset for ts - tc - lag. A client that is within `_ACCURATE` is left alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from node.bayeux.extensions.api import Exchange, Extension, Veto

if TYPE_CHECKING:
    from node.config import Config

_KEY: Final = "timesync"
_ACCURATE: Final = 25  # milliseconds of error that are none, as CometD has it
_META: Final = "/meta/"


class TimesyncExtension(Extension):
    """Answers those who ask, on meta channels."""

    always: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        del config

    def incoming(self, exchange: Exchange) -> Veto | None:
        if _KEY in exchange.asked and exchange.channel.startswith(_META):
            exchange.notes[_KEY] = _milliseconds()
        return None

    def reply(self, exchange: Exchange) -> None:
        received = exchange.notes.get(_KEY)
        if received is None:
            return
        told = _answer(exchange.asked[_KEY], received, _milliseconds())
        if told is not None:
            exchange.ext[_KEY] = told


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _answer(asked: object, received: int, now: int) -> dict[str, Any] | None:
    """What to say to `asked`, which came at `received`; None for what needs no answer."""
    if not isinstance(asked, dict) or not _is_number(asked.get("tc")):
        return None
    sent = asked["tc"]
    told = {"tc": sent, "ts": received, "p": now - received}
    lag, offset = asked.get("l"), asked.get("o")
    if not _is_number(lag) or not _is_number(offset):
        return told  # the form without them, of early clients
    error = int(sent + offset + lag - received)
    if lag and abs(error) < _ACCURATE:
        return None
    return {**told, "a": error}


def _is_number(value: object) -> bool:
    """A JSON number that a clock may show (the bound keeps sums of them finite)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18
