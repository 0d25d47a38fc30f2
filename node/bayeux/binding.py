"""What ties a session to the browser that made it, beside its secret id.

A *mark* is what a request shows: a digest of its `BAYEUX_BROWSER` cookie or,
if a page of another origin asks (cookies do not travel there), of that origin.
A session is bound to the mark under which it was made, and keeps only that: a
session id that leaks is of no use in another browser or to another site.

Who shows nothing that a browser would show (a native client without the
cookie) makes a session that is bound to nothing.
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from node.http import Head

COOKIE: Final = "BAYEUX_BROWSER"
NONE: Final = b""
_COOKIE_KIND: Final = b"c"
_ORIGIN_KIND: Final = b"o"
_DIGEST_BYTES: Final = 8  # what it guards can be tried online only, one guess a request
_MAX_COOKIE: Final = 128  # characters of a value; what is longer is none of ours
_SECRET_BYTES: Final = 16  # 128 random bits
MARK_BYTES: Final = 1 + _DIGEST_BYTES  # of a mark that is not empty


def mark_of(head: Head) -> bytes:
    """What the request shows of its browser; empty for nothing."""
    return read_mark(head) if head.mark is None else head.mark


def read_mark(head: Head) -> bytes:
    """The same, from the head's cookie and origin: once for a head that is remembered."""
    if head.foreign:
        return origin_mark(head.page) if head.page else NONE
    if head.cookie:
        value = head.cookie_value(COOKIE)
        if value and len(value) <= _MAX_COOKIE:
            return cookie_mark(value)
    return NONE


def cookie_mark(value: str) -> bytes:
    """The mark of a cookie's value."""
    return _COOKIE_KIND + blake2b(value.encode(), digest_size=_DIGEST_BYTES).digest()


@lru_cache(maxsize=256)
def origin_mark(origin: str) -> bytes:
    """The mark of a foreign page's origin."""
    return _ORIGIN_KIND + blake2b(origin.lower().encode(), digest_size=_DIGEST_BYTES).digest()


def admits(binding: bytes, mark: bytes, *, websocket: bool = False) -> bool:
    """Whether a request with `mark` may use a session bound to `binding`.

    A WebSocket from no foreign page may come without the cookie (stock clients
    send none when they resume); the one that it does send must match.
    """
    if not binding or binding == mark:
        return True
    return websocket and not mark and binding.startswith(_COOKIE_KIND)


def names_something(extra: bytes) -> bool:
    """Whether a mark stands at the beginning of `extra`."""
    return extra[:1] in {_COOKIE_KIND, _ORIGIN_KIND}


def names_browser(binding: bytes) -> bool:
    """Whether sessions with this binding share one browser (an origin has many visitors)."""
    return binding.startswith(_COOKIE_KIND)


def new_cookie(*, secure: bool) -> tuple[bytes, bytes]:
    """A cookie for a browser that has none: its mark, and the header line that sets it."""
    value = secrets.token_urlsafe(_SECRET_BYTES)
    attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
    return cookie_mark(value), f"Set-Cookie: {COOKIE}={value}{attributes}\r\n".encode("ascii")
