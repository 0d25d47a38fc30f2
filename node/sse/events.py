"""Events as bytes (WHATWG HTML, section 9.2.5): fields on lines, an empty line at the end.

Data is JSON on one line, so one `data` field holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from node.sse.cursors import entry_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pubsub.messages import Entry

_encode = msgspec.json.encode


def messages(entries: Iterable[Entry]) -> bytes:
    """One event a message, without ids: the reader's position comes as `position`."""
    return b"".join([b"data: %b\n\n" % entry.payload for entry in entries])


def numbered(entries: Iterable[Entry]) -> bytes:
    """One event a message, each with the position in the one channel that is read."""
    return b"".join([b"id: %b\ndata: %b\n\n" % (entry_id(e), e.payload) for e in entries])


def array(joined: bytes) -> bytes:
    """One event with a JSON array of Bayeux messages, as Faye sends them."""
    return b"data: [%b]\n\n" % joined


def opening(session: str, address: str, position: bytes, retry: int) -> bytes:
    """The first event: who the reader is, and the wait before it comes back (milliseconds)."""
    data = _encode({"session": session, "address": address})
    return b"retry: %d\nevent: session\nid: %b\ndata: %b\n\n" % (retry, position, data)


def position(cursors: bytes) -> bytes:
    """An event of an id alone: it moves the client's `Last-Event-ID` and is not dispatched."""
    return b"id: %b\n\n" % cursors


def gap(channel: str) -> bytes:
    """Messages of this channel are missing before what comes next."""
    return b"event: gap\ndata: %b\n\n" % _encode({"channel": channel})


def retry_after(milliseconds: int) -> bytes:
    """How long a client is to wait before it comes back."""
    return b"retry: %d\n\n" % milliseconds
