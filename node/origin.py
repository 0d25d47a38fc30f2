"""Origins of pages, as settings name them (RFC 6454; ``https://*.example.com`` is ours)."""

from __future__ import annotations

import re
from typing import Final

ANY: Final = "*"
SAME: Final = "same-origin"  # allowed whatever else is
_ORIGIN: Final = re.compile(
    r"https?://(\*\.)?[a-z0-9_.\-]+(:\d{1,5})?|https?://\[[0-9a-f:]+\](:\d{1,5})?"
)


def check_origin(text: str) -> str:
    """A setting's origin (``https://*.example.com`` has subdomains in it) in lower case.

    Raises ValueError for what no browser would send.
    """
    origin = text.strip().lower()
    if origin not in {ANY, SAME} and not _ORIGIN.fullmatch(origin):
        msg = f"{text!r} is no origin: write https://HOST[:PORT], https://*.DOMAIN, * or {SAME}"
        raise ValueError(msg)
    return origin
