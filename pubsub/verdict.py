"""What a new home makes of what everybody claims to have of a slot: a pure function.

A reign that has begun has each of its changes on all its holders, so any copy
of the latest reign will do. The question is which reign was the latest:

- A reign begins only when all its holders have installed it, and when all
  living holders of the one before were sealed for it. So a holder of reign e
  that has lived on since, and was sealed for nothing later, proves that nothing
  later began.
- If it was sealed for view u, any of those who were to hold the slot in u and
  lives proves by its claim whether u's reign can have begun: without the copy
  it has not, and now that it is sealed it never will.
- If none of those lives, that reign may have begun, and others after it: changes
  may be lost. They may be with whoever was to hold the slot in any view since,
  and lives without being a member: struck off, on the other side of a cut. Such
  are known from the views that somebody knows. Where nobody knows all of them
  (all members may have come later), anybody may have the copy: the slot waits.

How far back views have to be known: to the best copy's reign, or by as much time
as a slot waits for copies, or to the ring's beginning. A reign that nobody has
served in for so long has been waited for.

Source: the reconfiguration of Vertical Paxos (Lamport, Malkhi, Zhou, 2009), with
the chain of configurations kept by the holders themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dht.ids import NodeId
    from pubsub.slot_messages import Claim, Holders, Pledge


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do. One of `wait_for` and `settled`."""

    wait_for: tuple[NodeId, ...] = ()
    """These live, and have to be sealed first."""
    settled: bool = False
    source: NodeId | None = None
    """Whose copy to go on from; None: nobody has one."""
    gone: Holders = ()
    """Changes may be with these alone, who are not there any more: then something may be lost."""
    doubtful: bool = False
    """... whoever they were."""
    unknown: bool = False
    """Nobody can say who they were."""


def weigh(
    view: int, claims: Mapping[NodeId, Claim], alive: Mapping[NodeId, int], me: NodeId
) -> Verdict:
    """What the home `me` of a slot in `view` can do with these claims.

    `alive`: the members of the present view, with their incarnations.
    """
    best = max(claim.epoch for claim in claims.values())
    if not best:
        return _without_copy(view, claims, alive)
    with_copy = {node: claim for node, claim in claims.items() if claim.epoch == best}
    holders = next(iter(with_copy.values())).holders
    silent = tuple(n for n, i in holders if alive.get(n) == i and n not in claims)
    if silent:
        return Verdict(wait_for=silent)
    # Of equal copies the first holder's: it has topics that others lack.
    ranks = {node: rank for rank, (node, _) in enumerate(holders)}
    source = min(with_copy, key=lambda n: (-with_copy[n].seq, ranks.get(n, len(ranks)), n != me, n))
    later = [p for claim in claims.values() for p in claim.pledges if best < p[0] < view]
    witnesses, unproven = _weigh_later(later, claims, alive)
    if witnesses:
        return Verdict(wait_for=witnesses)
    is_steady = any((node, alive.get(node)) in holders for node in with_copy)
    if is_steady and not unproven:
        return Verdict(settled=True, source=source)
    # Others may have gone on without these copies: of processes that were struck off
    # meanwhile, or that took no part in what came after the reign that they were sealed for.
    waiting = _silent(claims, alive)
    if waiting:
        return Verdict(wait_for=waiting)
    later += [p for claim in claims.values() for p in claim.seen if best < p[0] < view]
    _, unproven = _weigh_later(later, claims, alive)
    # (None is what it was: who tells of no end does not know yet that it was struck off.)
    last = best if unproven else max(claim.until or best for claim in with_copy.values())
    is_covered = any(claim.since <= last + 1 for claim in claims.values())
    return Verdict(
        settled=True,
        source=source,
        gone=tuple(dict.fromkeys(holder for pledged in unproven for holder in pledged)),
        doubtful=bool(unproven) or not is_covered,
        # What a reign of these copies was followed by may have been served by one that is back.
        unknown=not is_covered
        and not (unproven and any(claim.complete for claim in claims.values())),
    )


def _weigh_later(
    later: Iterable[Pledge], claims: Mapping[NodeId, Claim], alive: Mapping[NodeId, int]
) -> tuple[tuple[NodeId, ...], list[Holders]]:
    """Who can say still whether one of these reigns began; who held those of which nobody can."""
    unproven: list[Holders] = []
    for _, pledged in later:
        if any(_has_spoken(holder, claims, alive) for holder in pledged):
            continue
        witnesses = tuple(node for node, incarnation in pledged if alive.get(node) == incarnation)
        if witnesses:
            return witnesses, []
        unproven.append(pledged)
    return (), unproven


def _silent(claims: Mapping[NodeId, Claim], alive: Mapping[NodeId, int]) -> tuple[NodeId, ...]:
    return tuple(node for node in alive if node not in claims)


def _has_spoken(
    holder: tuple[NodeId, int], claims: Mapping[NodeId, Claim], alive: Mapping[NodeId, int]
) -> bool:
    """Whether one of the claims is that very process's: it may have been let in anew since."""
    node, incarnation = holder
    claim, now = claims.get(node), alive.get(node, 0)
    return claim is not None and (claim.first or now) <= incarnation <= now


def _without_copy(
    view: int, claims: Mapping[NodeId, Claim], alive: Mapping[NodeId, int]
) -> Verdict:
    """Nobody who was asked has a copy."""
    waiting = _silent(claims, alive)
    if waiting:
        return Verdict(wait_for=waiting)
    is_known = any(claim.complete for claim in claims.values())
    known = [
        holders
        for claim in claims.values()
        for number, holders in (*claim.pledges, *claim.seen)
        if number < view
    ]
    absent = [holder for held in known for holder in held if alive.get(holder[0]) != holder[1]]
    return Verdict(
        settled=True,
        gone=tuple(dict.fromkeys(absent)),
        doubtful=bool(known) or not is_known,
        unknown=not is_known,
    )
