"""The demo page: a chat that shows what a cluster does, served from memory.

The page is our own: plain JavaScript modules, one stylesheet, no foreign code
and nothing fetched from elsewhere. Its files are read once, and only the paths
named here exist; a request path is looked up, never joined to a directory.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from node.static_files import load

_MODULES: Final = (
    "app.js",
    "bayeux.js",
    "composer.js",
    "direct.js",
    "messages.js",
    "ring.js",
    "rooms.js",
    "transports.js",
)
_FILES: Final = {
    "/": "index.html",
    "/demo/base.css": "base.css",
    "/demo/page.css": "page.css",
    "/demo/favicon.svg": "favicon.svg",
    "/favicon.ico": "favicon.svg",  # what a browser asks for unbidden
    **{f"/demo/{name}": name for name in _MODULES},
}


@cache
def _assets() -> dict[str, tuple[str, bytes]]:
    return load({path: (__name__, name) for path, name in _FILES.items()})


def asset(path: str) -> tuple[str, bytes] | None:
    """Content type and bytes of what stands at `path` (no query), or None if nothing does."""
    return _assets().get(path)
