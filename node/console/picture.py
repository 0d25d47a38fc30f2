"""What a console is sent: the ring when it has changed, and a pulse every second.

JSON; ids are hex, rates are a second's, sizes are bytes, times are seconds.
Only names and addresses are in it, nothing that is secret.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from dht.ids import SLOTS
from node.console.messages import MAX_CHANNELS, MAX_NAME, MAX_NAMES, Pulse
from node.ops_pages import MemberLine, member_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dht.ids import NodeId
    from dht.placement import Placement
    from node.cluster.status import ClusterStatus
    from node.console.messages import Branch, Figures, Survey

MAX_PUBLISHES = 24
"""Publishes of one pulse that can be drawn."""


class Member(MemberLine, frozen=True):
    """One member, as the view has it."""

    voter: bool
    leader: bool


class RingPicture(msgspec.Struct, frozen=True):
    """What changes with the view."""

    node: str  # whose console this is
    ring: str
    view: int  # 0: none yet
    digest: str
    slots: int
    flat: bool  # homes send to all readers' nodes themselves
    members: tuple[Member, ...]
    arcs: tuple[tuple[int, int], ...]  # (first slot, index of its home in `members`), ascending


class Channel(msgspec.Struct, frozen=True):
    """A busy channel, over all members asked."""

    name: str
    published: float
    due: float
    readers: int
    nodes: int  # that have readers or publishers of it


class Twig(msgspec.Struct, frozen=True):
    """A member's place in a tree."""

    node: str
    parent: str  # empty: the root
    readers: int
    depth: int


class Tree(msgspec.Struct, frozen=True):
    """Where entries of a topic go: from `home` to every member in `twigs`."""

    topic: str
    home: str
    twigs: tuple[Twig, ...]


class Publish(msgspec.Struct, frozen=True):
    """Accepted by one member since the pulse before."""

    topic: str
    by: str
    times: int


class PulsePicture(msgspec.Struct, frozen=True):
    """One second."""

    at: float  # unix time
    view: int
    ready: bool
    draining: bool
    leased: bool
    frozen: bool
    asked: int
    foreign: int  # other rings that this node has met of late
    suspected: dict[str, tuple[str, ...]]  # who, and by whom
    behind: tuple[str, ...]
    rtt: dict[str, float]  # of this node's links
    members: dict[str, Pulse | None]  # a member that has not answered has none
    channels: tuple[Channel, ...]
    publishes: tuple[Publish, ...]
    trees: tuple[Tree, ...]


def ring_picture(status: ClusterStatus) -> RingPicture:
    """The ring as `status` has it."""
    ring, placement = status.ring, status.placement
    if ring is None or placement is None:
        return RingPicture(status.me.hex(), "", 0, "", SLOTS, flat=True, members=(), arcs=())
    members = tuple(
        Member(
            **msgspec.structs.asdict(member_line(member, placement)),
            voter=member.id in ring.voters,
            leader=member.id == ring.leader,
        )
        for member in placement.view.members
    )
    return RingPicture(
        node=status.me.hex(),
        ring=ring.ring.hex(),
        view=placement.view.number,
        digest=placement.view.digest.hex(),
        slots=SLOTS,
        flat=len(placement.view.active) <= placement.flat_limit,
        members=members,
        arcs=arcs(placement),
    )


def arcs(placement: Placement) -> tuple[tuple[int, int], ...]:
    """Runs of slots with one home: (first slot, index of the home in the view's members)."""
    if not placement.view.active:
        return ()
    index = {member.id: at for at, member in enumerate(placement.view.members)}
    runs: list[tuple[int, int]] = []
    for slot in range(SLOTS):
        at = index[placement.home(slot)]
        if not runs or runs[-1][1] != at:
            runs.append((slot, at))
    return tuple(runs)


