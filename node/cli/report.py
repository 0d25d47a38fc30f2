"""What a node's ops listener says of the ring, read back into the shapes of `dht`."""

from __future__ import annotations

import msgspec

from dht.view import Member, MemberState, View
from node.cli.errors import OperationFailed
from node.cli.web import Reply, fetch
from node.cluster.recovery import Situation


class MemberReport(msgspec.Struct, frozen=True):
    """One member, as ``/ring`` lists it."""

    id: str  # hex
    state: str  # joining, active, leaving
    client: str
    peer: str
    share: float = 0.0  # of the slots it is home to, in [0, 1]
    zone: str = ""
    incarnation: int = 0

    def member(self) -> Member:
        """The member of the view that this line describes; raises ValueError, KeyError."""
        return Member(
            id=bytes.fromhex(self.id),
            incarnation=self.incarnation,
            peer=self.peer,
            client=self.client,
            zone=self.zone,
            state=MemberState[self.state.upper()],
        )


class AccusedReport(msgspec.Struct, frozen=True):
    """A member that others think dead."""

    node: str  # hex
    by: tuple[str, ...]  # hex


class LinkReport(msgspec.Struct, frozen=True):
    """An open link of the node that was asked."""

    node: str  # hex
    rtt: float | None = None  # seconds; None before it is known


class RingReport(msgspec.Struct, frozen=True):
    """The ring, as one node sees it."""

    view: int
    members: tuple[MemberReport, ...]
    ring: str = ""  # hex
    digest: str = ""  # hex
    node: str = ""  # hex: the node that was asked
    incarnation: int = 0  # of that node
    suspected: tuple[str, ...] = ()  # hex
    accused: tuple[AccusedReport, ...] = ()
    leader: str | None = None
    voters: tuple[str, ...] = ()
    missing_voters: tuple[str, ...] = ()
    leased: bool = True
    frozen: bool = False
    foreign: tuple[str, ...] = ()  # ids of other rings
    heard: int = 0
    behind: tuple[str, ...] = ()
    balance: float = 0.0
    links: tuple[LinkReport, ...] = ()

    def to_view(self) -> View:
        """The view itself, of which placement is a pure function; raises OperationFailed."""
        try:
            members = tuple(sorted((m.member() for m in self.members), key=lambda m: m.id))
        except (ValueError, KeyError) as error:
            msg = f"the node's answer makes no sense ({error}): is it another version?"
            raise OperationFailed(msg) from None
        return View(self.view, bytes.fromhex(self.ring), members)


class WaitingReport(msgspec.Struct, frozen=True):
    """What a node without a view says of itself."""

    node: str = ""
    incarnation: int = 0
    waits_for: str = ""  # hex: a ring that it remembers


_decode_waiting = msgspec.json.Decoder(WaitingReport).decode
_decode = msgspec.json.Decoder(RingReport).decode


def _read_waiting(reply: Reply) -> WaitingReport:
    try:
        return _decode_waiting(reply.body)
    except msgspec.DecodeError:
        return WaitingReport()


def fetch_situation(ops_url: str, timeout: float = 10.0) -> tuple[Situation, RingReport | None]:
    """What a proof for ``ring recover`` is bound to, and the ring where there is one."""
    reply = fetch(ops_url, "/ring", timeout=timeout)
    if reply.status == 503:
        waiting = _read_waiting(reply)
        return Situation(waiting.node, waiting.incarnation, waiting.waits_for, 0, ""), None
    ring = _read_ring(reply, ops_url)
    return Situation(ring.node, ring.incarnation, ring.ring, ring.view, ring.digest), ring


def fetch_ring(ops_url: str, timeout: float = 10.0) -> RingReport:
    """Ask a node for its ring. Raises OperationFailed: nobody there, or not in a ring yet."""
    return _read_ring(fetch(ops_url, "/ring", timeout=timeout), ops_url)


def _read_ring(reply: Reply, ops_url: str) -> RingReport:
    if reply.status != 200:
        waits_for = _read_waiting(reply).waits_for
        if waits_for:
            msg = (
                f"the node at {ops_url} waits for the voters of ring {waits_for[:8]}, which it"
                " remembers: start the other nodes, or, if they are lost, 'cometring ring recover'"
            )
            raise OperationFailed(msg)
        msg = f"the node at {ops_url} is in no ring yet (status {reply.status}): try again"
        raise OperationFailed(msg)
    try:
        return _decode(reply.body)
    except msgspec.DecodeError:
        msg = f"{ops_url}/ring is not what a cometring node answers: is that its ops listener?"
        raise OperationFailed(msg) from None
