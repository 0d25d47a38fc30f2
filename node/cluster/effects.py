"""Effects are performed one after the other, in the order in which engines gave them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from node.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dht.effects import Effect


class EffectQueue:
    """Performs effects; those that come while one is being performed wait their turn."""

    def __init__(self, performers: dict[type[Effect], Callable[[Any], None]]) -> None:
        """`performers`: what to do for each type of effect."""
        self._performers = performers
        self._waiting: deque[Effect] = deque()
        self.busy = False

    def perform(self, effects: Sequence[Effect]) -> None:
        """Perform `effects`, and all that they lead to, unless that is being done already.

        Raises LocalProtocolError for an effect that nobody performs.
        """
        self._waiting.extend(effects)
        if self.busy:
            return
        self.busy = True
        try:
            while self._waiting:
                effect = self._waiting.popleft()
                performer = self._performers.get(type(effect))
                if performer is None:
                    msg = f"an effect that nobody performs: {type(effect).__name__}"
                    raise LocalProtocolError(msg)
                performer(effect)
        finally:
            self.busy = False
