"""`timestamp`: when a message left us, in Bayeux's form (Bayeux 1.0, section 4.10: ISO 8601, GMT).

On deliveries it is the moment at which the message was accepted, the same for
all readers; on replies the moment of the reply.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from node.bayeux.extensions.api import Delivery, Exchange, Extension, Veto

if TYPE_CHECKING:
    from node.config import Config

_KEY: Final = "timestamp"


class TimestampExtension(Extension):
    """Puts `timestamp` on everything. Off unless it is configured: it costs bytes."""

    def __init__(self, config: Config) -> None:
        del config

    def reply(self, exchange: Exchange) -> None:
        exchange.fields[_KEY] = timestamp(time.time())

    def outgoing(self, delivery: Delivery) -> Veto | None:
        delivery.fields[_KEY] = timestamp(time.time())
        return None


def timestamp(now: float) -> str:
    """`now` (unix seconds) as ``YYYY-MM-DDThh:mm:ss.ss``."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-4]
