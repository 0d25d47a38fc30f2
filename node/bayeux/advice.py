"""The advice that clients get (Bayeux 1.0, section 3.3; milliseconds in it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from node.config import Config

REHANDSHAKE: Final = b'{"reconnect":"handshake","interval":0}'
RETRY: Final = b'{"reconnect":"retry","interval":1000}'
STOP: Final = b'{"reconnect":"none"}'


def advice(config: Config, *, surplus: bool = False, pause: float = 0.0) -> bytes:
    """JSON. `surplus`: for a session whose browser has another one polling already.

    `pause`: seconds that the client is to wait between polls, at least.
    """
    interval = max(pause, config.multi_session_interval if surplus else config.interval)
    told: dict[str, Any] = {
        "reconnect": "retry",
        "interval": int(interval * 1000),
        "timeout": int(config.timeout * 1000),
        "maxInterval": int(config.max_interval * 1000),
    }
    if config.hosts:
        told["hosts"] = config.hosts
    if surplus:
        told["multiple-clients"] = True
    return msgspec.json.encode(told)
