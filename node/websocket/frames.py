"""Signatures; being filled in."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Why a WebSocket is closed (RFC 6455 section 7.4.1 and the IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


def text_frame(payload: bytes) -> bytes:
    """An unmasked server text frame around UTF-8 `payload`, to be shared by all its readers."""
    raise NotImplementedError
