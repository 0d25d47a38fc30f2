"""Event ids: where a reader stands, in a form that it hands back as `Last-Event-ID`.

    5:1207                          in the one channel of the request
    tag.secret 5:1207 5:88          in each channel, in the order of the request,
                                    and the session that the reader has

The short form is the same for all readers of a channel, so that they share
bytes. The long one is a secret of its reader, as its session id is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pubsub.messages import Cursor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pubsub.messages import Entry

_CURSOR: Final = re.compile(r"(\d{1,15}):(\d{1,15})")


class Position(msgspec.Struct, frozen=True):
    """What an event id says."""

    session: str = ""  # empty: none named
    cursors: tuple[Cursor, ...] = ()  # one a channel of the request; empty: from now on


def entry_id(entry: Entry) -> bytes:
    """The id of a message in the one channel that is read."""
    return b"%d:%d" % (entry.epoch, entry.offset)


def position_id(session: str, channels: Sequence[str], cursors: Mapping[str, Cursor]) -> bytes:
    """The id that says where `session` stands in all its channels."""
    stands = [cursors.get(channel, _NOWHERE) for channel in channels]
    return " ".join((session, *(f"{c.epoch}:{c.offset}" for c in stands))).encode()


def parse_id(text: str, channels: int) -> Position:
    """Read a `Last-Event-ID` back. What is not one of ours says nothing."""
    words = text.split(" ")
    session = "" if ":" in words[0] else words.pop(0)
    cursors = []
    for word in words:
        found = _CURSOR.fullmatch(word)
        if found is None:
            return Position(session)
        cursors.append(Cursor(int(found[1]), int(found[2])))
    if len(cursors) != channels:  # another request's id: its order is not this one's
        return Position(session)
    return Position(session, tuple(cursors))


_NOWHERE: Final = Cursor(0, 0)
