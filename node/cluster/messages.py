"""What nodes say to each other on behalf of client transports.

A request that lands on a node that is not the session's edge is relayed there
as it came, and held there if it is a poll; the answer comes back the same way.
"""

from __future__ import annotations

import msgspec

from dht.ids import NodeId
from node.console.messages import Survey, SurveyAsk


class Relay(msgspec.Struct, frozen=True, array_like=True, tag=96):
    """A client's request for the session `address`, as received (a JSON body)."""

    request: int
    address: str
    body: bytes
    mark: bytes = b""  # what the client showed of its browser (`node.bayeux.binding`)
    transport: str = "long-polling"  # the label under which deliveries to it are counted
    name: str = ""  # the request's own: what the ids of its messages are made of, at every try
    ack: int = 0  # without a body: the last batch that the client has got (`node.bayeux.acks`)


class Relayed(msgspec.Struct, frozen=True, array_like=True, tag=97):
    """The answer to give: HTTP status and body."""

    request: int
    status: int
    body: bytes


class RelayMiss(msgspec.Struct, frozen=True, array_like=True, tag=98):
    """The receiver is not the edge. `code` says why; `edge` names the edge if known."""

    request: int
    code: str
    edge: NodeId


class RelayCancel(msgspec.Struct, frozen=True, array_like=True, tag=99):
    """The client of this relayed request has gone: do not answer it."""

    request: int


class RelayRelease(msgspec.Struct, frozen=True, array_like=True, tag=100):
    """The node that this request came from is leaving: answer it now, if it is held."""

    request: int


NodeMessage = Relay | Relayed | RelayMiss | RelayCancel | RelayRelease | SurveyAsk | Survey

# -- the link itself (tags 120-127) ------------------------------------------------


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=120, gc=False):
    """Answer with a `Pong` that says the same."""

    sent: float  # the asker's clock, seconds


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=121, gc=False):
    """The answer to a `Ping`."""

    sent: float


class Bye(msgspec.Struct, frozen=True, array_like=True, tag=122, gc=False):
    """The last message on a link that is closed on purpose: do not ask why, or dial again."""

    reason: str


LinkMessage = Ping | Pong | Bye
