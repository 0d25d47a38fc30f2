"""What an engine asks of its driver. Effects are data; the driver performs them in order."""

from __future__ import annotations

import msgspec

from dht.ids import NodeId  # noqa: TC001
from dht.view import View  # noqa: TC001


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Base of all effects."""


class Send(Effect, frozen=True):
    """Send `message` over the link to `to`, opening one if the view knows its address."""

    to: NodeId
    message: msgspec.Struct


class Dial(Effect, frozen=True):
    """Open a link to a bare HOST:PORT (a seed, or a contact's address).

    The driver reports ``link_opened`` or ``dial_failed``.
    """

    address: str


class Hangup(Effect, frozen=True):
    """Close the link to `node`; nothing more is to be said to it."""

    node: NodeId


class ViewInstalled(Effect, frozen=True):
    """The engine is now on `view`; everything derived from the old one is stale."""

    view: View


class Departed(Effect, frozen=True):
    """The ring no longer lists this node: the process may stop."""
