"""`activity`: sessions that only keep themselves alive are ended (CometD's extension).

A client that sends nothing but connects for `max_inactivity` seconds is inactive;
with ``activity = "client-server"`` only if nothing was sent to it either. As in
CometD this shows at a connect, so it may take `timeout` longer; the connect is
refused with advice not to come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from node.bayeux.channels import META_CONNECT, META_HANDSHAKE
from node.bayeux.extensions.api import Client, Exchange, Extension, Veto
from node.session import DIRECT

if TYPE_CHECKING:
    from node.config import Config

_KEY: Final = "activity"


class ActivityExtension(Extension):
    """Keeps (when it was active last, how much it had been sent then) of every session."""

    def __init__(self, config: Config) -> None:
        self._patience = config.max_inactivity
        self._counts_deliveries = config.activity == "client-server"

    def incoming(self, exchange: Exchange) -> Veto | None:
        client = exchange.client
        if client is None or exchange.channel == META_HANDSHAKE:
            return None
        now = trio.current_time()
        served = _served(client) if self._counts_deliveries else 0
        since, before = client.notes.get(_KEY, (now, served))
        if exchange.channel != META_CONNECT or served != before:
            since = now
        client.notes[_KEY] = (since, served)
        if self._patience and now - since > self._patience:
            client.disconnect()
        return None


def _served(client: Client) -> int:
    """How far its topics have come: it only matters whether that changes."""
    direct: int = client.notes.get(DIRECT, 0)
    return direct + sum([topic.flushed for topic in client.session.topics])
