"""What is refused before h11 sees it, because two parsers could read it in two ways.

h11 is lenient where RFC 9112 lets a recipient be (bare LF, line folding,
repeated equal lengths). A proxy before us may read the same bytes differently,
and that difference is what request smuggling lives on (RFC 9112 section 11.2).
"""

from __future__ import annotations

import re
from typing import Final

from node.errors import RemoteProtocolError

MAX_FIELDS: Final = 100  # header lines; more is a flood
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*\r\n")
_DIGITS: Final = re.compile(rb"[0-9]{1,15}")


def check_lines(data: bytes) -> None:
    """Refuse control characters, and line ends that are not CRLF.

    `data` may be a part of a head. Raises RemoteProtocolError.
    """
    ends = data.count(b"\r\n")
    returns = data.count(b"\r")
    if data.endswith(b"\r"):
        returns -= 1  # its line feed may be on the way
    if data.count(b"\n") != ends or returns != ends:
        raise RemoteProtocolError("lines must end in CRLF")
    if _CONTROL.search(data):
        raise RemoteProtocolError("control character in a request head")


def check_part(data: bytes, limit: int) -> None:
    """Refuse the beginning of a head, if it can be seen already that it will be refused.

    Raises RemoteProtocolError: 400, or 431 if there are more than `limit` bytes.
    """
    check_lines(data[:limit])
    if len(data) > limit:
        raise RemoteProtocolError("the request head is too large", 431, "too_large")


def check_head(head: bytes) -> None:
    """Refuse a whole head (with its empty line) that could be read in two ways.

    Raises RemoteProtocolError: 400, or 431 for too many header lines.
    """
    check_lines(head)
    if b"\r\n " in head or b"\r\n\t" in head:
        raise RemoteProtocolError("folded header line")
    if head.count(b"\r\n") > MAX_FIELDS + 2:
        raise RemoteProtocolError("too many header lines", 431, "too_large")
    lower = head.lower()
    lengths = lower.count(b"\r\ncontent-length:")
    if lengths:
        if lengths > 1:
            raise RemoteProtocolError("more than one Content-Length")
        if b"\r\ntransfer-encoding:" in lower:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
        length = _LENGTH.search(lower)
        if length is None or not _DIGITS.fullmatch(length[1]):
            raise RemoteProtocolError("Content-Length is not a number")
    elif b"\r\ntransfer-encoding:" in lower and b" http/1.0\r\n" in lower:
        raise RemoteProtocolError("Transfer-Encoding in HTTP/1.0")
