"""Callback-polling: the answer is a script that calls a function of the page (JSON-P).

The page names the function, so what it may name is narrow, and the answer is
made so that nothing but a script element can take it for something else: a
comment first (no other file format begins like that: the "Rosetta Flash"
attack), `nosniff`, and an attachment where somebody opens the address itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from node.http.responses import response

if TYPE_CHECKING:
    from node.http import HttpConnection

DEFAULT_CALLBACK: Final = "jsonpcallback"  # as Bayeux 1.0, section 6.2, and Faye have it
_CALLBACK: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TYPE: Final = "application/javascript;charset=UTF-8"
_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Disposition", "attachment; filename=f.txt"),
    ("Cache-Control", "no-store"),
)
# Line ends in JavaScript before ES2019, but not in JSON; they stand in strings only.
_SEPARATORS: Final = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))


def is_callback(name: str) -> bool:
    """Whether a function may have this name."""
    return _CALLBACK.fullmatch(name) is not None


def script(callback: str, body: bytes) -> bytes:
    """A call of `callback` with the JSON `body`."""
    for separator, escaped in _SEPARATORS:
        if separator in body:
            body = body.replace(separator, escaped)
    return b"/**/%b(%b);" % (callback.encode("ascii"), body)


class CallbackPoll:
    """The sink of one request. Stands where the connection itself does in long-polling."""

    __slots__ = ("_callback", "_conn", "owner")

    transport = "callback-polling"

    def __init__(self, conn: HttpConnection, callback: str) -> None:
        self._conn = conn
        self._callback = callback
        self.owner: object | None = None

    def respond_json(self, body: bytes) -> None:
        self._conn.respond_prebuilt(response(200, script(self._callback, body), _TYPE, _HEADERS))

    def respond(self, status: int, body: bytes) -> None:
        """Answer with another status: the browser tells the page that the script failed."""
        self._conn.respond(status, body)
