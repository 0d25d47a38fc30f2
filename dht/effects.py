"""What an engine asks of its driver. Effects are data; the driver performs them in order."""

from __future__ import annotations

import msgspec

from dht.ballots import Memory
from dht.ids import NodeId
from dht.view import View


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Base of all effects."""


class Send(Effect, frozen=True):
    """Send `message` over the link to `to`, opening one if the view knows its address.

    `to` may be a node that no view lists yet (a seeker, known by the id of its
    hello): then an open link is used, and without one the message is dropped.
    A message that cannot be sent is dropped; the ring says again what matters.
    If whoever answers at the address is not `to`, the message is dropped too,
    and the link is reported under the id that the answerer presents.
    """

    to: NodeId
    message: msgspec.Struct


class Dial(Effect, frozen=True):
    """Open a link to a bare HOST:PORT (a seed, or a contact's address).

    The driver reports ``link_opened`` (with this address) or ``dial_failed``,
    within some seconds. A seed's name may resolve to many addresses: each gets
    a try. If the answerer is this very process, the driver closes the link and
    reports ``link_opened`` under our own id. If there is a link to the answerer
    already, the driver keeps one of the two and reports ``link_opened`` again.
    """

    address: str


class Hangup(Effect, frozen=True):
    """Close the link to `node`; nothing more is to be said to it."""

    node: NodeId


class IdentityDealt(Effect, frozen=True):
    """From now on this node is `id`; ``RingEngine.me`` says so already.

    Ids are dealt by the ring, so a node that starts without one introduces
    itself under a random id first. On this effect the driver, before it
    performs the next one:

    1. keeps the id for the ``Keep`` that follows, if there is a state directory;
    2. uses the id in every hello from now on, dialled or accepted;
    3. closes every link (peers know them by the old id) without reporting
       ``link_closed``: the engine has forgotten them. Links open again as
       messages are sent to members.

    It comes at most once in the life of a process, before the first
    ``ViewInstalled``; engines above should be built on that first view.
    """

    id: NodeId


class Keep(Effect, frozen=True):
    """Write `memory` to the state directory, so that it survives a power cut.

    Then call ``RingEngine.kept(serial)``: what this node has promised as a voter
    is said only then. Later ones replace earlier ones; they may be skipped, but
    never written in another order. If it cannot be written, call nothing: this
    node does not vote then. It comes only where the engine was made `durable`.

    With `first` it is about a ring that the process is new to: it is written, and
    the id with it, before the next effect is performed.
    """

    serial: int
    memory: Memory
    first: bool = False


class ViewInstalled(Effect, frozen=True):
    """The engine is now on `view`; everything derived from the old one is stale."""

    view: View


class Departed(Effect, frozen=True):
    """The ring no longer lists this node: the process may stop."""