def pulse_picture(
    status: ClusterStatus,
    at: float,
    asked: Iterable[NodeId],
    answers: Mapping[NodeId, Survey],
    publishes: tuple[Publish, ...],
    trees: tuple[Tree, ...],
) -> PulsePicture:
    """The pulse of `at` (unix time)."""
    ring = status.ring
    nodes = tuple(asked)
    return PulsePicture(
        at=at,
        view=ring.number if ring else 0,
        ready=status.ready,
        draining=status.draining,
        leased=ring is not None and ring.leased,
        frozen=ring is not None and ring.frozen,
        asked=len(nodes),
        foreign=len(ring.health.foreign) if ring else 0,
        suspected=_suspected(status, answers),
        behind=tuple(node.hex() for node in ring.behind) if ring else (),
        rtt={
            link.node.hex(): link.rtt for link in status.links if link.rtt and link.node in answers
        },
        members={node.hex(): _pulse(answers.get(node)) for node in nodes},
        channels=channels(answers),
        publishes=publishes,
        trees=trees,
    )


def _pulse(answer: Survey | None) -> Pulse | None:
    figures = answer.figures if answer is not None else None
    return msgspec.convert(figures, Pulse | None, from_attributes=True)


def _suspected(
    status: ClusterStatus, answers: Mapping[NodeId, Survey]
) -> dict[str, tuple[str, ...]]:
    found: dict[NodeId, set[NodeId]] = defaultdict(set)
    for node, answer in answers.items():
        for suspect in answer.figures.suspected if answer.figures else ():
            found[suspect].add(node)
    for suspect, by in status.ring.accused if status.ring else ():
        found[suspect].update(by)
    return {
        suspect.hex(): tuple(sorted(node.hex() for node in by)) for suspect, by in found.items()
    }


def channels(answers: Mapping[NodeId, Survey]) -> tuple[Channel, ...]:
    """The busiest channels over all that have answered."""
    merged: dict[str, list[float]] = {}
    for answer in answers.values():
        for busy in answer.figures.busiest[:MAX_CHANNELS] if answer.figures else ():
            if len(busy.channel) <= MAX_NAME:
                sums = merged.setdefault(busy.channel, [0.0, 0.0, 0, 0])
                for place, value in enumerate((busy.published, busy.due, busy.readers, 1)):
                    sums[place] += value
    found = nlargest(MAX_CHANNELS, merged, key=lambda name: (merged[name][:2], name))
    return tuple(
        Channel(name, round(sums[0], 2), round(sums[1], 2), int(sums[2]), int(sums[3]))
        for name in found
        for sums in (merged[name],)
    )


def publishes(fresh: Mapping[NodeId, Figures]) -> tuple[Publish, ...]:
    """A sample of what nodes have accepted: by turns, so that a busy node hides no other."""
    lists = [
        [Publish(each.topic, node.hex(), each.times) for each in figures.publishes]
        for node, figures in fresh.items()
    ]
    longest = max(map(len, lists), default=0)
    turns = (own[turn] for turn in range(longest) for own in lists if turn < len(own))
    shown = (each for each in turns if len(each.topic) <= MAX_NAME)
    return tuple(islice(shown, MAX_PUBLISHES))


def names(found: Iterable[Publish], busy: Iterable[Channel]) -> tuple[str, ...]:
    """The topics whose trees are worth asking for."""
    wanted = dict.fromkeys([*(each.topic for each in found), *(each.name for each in busy)])
    return tuple(islice(wanted, MAX_NAMES))


def tree(topic: str, home: NodeId, branches: Mapping[NodeId, Branch]) -> Tree:
    """The tree of `topic` from what its members have of it.

    An inbox has one reader, the session's edge, of which its home knows.
    """
    root = branches.get(home)
    if not topic.startswith("/"):
        edge = root.edge if root is not None else b""
        readers = [Twig(edge.hex(), home.hex(), 1, 1)] if edge and edge != home else []
        return Tree(topic, home.hex(), (Twig(home.hex(), "", int(edge == home), 0), *readers))
    twigs = tuple(
        Twig(node.hex(), branch.parent.hex(), branch.readers, branch.depth)
        for node, branch in branches.items()
        if branch.readers or branch.width or node == home
    )
    return Tree(topic, home.hex(), twigs)
