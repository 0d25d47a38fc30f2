"""What the rings of two nodes say to each other (tags 1-31).

Nothing here needs an answer to stay correct: what matters is said again every
beat until the view shows it, so a lost message costs time, never agreement.
"""

from __future__ import annotations

import msgspec

from dht.contact import Contact
from dht.ids import WireId
from dht.view import Member, MemberState, View

# -- finding nodes --------------------------------------------------------------


class FindNode(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Which contacts closest to `target` do you know? (Kademlia, section 2.3)."""

    target: WireId


class FoundNodes(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """At most k contacts that the answerer knows, in XOR order from `target`."""

    target: WireId
    contacts: tuple[Contact, ...]


# -- getting in -----------------------------------------------------------------


class Seeking(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A node that is no member: to found a ring together, or to be let into one.

    `keeps_id`: the id was dealt before and kept; otherwise a better one may be
    dealt. `pledge`: the node whose view 1 it would accept, empty for none.
    `known`: the others that it knows to be seeking too.
    """

    member: Member
    keeps_id: bool
    pledge: bytes
    known: tuple[Contact, ...]


class Redirect(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Member -> seeker: there is a ring; `leader` is who lets nodes in."""

    ring: bytes
    leader: Contact


class Admitted(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Leader -> seeker: you are the member `you` of this view.

    `incarnation` is the seeker's own, so that a message to the process that had
    this link's id before is not taken for its successor's.
    """

    you: WireId
    incarnation: int
    view: View


# -- keeping agreement ------------------------------------------------------------


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Every beat, to the nodes that observe the sender."""

    ring: bytes
    number: int
    digest: bytes


class PullView(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Your heartbeat says that you have a better view than mine: send it."""


class ViewNews(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A view, from its leader to all, or from anyone who was asked."""

    view: View


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Leader -> voters of the view before: let this be the next view."""

    view: View


class Assent(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """Voter -> leader: to the view with this digest, and to no other for a while."""

    digest: bytes


class Suspicion(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One member thought dead. `gone`: proven, its address refuses connections."""

    node: WireId
    incarnation: int
    gone: bool


class Accuse(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Observer -> those who may lead: all that I suspect now; replaces what I said before."""

    number: int
    suspicions: tuple[Suspicion, ...]


class Wish(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Member -> leader: list me as `state`."""

    incarnation: int
    state: MemberState


class Left(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """LEAVING member -> leader: everything is handed over, strike me off."""

    incarnation: int


RingMessage = (
    FindNode
    | FoundNodes
    | Seeking
    | Redirect
    | Admitted
    | Heartbeat
    | PullView
    | ViewNews
    | Propose
    | Assent
    | Accuse
    | Wish
    | Left
)
