"""What nodes tell each other for a console: a question, and what one node sees.

All of it is bounded by whoever writes it, and cut again by whoever reads it.
Names are channels and addresses; ids of sessions do not travel.
"""

from __future__ import annotations

from typing import Final

import msgspec

from dht.ids import NodeId

MAX_NAMES: Final = 12
"""Names in one question."""
MAX_CHANNELS: Final = 12
"""Channels that a node tells of as its busiest."""
MAX_NAME: Final = 200
"""Characters; a longer name is left out."""
MAX_CHILDREN: Final = 64
"""Children that are named; `Branch.width` counts them all."""


class Busy(msgspec.Struct, frozen=True, array_like=True):
    """A channel that is busy on one node."""

    channel: str
    published: float  # messages a second, accepted there
    due: float  # messages a second, times readers there
    readers: int


class Publishes(msgspec.Struct, frozen=True, array_like=True):
    """What one node accepted for a topic since it was last looked at."""

    topic: str  # a channel or an address
    times: int


class Pulse(msgspec.Struct, frozen=True):
    """One node in numbers. Rates are over the time since the look before; 0 at the first."""

    view: int
    ready: bool
    draining: bool
    leased: bool
    frozen: bool
    sessions: int
    connections: dict[str, int]  # by transport
    polls: int  # held
    published: float  # messages a second
    delivered: float  # messages a second, to clients
    lag: float  # seconds, the worst of late
    cpu: float  # of one core
    memory: int  # bytes, resident
    log: int  # bytes of payload
    topics: int
    feeds: int
    records: int  # sessions whose home it is
    children: int  # in all trees
    slots: int  # open ones that it is home to
    gaps: int  # told to readers, total
    lossy: int  # takeovers that lost something, total


class Figures(Pulse, frozen=True, array_like=True):
    """What a node tells of itself: its pulse, which pages are shown, and what they are made of."""

    look: int  # numbers the node's looks at itself: the same one may be told twice
    suspected: tuple[NodeId, ...]
    busiest: tuple[Busy, ...]
    publishes: tuple[Publishes, ...]  # a sample


class Branch(msgspec.Struct, frozen=True, array_like=True):
    """What one node has of one topic: a place in its tree, its log, or its session."""

    topic: str
    parent: NodeId  # empty: none
    children: tuple[NodeId, ...]
    width: int  # how many children there are
    depth: int  # links to the root
    readers: int  # sessions here that read it
    home: bool  # this node serves it: the position is the log's
    epoch: int
    offset: int
    entries: int
    size: int  # bytes of payload in the log
    edge: NodeId  # of a session, as its home has it; empty: none
    subscriptions: int  # of a session, as its home has them; -1: not known here
    transport: str  # by which a session is connected here; empty: it is not


class SurveyAsk(msgspec.Struct, frozen=True, array_like=True, tag=110):
    """Answer with a `Survey`: figures, if `figures`, and what there is of the `names`."""

    request: int
    figures: bool
    names: tuple[str, ...]


class Survey(msgspec.Struct, frozen=True, array_like=True, tag=111):
    """The answer to a `SurveyAsk`."""

    request: int
    figures: Figures | None
    branches: tuple[Branch, ...]
