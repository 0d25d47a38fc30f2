"""Signatures; being filled in."""

from __future__ import annotations

import msgspec


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a request's head says, compactly."""

    method: str
    path: str  # as sent, not percent-decoded; without the query
    query: str  # after "?", as sent; empty if none
    content_length: int  # bytes; 0 without a body, -1 for a chunked one
    keep_alive: bool
    http_version: str  # "1.0" or "1.1"
    content_type: str  # media type in lower case, without parameters; empty if none
    cookie: str  # "name=value; …", only those named in HttpSettings.cookies; empty if none
    origin: str
    host: str
    authorization: str  # the Authorization header's value; empty if none
    api_key: str  # X-API-Key; empty if none
    last_event_id: str
    upgrade: str  # in lower case: "websocket"; empty if none
    raw: bytes = b""  # the whole head, kept only for those that are never remembered
    digest: bytes = b""

    def cookie_value(self, name: str) -> str | None:
        """The value of one of the kept cookies."""
        raise NotImplementedError

    def header(self, name: str) -> str | None:
        """Any header of a head that was never remembered (upgrades, OPTIONS, authorised)."""
        raise NotImplementedError
