"""The ring's times and bounds, in one place, with the reason for each."""

from __future__ import annotations

import msgspec


class RingSettings(msgspec.Struct, frozen=True):
    """Times in seconds. The defaults suit a data centre; tests shorten nothing but the clock."""

    # -- failure detection (architecture.md, "Failure detection")
    beat: float = 0.2  # between two heartbeats to one observer
    suspect_after: float = 0.65  # silence: three beats missed, and some way to travel
    observers: int = 6  # ring neighbours that watch a member, half on each side
    grace: float = 1.5  # a member that is new to an observer may still be dialling
    own_lag: float = 0.1  # a loop this late accuses nobody: its own pause is the likelier cause
    accusation_life: float = 0.7  # an accusation that is not repeated lapses
    deltas: int = 64  # latest steps between views that are kept for who is behind

    # -- deciding
    batch: float = 0.05  # several deaths or joins close together make one view
    gather: float = 0.2  # so do those that fall silent together: beats come at different times
    weigh: float = 0.01  # what is said within so short a time of each other is weighed together
    view_gap: float = 0.02  # the least time between two proposals of one voter
    turn: float = 1.0  # a voter waits so long for each that is more senior to do it
    poll: float = 1.5  # a ballot that is not won by then is given up; longer than any lease
    ballot_pause: tuple[float, float] = (0.05, 0.25)  # before the next ballot, drawn
    unresolved: float = 0.5  # a voter finishes what it has accepted and not seen decided
    request_life: float = 1.0  # a request to a voter that is not repeated lapses
    wish_patience: float = 1.0  # then a wish goes to every voter, not to the leader alone
    lease: float = 0.8  # see `dht.leases`: four beats, so that one may be late and one lost
    bar_life: float = 1.6  # whom a voter is asked to strike off gets no lease for so long
    frozen_after: float = 1.0  # without a lease for so long, a member says that it is frozen
    leave_patience: float = 2.0  # a leaver whom no leader answers goes all the same

    # -- founding and finding
    settle: float = 0.5  # founders must know of each other, unchanged, for so long
    lost_seeker: float = 3.0  # a seeker whose link broke is counted on for so long
    ring_seen: float = 5.0  # who has heard of a ring founds no other for so long
    redial_least: float = 0.1  # backoff of a seed: first,
    redial_most: float = 2.0  # and last step; jitter is a quarter either way
    redial_keen: float = 0.2  # a voter's last step, shorter than any founding: see `Discovery`
    dial_patience: float = 10.0  # a dial that is never reported on is forgotten
    hasten: float = 0.02  # news among seekers waits so long for more of it
    crawl_every: float = 1.0  # a seeker looks up its own id so often
    answer_patience: float = 1.0  # a contact that has not answered a lookup has failed it

    # -- Kademlia
    k: int = 20
    alpha: int = 3

    # -- bounds
    seekers: int = 1024  # nodes without a ring that are kept in mind
    joins: int = 256  # admissions waiting for the next view
    flat_limit: int = 32
