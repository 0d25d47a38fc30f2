"""Every bound and delay of the pubsub engine, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Delays in seconds, sizes in bytes, the rest counts. All are per node unless they say."""

    # a topic's log: at least this much is kept for cursors to catch up
    log_entries: int = 10_000
    log_bytes: int = 1 << 20
    # all logs of the node: past half of it each append shrinks its own log, past it is refused
    total_log_bytes: int = 512 << 20

    topics: int = 200_000
    feeds: int = 200_000
    records: int = 2_000_000
    subscriptions: int = 1_000  # of one session

    # requests that this node waits for
    pending: int = 50_000
    pending_bytes: int = 64 << 20
    request_seconds: float = 5.0  # then they fail as unavailable: before clients give up (10 s)
    close_seconds: float = 60.0  # a session's end is worth more patience: it frees memory
    retry_seconds: float = 0.05  # first retry; doubles up to the cap
    retry_cap_seconds: float = 0.5
    resend_seconds: float = 2.0  # without an answer: what was sent may have been dropped

    # requests that wait for one of this node's slots to open
    queued: int = 10_000
    queued_bytes: int = 32 << 20

    # message ids that the application chose, per slot; twice as long and as many at most
    client_ids: int = 10_000
    client_id_seconds: float = 120.0
    # message ids that nodes minted: enough for their retries
    recent_ids: int = 4_096
    recent_id_seconds: float = 15.0
    remembered: int = 200_000

    # trees
    batch_bytes: int = 256 << 10  # one Entries or Fetched message
    high_water_seconds: float = 0.2
    join_retry_seconds: float = 1.0
    refused_retry_seconds: float = 0.1

    # patterns
    patterns: int = 1_000  # active in the whole cluster
    pattern_linger_seconds: float = 60.0  # without readers; longer than a session may be away
    pattern_retry_seconds: float = 0.25
    pattern_check_seconds: float = 30.0
    # one channel to one pattern: entries on their way, and entries that may wait to be
    forward_window: int = 512
    forward_lag: int = 4_096
    forward_lag_bytes: int = 512 << 10  # well below what a log keeps
    sources: int = 20_000  # channels of one pattern that are remembered; twice as many at most
    source_seconds: float = 60.0

    # sessions
    release_seconds: float = 1.0  # how long a move waits for the old edge's cursors
    orphan_seconds: float = 60.0  # how long a record outlives its edge
    cursors_seconds: float = 0.1  # how far replicas may be behind with cursors
    settle_seconds: float = 3.0  # after a lossy opening: edges re-register before "unknown" is said

    # replication
    staged_bytes: int = 64 << 20  # changes that are not committed yet; then appends are refused
    lane_window: int = 8 << 20  # of one lane on its way; the rest waits here
    batch_ops: int = 2_000  # one Replicate

    # takeover
    lossy_seconds: float = 60.0  # how long copies that are not proven dead are waited for
    takeover_retry_seconds: float = 0.3
    pull_bytes: int = 512 << 10  # one Pulled message
    pull_window: int = 2 << 20  # what one Pull is answered with
    pull_retry_seconds: float = 1.0
    retire_seconds: float = 1.0  # between two questions whether a copy is needed still
