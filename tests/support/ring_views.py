"""Views for tests: members without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.ids import random_id
from dht.view import Member, MemberState, View

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from dht.ids import NodeId

RING = b"r" * 16


def member(
    node: NodeId, zone: str = "", state: MemberState = MemberState.ACTIVE, incarnation: int = 1
) -> Member:
    """A member whose addresses are made from its id."""
    name = node.hex()
    return Member(node, incarnation, f"{name}:7400", f"{name}:8080", zone, state)


def view_of(members: Iterable[Member], number: int = 1) -> View:
    """A view of these members."""
    ordered = tuple(sorted(members, key=lambda each: each.id))
    return View(number, RING, ordered)


def random_view(rng: Random, count: int, zones: int = 1) -> View:
    """A view of `count` ACTIVE members with random ids, spread over `zones`."""
    return view_of(member(random_id(rng), f"zone-{rng.randrange(zones)}") for _ in range(count))
