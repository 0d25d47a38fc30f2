"""What the record of a session keeps for its edge: the mark of its browser, and its traits.

Both travel with the session when it moves (`Record.extra`, opaque to the home).
A trait is a letter that the handshake gave the session for life.
"""

from __future__ import annotations

from typing import Final

from node.bayeux.binding import MARK_BYTES, names_something

ACKNOWLEDGES: Final = "A"  # its client says what it has got: `node.bayeux.acks`


def pack(binding: bytes, traits: str) -> bytes:
    """One string of both, empty where there is neither."""
    return binding + traits.encode("ascii")


def unpack(extra: bytes) -> tuple[bytes, str]:
    """The mark and the traits of `pack`."""
    size = MARK_BYTES if names_something(extra) else 0
    return extra[:size], extra[size:].decode("ascii", "replace")
