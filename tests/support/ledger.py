"""What publishers were promised against what readers got: the books of a crowd, compared.

Everything acknowledged must have reached everyone who listens; all readers of
a topic must have seen one order; what came twice must be recognisable by the
message's own id; nobody may have had to begin again.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Book: TypeAlias = dict[str, Any]  # as crowd.mjs reports it
    Promise: TypeAlias = tuple[str, str]  # topic (a channel or an address), id

INBOX = "/service/inbox"
SHOWN = 20  # faults of one kind that are told in full


@dataclass
class Verdict:
    """Counts, and everything that broke a promise, in words."""

    acknowledged: int = 0
    deliveries: int = 0
    duplicates: int = 0  # came again, and could be told by the message's id
    repeats: list[str] = field(default_factory=list)  # the same, each in words
    handshakes: int = 0
    clients: int = 0
    gaps: int = 0
    worst_pause: float = 0.0  # seconds without a message to one client
    worst_at: float = 0.0  # unix seconds
    pauses: list[float] = field(default_factory=list)  # each client's worst
    faults: list[str] = field(default_factory=list)

    def pause(self, share: float) -> float:
        """The worst pause that `share` of the clients stayed under, in seconds."""
        return sorted(self.pauses)[min(len(self.pauses) - 1, int(share * len(self.pauses)))]

    def lines(self) -> list[str]:
        """For people."""
        counted = f"{self.acknowledged} messages acknowledged, {self.deliveries} deliveries"
        half, most = self.pause(0.5), self.pause(0.99)
        worst = f"one {self.worst_pause:.2f} s (at {self.worst_at:.2f})"
        return [
            f"{self.clients} clients, {self.handshakes} handshakes, {self.gaps} gap notices",
            f"{counted}, {self.duplicates} of them again",
            f"longest without a message: half of them {half:.2f} s, 99 % {most:.2f} s, {worst}",
            *self.repeats[:SHOWN],
            *self.faults[:SHOWN],
            f"{len(self.faults)} faults" if self.faults else "no fault",
        ]


def without_repeats(received: Iterable[Sequence[str]]) -> tuple[list[str], int, list[str]]:
    """Ids as first received, how many came again, and which of those nobody could have told.

    `received`: [what the publisher calls it, the message's id], as they came.
    """
    first: dict[str, str] = {}
    order: list[str] = []
    again, unknown = 0, []
    for name, message_id in received:
        if name not in first:
            first[name] = message_id
            order.append(name)
            continue
        again += 1
        if first[name] != message_id:
            unknown.append(name)
    return order, again, unknown


def audit(
    books: Sequence[Book], others: Iterable[Promise] = (), allow_gaps: bool = False
) -> Verdict:
    """Compare the books of a crowd. `others`: what was acknowledged to other publishers."""
    verdict = Verdict()
    promised: dict[str, set[str]] = defaultdict(set)
    for topic, name in [p for book in books for p in book["acknowledged"]] + list(others):
        promised[topic].add(name)
        verdict.acknowledged += 1
    orders: dict[str, dict[str, list[str]]] = defaultdict(dict)  # channel -> member -> ids
    for book in books:
        if book["outstanding"]:
            verdict.faults.append(f"{book['outstanding']} publishes were never acknowledged")
    for member in [member for book in books for member in book["members"]]:
        _take_member(verdict, member, promised, orders, allow_gaps)
    for channel, by_member in orders.items():
        _compare(verdict, channel, by_member)
    return verdict


def _take_member(
    verdict: Verdict,
    member: dict[str, Any],
    promised: dict[str, set[str]],
    orders: dict[str, dict[str, list[str]]],
    allow_gaps: bool,
) -> None:
    name = member["name"]
    verdict.clients += 1
    verdict.handshakes += member["handshakes"]
    verdict.gaps += len(member["gaps"])
    pause = member["worst"]["pause"] / 1000
    verdict.pauses.append(pause)
    if pause > verdict.worst_pause:
        verdict.worst_pause, verdict.worst_at = pause, member["worst"]["at"] / 1000
    verdict.repeats += [
        f"again: {what} on {channel} to {name} ({member['transport']}),"
        f" at {first / 1000:.3f} and {again / 1000:.3f}"
        for channel, what, first, again in member.get("repeats", ())
    ]
    if member["handshakes"] != 1:
        verdict.faults.append(f"{name} shook hands {member['handshakes']} times")
    if member["gaps"] and not allow_gaps:
        verdict.faults.append(f"{name} was told of gaps in {sorted(set(member['gaps']))}")
    for channel in [*member["rooms"], INBOX]:
        topic = member["address"] if channel == INBOX else channel
        order, again, unknown = without_repeats(member["received"].get(channel, ()))
        verdict.deliveries += len(order) + again
        verdict.duplicates += again
        missing = promised[topic].difference(order)
        if missing and not (allow_gaps and channel in member["gaps"]):
            some = ", ".join(sorted(missing)[:3])
            verdict.faults.append(
                f"{name} ({member['transport']}) lacks {len(missing)} of"
                f" {len(promised[topic])} on {channel}: {some}"
            )
        if unknown:
            verdict.faults.append(f"{name} got {unknown[0]} on {channel} under two message ids")
        if channel != INBOX:
            orders[channel][name] = order


def _compare(verdict: Verdict, channel: str, by_member: dict[str, list[str]]) -> None:
    """All must be in the order of whoever has most; what one lacks is another fault's matter."""
    longest = max(by_member.values(), key=len)
    place = {name: i for i, name in enumerate(longest)}
    for member, order in by_member.items():
        places = [place[name] for name in order if name in place]
        late = next((b for a, b in pairwise(places) if a > b), None)
        if late is not None:
            where = longest[late]
            verdict.faults.append(f"{member} saw {channel} in another order, at {where}")
