"""What the pubsub engine asks of its driver, besides `dht.effects.Send`."""

from __future__ import annotations

from dht.effects import Effect
from pubsub.feed import Feed
from pubsub.messages import Appended, Failed, Joined, SessionDone


class Answer(Effect, frozen=True):
    """The outcome of a local request (append, join, session operation)."""

    request: int
    result: Appended | Failed | Joined | SessionDone


class Deliver(Effect, frozen=True):
    """`feed` has new contiguous entries (its `last` has moved) for local readers."""

    feed: Feed
    depth: int  # tree links the newest entries crossed to get here (0 at the home)


class Reset(Effect, frozen=True):
    """Readers of `feed` missed entries that nobody holds any more: tell them.

    They go on from `feed.origin`: entries after it may be in the log already.
    """

    feed: Feed


class ReleaseSession(Effect, frozen=True):
    """The home wants this session let go: answer with `PubSubEngine.released`."""

    address: str
    generation: int


class SessionLost(Effect, frozen=True):
    """The home refused this edge's generation: another edge has the session."""

    address: str
