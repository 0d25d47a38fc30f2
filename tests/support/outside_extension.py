"""An application's extensions, as somebody who has only read the docs would write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from node.bayeux.extensions import Delivery, Exchange, Extension, Veto

if TYPE_CHECKING:
    from node.config import Config


class Moderator(Extension):
    """Counts what clients publish, deletes what is rude, and signs what is delivered."""

    def __init__(self, config: Config) -> None:
        self.sizes = int(config.max_message_size)

    def incoming(self, exchange: Exchange) -> Veto | None:
        if exchange.client is None or exchange.channel.startswith("/meta/"):
            return None
        notes = exchange.client.notes
        notes["published"] = notes.get("published", 0) + 1
        exchange.notes["turn"] = notes["published"]
        data = json.loads(exchange.data)
        if data == "rude":
            return Veto()
        if data == "shout":
            exchange.data = b'"LOUD"'
        if data == "goodbye":
            exchange.client.disconnect()
        return Veto(403, "too long") if len(str(data)) > 100 else None

    def reply(self, exchange: Exchange) -> None:
        if "turn" in exchange.notes:
            exchange.ext["turn"] = exchange.notes["turn"]
        exchange.fields["seen"] = True

    def outgoing(self, delivery: Delivery) -> Veto | None:
        data: Any = json.loads(delivery.data)
        if data == "secret":
            return Veto(text="not for others")
        if isinstance(data, str):
            delivery.data = json.dumps(data.upper()).encode()
        delivery.ext["signed"] = delivery.channel
        return None


class Broken(Extension):
    """Raises wherever it can."""

    def incoming(self, exchange: Exchange) -> Veto | None:
        if exchange.channel == "/broken/in":
            raise KeyError(exchange.channel)
        return None

    def reply(self, exchange: Exchange) -> None:
        if exchange.channel == "/broken/reply":
            raise ZeroDivisionError

    def outgoing(self, delivery: Delivery) -> Veto | None:
        if delivery.channel == "/broken/out":
            raise OSError("no disk")
        return None


def broken(config: Config) -> Extension:
    """A factory that is a function."""
    del config
    return Broken()


def nothing(config: Config) -> None:
    """A factory that makes no extension."""
    del config


NOT_CALLABLE = 1
