"""What the rings of two nodes say to each other (tags 1-31).

Nothing here needs an answer to stay correct: what matters is said again every
beat until the view shows it, so a lost message costs time, never agreement.
"""

from __future__ import annotations

import msgspec

from dht.ballots import Ballot, Electorate
from dht.contact import Contact
from dht.delta import Delta
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
    `known`: the others that it knows to be seeking too. `remembers`: the latest
    decision that it would have a vote on, or knows of, from an earlier life.
    """

    member: Member
    keeps_id: bool
    pledge: bytes
    known: tuple[Contact, ...]
    remembers: Electorate | None = None


class Redirect(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Member -> seeker: there is a ring, on view `number`; `leader` is who lets nodes in."""

    ring: bytes
    number: int
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
    """Every beat, to the nodes that observe the sender and to the voters.

    `sent`: the sender's clock, seconds; a `Lease` or `Vouches` says it again. `deaf`: the
    sender has not heard the receiver of late, so this is no sign of its health.
    `asks`: it wants to be told who vouches for it (`dht.relay`).
    """

    ring: bytes
    number: int
    digest: bytes
    sent: float
    deaf: bool = False
    asks: bool = False


class Lease(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Voter -> member: I strike you off no sooner than a lease after your heartbeat `sent`."""

    number: int
    sent: float


class Vouch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A voter strikes no member off before a lease after this, but for the `barred`.

    `age`: seconds between its word and the moment when the question was received.
    """

    voter: WireId
    age: float
    barred: tuple[WireId, ...]


class Vouches(msgspec.Struct, frozen=True, array_like=True, tag=19):
    """Parent or voter -> member: what I know of the voters, as of your heartbeat `sent`."""

    number: int
    sent: float
    vouches: tuple[Vouch, ...]


class PullView(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Your heartbeat says that you have a better view than mine, `number`: send it."""

    number: int
    digest: bytes


class ViewNews(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A whole view, for who cannot be told the difference."""

    view: View


class ViewDeltas(msgspec.Struct, frozen=True, array_like=True, tag=17):
    """What leads from the receiver's view to the sender's, step by step.

    `depth`: the receiver passes the last on to the members that share at least so many
    leading bits with it (`dht.spread`); to nobody where it is `ID_BITS`.
    """

    deltas: tuple[Delta, ...]
    depth: int


# -- voting: see `dht.voting` -----------------------------------------------------


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Proposer -> voter, phase 1: promise me `ballot`."""

    electorate: Electorate
    ballot: Ballot


class Promise(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """Voter -> proposer: nothing below `ballot` from now on; I have `accepted` this before."""

    number: int
    ballot: Ballot
    accepted: Ballot
    delta: Delta | None


class Accept(msgspec.Struct, frozen=True, array_like=True, tag=14):
    """Proposer -> voter, phase 2: let `delta` lead to the next view."""

    electorate: Electorate
    ballot: Ballot
    delta: Delta


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """Voter -> proposer: I have accepted what you asked me to under `ballot`."""

    number: int
    ballot: Ballot


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """Voter -> proposer: not `ballot`, I have promised a greater one."""

    number: int
    ballot: Ballot
    promised: Ballot


# -- keeping watch ------------------------------------------------------------------


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
    | Lease
    | Vouches
    | PullView
    | ViewNews
    | ViewDeltas
    | Prepare
    | Promise
    | Accept
    | Accepted
    | Refused
    | Accuse
    | Wish
    | Left
)
