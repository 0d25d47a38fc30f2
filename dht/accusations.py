"""From suspicions to verdicts: who is dead, on the word of enough observers.

A member is dead when min(3, a majority of its live observers) accuse it. An
observer that is dead itself does not count, so a block of neighbours that die
together is worked off from its edges inwards; nor does one that the judge
itself suspects, so the last survivor of a small ring can come to a verdict
(whether anything comes of it, a majority of voters decides).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.detector import observers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.ids import NodeId
    from dht.messages import Suspicion
    from dht.settings import RingSettings
    from dht.view import View

ENOUGH = 3  # accusers; of fewer than five live observers a majority is less


class Accusations:
    """What the observers have said lately; at most one statement of each member is kept."""

    def __init__(self, settings: RingSettings) -> None:
        self._life = settings.accusation_life
        self._observers = settings.observers
        self._said: dict[NodeId, tuple[float, dict[NodeId, Suspicion]]] = {}

    def __len__(self) -> int:
        return len(self._said)

    def record(self, observer: NodeId, suspicions: Iterable[Suspicion], now: float) -> None:
        """All that `observer` suspects now; replaces what it said before."""
        said = {each.node: each for each in suspicions}
        if said:
            self._said[observer] = (now + self._life, said)
        else:
            self._said.pop(observer, None)

    def summary(self, now: float) -> tuple[tuple[NodeId, tuple[NodeId, ...]], ...]:
        """Who is accused, and by whom."""
        accused: dict[NodeId, list[NodeId]] = {}
        for observer, (until, said) in self._said.items():
            for node in said if until > now else ():
                accused.setdefault(node, []).append(observer)
        return tuple((node, tuple(sorted(by))) for node, by in sorted(accused.items()))

    def install(self, view: View) -> None:
        """Forget what those say who are no longer members."""
        self._said = {node: said for node, said in self._said.items() if node in view}

    def verdict(
        self, view: View, judge: NodeId, suspected: Iterable[NodeId], now: float
    ) -> dict[NodeId, bool]:
        """The dead members, and whether each is proven gone.

        `suspected` is what the judge's own detector says. A judge never finds
        itself dead: that is for the others to say.
        """
        self._said = {node: said for node, said in self._said.items() if said[0] > now}
        accused = self._accused(view, judge)
        absent = set(suspected)
        dead: dict[NodeId, bool] = {}
        progress = True
        while progress:
            progress = False
            for node, by in accused.items():
                if node in dead:
                    continue
                watchers = observers_of(view, node, self._observers)
                live = [each for each in watchers if each not in dead and each not in absent]
                accusers = [each for each in live if each in by]
                if accusers and len(accusers) >= min(ENOUGH, len(live) // 2 + 1):
                    dead[node] = any(by[each] for each in accusers)
                    progress = True
        return dead

    def _accused(self, view: View, judge: NodeId) -> dict[NodeId, dict[NodeId, bool]]:
        accused: dict[NodeId, dict[NodeId, bool]] = {}
        for observer, (_, said) in self._said.items():
            for node, suspicion in said.items():
                member = view.get(node)
                if node != judge and member and member.incarnation == suspicion.incarnation:
                    accused.setdefault(node, {})[observer] = suspicion.gone
        return accused
