"""One link for each pair of nodes: the rules, as pure state.

Two nodes may dial each other at once, or meet under several addresses. Who
decides is the dialler of a connection, for it is the one that confirms it: it
does unless there is a link already, or the other side, having the smaller id,
has dialled too and will confirm its own. Messages travel on confirmed links
only, so nothing is lost when one of two connections is given up.

An acceptor that knows of an open link answers DUPLICATE; a dialler that knows
of none (its half has died) then dials again and asks to replace it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from node.cluster.greetings import Verdict

if TYPE_CHECKING:
    from dht.ids import NodeId
    from node.cluster.greetings import Introduction


class Decision(Enum):
    """What a dialler does with a connection whose acceptor it now knows."""

    CONFIRM = auto()
    KEEP = auto()
    """There is a link already: drop this connection."""
    YIELD = auto()
    """The acceptor's own connection to us will be confirmed: drop this one, wait for it."""
    REPLACE = auto()
    """Dial again, and say that the link that the acceptor believes in is dead."""
    MYSELF = auto()
    SAME_ID = auto()


class _Linked(Protocol):
    @property
    def incarnation(self) -> int: ...


L = TypeVar("L", bound=_Linked)


class Pairing(Generic[L]):
    """The open links of the node `me`, and the connections it has offered to others."""

    def __init__(self, me: Introduction) -> None:
        self.me = me
        self.links: dict[NodeId, L] = {}
        self._offers: dict[NodeId, int] = {}

    def judge(self, dialler: Introduction) -> Verdict:
        """As acceptor: may `dialler` confirm? If so it has an offer until `withdraw`."""
        if dialler.id == self.me.id:
            same = dialler.incarnation == self.me.incarnation
            return Verdict.MYSELF if same else Verdict.SAME_ID
        link = self.links.get(dialler.id)
        if link is not None and dialler.incarnation < link.incarnation:
            return Verdict.SAME_ID
        if link is not None and dialler.incarnation == link.incarnation and not dialler.replace:
            return Verdict.DUPLICATE
        self._offers[dialler.id] = self._offers.get(dialler.id, 0) + 1
        return Verdict.ACCEPTED

    def withdraw(self, node: NodeId) -> None:
        """An offer to `node` was confirmed, or its connection is gone."""
        left = self._offers[node] - 1
        if left:
            self._offers[node] = left
        else:
            del self._offers[node]

    def decide(self, acceptor: Introduction) -> Decision:
        """As dialler: `acceptor` has answered, with its verdict on us."""
        if acceptor.id == self.me.id:
            same = acceptor.incarnation == self.me.incarnation
            return Decision.MYSELF if same else Decision.SAME_ID
        if acceptor.verdict in {Verdict.SAME_ID, Verdict.MYSELF}:
            return Decision.SAME_ID
        link = self.links.get(acceptor.id)
        if link is not None and link.incarnation >= acceptor.incarnation:
            return Decision.KEEP
        offered = acceptor.id in self._offers
        if acceptor.verdict is Verdict.DUPLICATE:
            return Decision.YIELD if offered else Decision.REPLACE
        return Decision.YIELD if offered and acceptor.id < self.me.id else Decision.CONFIRM
