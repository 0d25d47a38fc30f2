"""Bounds and times of a listener's WebSockets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Seconds and bytes."""

    ping_interval: float = 25.0  # seconds of silence after which a ping is sent
    pong_timeout: float = 20.0  # seconds of further silence after which it is over
    close_timeout: float = 5.0  # seconds that the client has to answer a close frame
    message_timeout: float = 60.0  # seconds from a message's first frame to its last byte
    max_message: int = 1024 * 1024  # bytes, inflated
    deflate: bool = False  # agree to permessage-deflate where a client offers it
