"""Channel names: what is valid, and which kind it is (Bayeux 1.0, section 2.1)."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

META_HANDSHAKE = "/meta/handshake"
META_CONNECT = "/meta/connect"
META_SUBSCRIBE = "/meta/subscribe"
META_UNSUBSCRIBE = "/meta/unsubscribe"
META_DISCONNECT = "/meta/disconnect"
SERVICE_SEND = "/service/send"
SERVICE_INBOX = "/service/inbox"

MAX_CHANNEL_LENGTH = 512

_NAME = re.compile(r"(?:/[A-Za-z0-9_!~()$@.\-]+)+\Z")
_PATTERN = re.compile(r"(?:/[A-Za-z0-9_!~()$@.\-]+)*/\*\*?\Z")


class Kind(Enum):
    """What a channel name stands for."""

    INVALID = auto()
    META = auto()
    SERVICE = auto()
    BROADCAST = auto()
    PATTERN = auto()  # a wildcard over broadcast channels


@lru_cache(maxsize=16_384)
def kind_of(name: str) -> Kind:
    """Classify `name` by its exact spelling: `/META/x` is no meta channel."""
    if len(name) > MAX_CHANNEL_LENGTH:
        return Kind.INVALID
    if _NAME.match(name):
        if name.startswith("/meta/") or name == "/meta":
            return Kind.META
        if name.startswith("/service/") or name == "/service":
            return Kind.SERVICE
        segments = name.split("/")
        return Kind.INVALID if "." in segments or ".." in segments else Kind.BROADCAST
    if _PATTERN.match(name):
        if name.startswith("/meta/"):
            return Kind.META
        return Kind.SERVICE if name.startswith("/service/") else Kind.PATTERN
    return Kind.INVALID
