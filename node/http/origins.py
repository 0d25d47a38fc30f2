"""Whose pages may talk to this node from a browser: CORS, and `Origin` on WebSockets.

A page of this node's own origin always may. Others may if the setting names
them, or says that all may. The answer names the asking origin and allows
credentials, because stock clients ask with them (`withCredentials`) and a
browser refuses them a mere ``*``. That gives a foreign page nothing of its
visitor's: the only cookie here is SameSite=Lax, so it does not come along, and
a session is named by a secret that the page does not know.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from node.http.responses import error_body, header_lines
from node.origin import ANY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.http.connection import HttpConnection
    from node.http.head import Head

METHODS: Final = "GET, POST, OPTIONS"
_PREFLIGHT: Final = (
    ("Access-Control-Allow-Methods", METHODS),
    ("Access-Control-Max-Age", "86400"),
    ("Allow", METHODS),
)
_HEADERS: Final = (
    "Accept, Authorization, Cache-Control, Content-Type, Last-Event-ID, Pragma, X-Requested-With"
)
_NAMES: Final = re.compile(r"[A-Za-z0-9_, \-]{1,512}")


class Origins:
    """The rule for one listener."""

    def __init__(self, allowed: Sequence[str], refused: Counter[str] | None = None) -> None:
        """`allowed`: as `check_origin` gives them. `refused`: where refusals are counted."""
        self._refused = Counter() if refused is None else refused
        self._any = ANY in allowed
        self._exact = frozenset(origin for origin in allowed if "*" not in origin)
        self._domains = tuple(
            (scheme + "://", host[1:])
            for scheme, _, host in (origin.partition("://") for origin in allowed)
            if host.startswith("*.")
        )

    def allows(self, head: Head) -> bool:
        """Whether the page that asks may; what comes from no page may."""
        return self._any or not head.foreign or self._named(head.page.lower())

    def allows_script(self, head: Head) -> bool:
        """As `allows`, for what a script element asks: no CORS keeps its answer from the page.

        So a browser that does not say which page asks is let in only where all are.
        """
        told = bool(head.page or head.shape.fetch_site)
        return self._any or (self.allows(head) and (told or not head.browser))

    def _named(self, origin: str) -> bool:
        if origin in self._exact:
            return True
        return any(
            origin.startswith(scheme) and origin.endswith(domain)
            for scheme, domain in self._domains
        )

    def admit(self, conn: HttpConnection, head: Head) -> bool:
        """Prepare the answer for the page that asks; False: it has been answered 403."""
        if not head.foreign:
            return True
        if not self.allows(head):
            self.refuse(conn)
            return False
        if head.origin:
            conn.add_headers(_cors_lines(head.origin))
        return True

    def refuse(self, conn: HttpConnection) -> None:
        """Answer 403."""
        self._refused["origin"] += 1
        conn.respond(403, error_body("forbidden", "pages of this origin may not talk to me"))

    def lines(self, head: Head) -> bytes:
        """The header lines with which the page that asks may read an answer; none if it may not."""
        return (
            _cors_lines(head.origin) if head.foreign and head.origin and self.allows(head) else b""
        )

    @staticmethod
    def preflight(conn: HttpConnection, head: Head) -> None:
        """Answer OPTIONS, after `admit`. Pages may send whatever headers they ask for."""
        asked = head.header("access-control-request-headers") or ""
        names = asked if _NAMES.fullmatch(asked) else _HEADERS
        conn.respond(204, b"", headers=(*_PREFLIGHT, ("Access-Control-Allow-Headers", names)))


@lru_cache(maxsize=256)
def _cors_lines(origin: str) -> bytes:
    return header_lines(
        (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            ("Vary", "Origin"),
        )
    )
