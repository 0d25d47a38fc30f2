"""Where a session or channel is: its home, replicas and edge, its log, its readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dht.ids import slot_of
from node.bayeux.channels import Kind, kind_of
from node.console.picture import Tree, tree
from pubsub.sessions import address_for

if TYPE_CHECKING:
    from dht.ids import NodeId
    from node.cluster.driver import Cluster
    from node.console.messages import Branch
    from node.console.survey import Surveyor

NAMES: tuple[Kind, ...] = (Kind.BROADCAST, Kind.PATTERN)


class NotFindableError(Exception):
    """Nothing can have this name, or there is no ring to ask: the HTTP status, and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Log(msgspec.Struct, frozen=True):
    """A topic's log at its home."""

    epoch: int
    offset: int
    entries: int
    bytes: int


class Found(msgspec.Struct, frozen=True):
    """What is known of a name now."""

    kind: str  # channel, session
    name: str  # a session's is its address, whatever was asked for
    slot: int
    view: int
    home: str
    replicas: tuple[str, ...]  # the home first
    answered: bool  # by the home: without it the rest is not known
    log: Log | None  # None: the home has none
    readers: int
    edge: str  # of a session; empty: none, or it is not known
    transport: str  # by which it is connected there; empty: it is not
    known: bool  # the session exists, or somebody reads or wrote the channel
    subscriptions: int  # of a session; -1: not known
    tree: Tree


def shown_name(given: str) -> str:
    """The channel or address that `given` stands for. Raises NotFindableError."""
    name = given.strip()
    if name.startswith("/"):
        if kind_of(name) in NAMES:
            return name
        raise NotFindableError(400, "not a channel that can be published to or subscribed to")
    address = address_for(name)
    if address is None:
        raise NotFindableError(400, "name a channel (/a/b), or a session by its address or id")
    return address


async def find(cluster: Cluster, surveyor: Surveyor, given: str) -> Found:
    """Ask all for what they have of `given`: channel, address or session id.

    Raises NotFindableError. The id is made into the address at once and goes no further.
    """
    name = shown_name(given)
    placement = cluster.placement
    if placement is None or not placement.view.active:
        raise NotFindableError(503, "no ring yet, retry")
    slot = slot_of(name)
    replicas = placement.replicas(slot)
    nodes = list(dict.fromkeys((*surveyor.members(), *replicas)))
    answers = await surveyor.ask(nodes, (name,))
    branches = {node: branch for node, each in answers.items() for branch in each.branches[:1]}
    home = branches.get(replicas[0])
    is_session = not name.startswith("/")
    edge, transport = _edge(home, branches)
    return Found(
        kind="session" if is_session else "channel",
        name=name,
        slot=slot,
        view=placement.view.number,
        home=replicas[0].hex(),
        replicas=tuple(node.hex() for node in replicas),
        answered=replicas[0] in answers,
        log=_log(home),
        readers=sum(branch.readers for branch in branches.values()),
        edge=edge.hex(),
        transport=transport,
        known=bool(edge) if is_session else bool(branches),
        subscriptions=home.subscriptions if home is not None else -1,
        tree=tree(name, replicas[0], branches),
    )


def _log(home: Branch | None) -> Log | None:
    if home is None or not home.home or not home.epoch:
        return None
    return Log(home.epoch, home.offset, home.entries, home.size)


def _edge(home: Branch | None, branches: dict[NodeId, Branch]) -> tuple[NodeId, str]:
    """A session's edge as its home has it, and how the client is connected there."""
    if home is None or not home.edge:
        return b"", ""
    held = branches.get(home.edge)
    return home.edge, held.transport if held is not None else ""
