"""Random histories of a ring, and proof that they would show what breaks it.

COMETRING_HISTORIES sets how many (`make soak-ring` runs ten thousand),
COMETRING_FIRST_HISTORY where to begin; a failing one names its seed and events.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from dht.ballots import Electorate
from dht.engine import RingEngine
from dht.leases import Lease
from dht.voter import Voter
from ring_histories import History
from ring_sim import RingSim

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from ring_sim import SimNode

FIRST = int(os.environ.get("COMETRING_FIRST_HISTORY", "0"))
HISTORIES = int(os.environ.get("COMETRING_HISTORIES", "200"))
BATCH = 50
# Histories that have failed once, and why.
KEPT = {
    28: "two proposers cross each other for ever while a lease runs out",
    65: "a view without an ACTIVE member has no voters",
    97: "a member left behind keeps those that know better from going on",
    165: "a voter that has never voted does not know whose word is needed",
    202: "a ballot of an old group of founders is always due",
    217: "who has lost its memory takes a member left behind for the ring",
    559: "what a process asked before it was struck off replaces what it is now",
    708: "the only voter of a refounded ring has never heard of it",
    1008: "a founder of one view is among those of the next",
}


def play(seed: int, **settings: Any) -> None:
    history = History(seed, **settings)
    try:
        history.run()
    except AssertionError as error:
        raise AssertionError(f"history {seed}: {error}\n{history.describe()}") from error


@pytest.mark.parametrize("first", range(FIRST, FIRST + HISTORIES, BATCH))
@pytest.mark.timeout(300)
def test_any_history_keeps_the_invariants_and_ends_in_agreement(first: int) -> None:
    for seed in range(first, min(first + BATCH, FIRST + HISTORIES)):
        play(seed)


@pytest.mark.parametrize("seed", KEPT)
def test_a_history_that_has_failed_once(seed: int) -> None:
    play(seed)


# -- a simulation that cannot fail proves nothing ------------------------------------------


def without_voting(patch: pytest.MonkeyPatch) -> None:
    """Whoever proposes decides."""
    patch.setattr(Electorate, "majority", 1)


def without_memory(patch: pytest.MonkeyPatch) -> None:
    """A restarted voter votes, though it has forgotten what it said."""
    start = RingSim.start

    def forgetful(self: RingSim, name: str, *args: Any, **settings: Any) -> SimNode:
        disk = self.disks.get(f"{name}:7400")
        if disk is not None and disk.memory is not None:
            memory = disk.memory
            disk.memory = type(memory)(memory.id, memory.since, memory.electorate)
        return start(self, name, *args, **settings)

    patch.setattr(RingSim, "start", forgetful)


def without_incarnations(patch: pytest.MonkeyPatch) -> None:
    """A restarted process is taken for the one before it."""
    start = RingSim.start

    def ageless(self: RingSim, name: str, *args: Any, **settings: Any) -> SimNode:
        return start(self, name, *args, **settings, incarnation=1)

    patch.setattr(RingSim, "start", ageless)


def without_digest_pull(patch: pytest.MonkeyPatch) -> None:
    """Who has missed the news of a view is not told again."""

    def careless(self: RingEngine, sender: bytes, message: Any, member: Any) -> list[Effect]:
        effects: list[Effect] = member.receive(sender, message, self._now)
        return effects

    patch.setattr(RingEngine, "_receive_heartbeat", careless)


def without_waiting_for_leases(patch: pytest.MonkeyPatch) -> None:
    """Voters strike off whom they have just granted a lease."""
    patch.setattr(Voter, "_free_at", lambda *_: 0.0)


def without_leaving_anybody_out(patch: pytest.MonkeyPatch) -> None:
    """Voters of a large ring vouch for everyone, also for whom they are to strike off."""
    vouch = Voter.vouch

    def kind(self: Voter, view: Any, dead: Any, gone: Any, now: float) -> Any:
        barred = vouch(self, view, dead, gone, now)
        return None if barred is None else ()

    patch.setattr(Voter, "vouch", kind)


def with_leases_of_one_voter(patch: pytest.MonkeyPatch) -> None:
    """One voter's grant is enough for a lease."""
    answered = Lease.answered

    def easy(self: Lease, voter: bytes, number: int, sent: float) -> None:
        answered(self, voter, number, sent)
        self.until = max(self.until, sent + self._seconds)

    patch.setattr(Lease, "answered", easy)


MUTATIONS = (
    without_voting,
    without_memory,
    without_incarnations,
    without_digest_pull,
    without_waiting_for_leases,
    without_leaving_anybody_out,
    with_leases_of_one_voter,
)


@pytest.mark.parametrize("mutate", MUTATIONS)
@pytest.mark.timeout(300)
def test_the_histories_fail_without(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    for seed in range(400):
        try:
            History(seed).run()
        except AssertionError:
            return
    pytest.fail(f"400 histories do not notice: {mutate.__doc__}")
