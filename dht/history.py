"""The latest steps between views, for whoever is a few behind."""

from __future__ import annotations

from collections import deque
from itertools import dropwhile
from typing import TYPE_CHECKING

from dht.effects import Send
from dht.ids import ID_BITS
from dht.messages import ViewDeltas, ViewNews

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.delta import Delta
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import View


class History:
    """One node's present view, and up to `most` deltas that led to it without a break."""

    def __init__(self, most: int) -> None:
        self._view: View | None = None
        self._deltas: deque[Delta] = deque(maxlen=most)

    def install(self, view: View, deltas: Iterable[Delta]) -> None:
        """Go on to `view`; `deltas`: what has led to it, as far as known."""
        before = self._view
        self._view = view
        reached = before.digest if before is not None else b""
        for delta in deltas:
            if delta.base and delta.base == reached:
                self._deltas.append(delta)
                reached = delta.digest
        if self._deltas and self._deltas[-1].digest != view.digest:
            self._deltas.clear()

    def tell(self, node: NodeId, number: int, digest: bytes) -> list[Effect]:
        """The shortest news for `node`, which is on view `number` (`digest`), if there is any."""
        view = self._view
        if view is None:
            return []
        steps = tuple(dropwhile(lambda each: each.base != digest, self._deltas))
        if steps and steps[0].number == number + 1:
            return [Send(node, ViewDeltas(steps, ID_BITS))]
        return [Send(node, ViewNews(view))]
