"""Where an HTTP response ends, at the price of one `find` and one dict lookup.

Servers repeat their response heads byte for byte, so a head that was parsed
once is only looked up after that.
"""

from __future__ import annotations

from typing import Final

_KNOWN_HEADS: Final = 4_096
_OK: Final = 200
_BUSY: Final = 503
_SWITCHING: Final = 101
_HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_CHUNKED: Final = -1  # instead of a length
HEAD_BYTES: Final = 64 * 1024


class BadResponse(Exception):
    """The peer answered with something other than the 200 (or 101) that it owed."""


class Busy(BadResponse):
    """The peer takes nobody in now (503), and says when to come again: `after` seconds."""

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class ResponseLengths:
    """Measures responses with a Content-Length, or chunked; shared by all clients of a process."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def measure(self, data: bytes) -> int:
        """Bytes of the response that `data` starts with, 0 while its head is incomplete.

        The result may be greater than ``len(data)``: the body has not all come.
        That of a chunked one is 0 until its last chunk has come. Raises `BadResponse` on
        a status other than 200 and 101, or without a length.
        """
        end = data.find(_HEAD_END) + 4
        if end < 4:
            if len(data) > HEAD_BYTES:
                raise BadResponse("endless response head")
            return 0
        head = data[:end]
        known = self._known.get(head)
        if known is None:
            known = _total_length(head, data)
            if len(self._known) >= _KNOWN_HEADS:  # a Date line makes a new head each second
                self._known.clear()
            self._known[head] = known
        if known == _CHUNKED:
            last = data.find(_LAST_CHUNK, end)
            return 0 if last < 0 else last + len(_LAST_CHUNK)
        return known


def _total_length(head: bytes, data: bytes) -> int:
    status = status_of(head)
    if status == _SWITCHING:
        return len(head)
    if status != _OK:
        text = data[:400].decode("latin-1")
        after = dict(headers_of(head)).get("retry-after", "") if status == _BUSY else ""
        raise Busy(text, float(after)) if after.isdecimal() else BadResponse(text)
    for name, value in headers_of(head):
        if name == "content-length":
            return len(head) + int(value)
        if name == "transfer-encoding" and value.lower() == "chunked":
            return _CHUNKED
    raise BadResponse(f"no Content-Length: {head.decode('latin-1')}")


def status_of(head: bytes) -> int:
    """The status code of a response head. Raises `BadResponse` if it has none."""
    try:
        return int(head.split(None, 2)[1])
    except (IndexError, ValueError):
        raise BadResponse(head[:100].decode("latin-1")) from None


def headers_of(head: bytes) -> list[tuple[str, str]]:
    """Name (lower case) and value of each header line."""
    pairs = []
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            pairs.append((name.strip().lower(), value.strip()))
    return pairs


def cookies_of(head: bytes) -> dict[str, str]:
    """The cookies that a response head sets, without their attributes."""
    cookies = {}
    for name, value in headers_of(head):
        if name == "set-cookie":
            key, _, content = value.partition(";")[0].partition("=")
            cookies[key.strip()] = content.strip()
    return cookies


def body_of(response: bytes) -> bytes:
    """The body of one whole response, its chunks joined."""
    head, _, body = response.partition(_HEAD_END)
    if (b"transfer-encoding", b"chunked") not in {
        (name.strip().lower(), value.strip().lower())
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
    }:
        return body
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        parts.append(rest[:length])
        body = rest[length + 2 :] if length else b""
    return b"".join(parts)
