"""Load shedding: what a node puts off so that it recovers instead of failing.

Long polls are what overload can be taken out of: a client that is told to wait
between polls (`advice.interval`) gets the same messages, later and several at
a time, for a fraction of the request cycles. DWR's `ServerLoadMonitor` did it
first. Streams cost nothing while they are silent and are left alone.

Two things make a poll be answered at once, with a raised interval:

- the loop is late (`shed_lag`): the interval doubles for as long as it stays
  late, and halves once it has been in time for a while;
- so many polls are held already (`shed_polls`): the surplus is not held.

Past the hard limit (`refuse_lag`) new sessions are refused: 503, `Retry-After`.
Sans-IO: `observe` is told what was measured, `pause` and `refusing` answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from node.config import Config

PERIOD: Final = 0.5  # seconds between observations
FIRST: Final = 1.0  # seconds: the smallest interval that is told
SETTLE: Final = 2.0  # seconds that a change gets, at least, before the next
CALM: Final = 0.5  # of the limit: below it the load counts as gone
ENOUGH: Final = 2  # observations in a row, so that a single stall changes nothing
DEAF: Final = 1.0  # seconds of lag past which a client's silence may be our not having listened
_SPREAD = 1024


class Shedding:
    """Decides how long clients wait between polls, and whether new ones may come.

    `interval`: seconds; 0.0 while polls are held as usual. One interval in
    force is spread over clients (half to one and a half of it), so that they
    do not come back together.
    """

    def __init__(self, config: Config) -> None:
        self._limit = config.shed_lag
        self._refuse = config.refuse_lag
        self._polls = config.shed_polls
        self._longest = config.shed_interval
        self.interval = 0.0
        self.refusing = False
        self.lag = 0.0  # seconds, as last observed
        self.raised = 0  # times that the interval went up from nothing, since the start
        self._late = self._stuck = 0  # observations in a row over each limit
        self._changed = float("-inf")
        self._calm_since: float | None = None

    def observe(self, lag: float, now: float) -> bool:
        """`lag`: the worst of the last period, seconds. True: something has changed."""
        before = (self.interval, self.refusing)
        self.lag = lag
        self._stuck = self._stuck + 1 if self._refuse and lag > self._refuse else 0
        self._late = self._late + 1 if self._limit and lag > self._limit else 0
        if lag > self._limit * CALM:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        if self._stuck >= ENOUGH:
            self.refusing = True
        elif self.refusing and not self._late:
            self.refusing = False
        settled = now - self._changed >= max(SETTLE, self.interval)
        if self._late >= ENOUGH and settled:
            self._set(min(self._longest, max(FIRST, self.interval * 2)), now)
        elif self.interval and settled and self._is_calm(now):
            half = self.interval / 2
            self._set(half if half >= FIRST else 0.0, now)
        return before != (self.interval, self.refusing)

    def _is_calm(self, now: float) -> bool:
        return self._calm_since is not None and now - self._calm_since >= SETTLE

    def _set(self, interval: float, now: float) -> None:
        if interval and not self.interval:
            self.raised += 1
        self.interval = interval
        self._changed = now

    def pause(self, address: str, held: int) -> float:
        """Seconds that this client is to wait before its next poll; 0.0: its poll may be held.

        `held`: polls held now. The same for one client while nothing changes.
        """
        interval = self.interval
        if not interval:
            if not self._polls or held < self._polls:
                return 0.0
            interval = FIRST
        return interval * (0.5 + hash(address) % _SPREAD / _SPREAD)
