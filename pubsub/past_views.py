"""The views that a process has seen: what it can tell a new home of reigns that it had no part in.

A view is remembered for as long as its holders may have to be waited for. Of
what came before there is no need to know: either it is longer ago than copies
are waited for, or the ring was not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dht.placement import Placement
    from dht.view import View
    from pubsub.core import Core
    from pubsub.slot_messages import Pledge

_MOST = 32  # that are remembered


class _Past(NamedTuple):
    """A view, and when it was the present one here."""

    view: View
    placement: Placement
    began: float
    ended: float


class PastViews:
    """The views of the last `lossy_seconds`, and when this process was struck off."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._past: list[_Past] = []  # oldest first
        self._began = 0.0  # when the present view came
        self._struck: list[int] = []  # the last views before this process was struck off

    def leave(self, now: float) -> None:
        """The present view is about to be the last one."""
        core = self._core
        if core.view is not None and core.placement is not None:
            self._past.append(_Past(core.view, core.placement, self._began, now))
        since = now - core.limits.lossy_seconds
        self._past = [past for past in self._past if past.ended >= since][-_MOST:]
        self._began = now

    def note_struck(self, last: int) -> None:
        """Others had struck this process off after view `last`."""
        self._struck = [*self._struck, last][-_MOST:]

    def struck_off_since(self, epoch: int) -> int:
        """The first view from `epoch` on after which this process was struck off; 0 for none."""
        return next((last for last in self._struck if last >= epoch), 0)

    def seen(self, number: int, view: int) -> tuple[Pledge, ...]:
        """Who was to hold a slot in the views before `view` of late, oldest first."""
        core = self._core
        seen: list[Pledge] = []
        latest = [] if core.view is None else [(core.view, core.placement)]
        for known, placement in (*((past.view, past.placement) for past in self._past), *latest):
            if placement is None or known.number >= view or not known.active:
                continue
            alive = known.incarnations
            holders = tuple([(node, alive[node]) for node in placement.holders(number)])
            if not seen or seen[-1][1] != holders:
                seen.append((known.number, holders))
        return tuple(seen)

    def known(self, view: int, now: float) -> tuple[int, bool]:
        """Which of the views right before `view` are all known.

        The first of them, or `view` for none; and whether what came before it
        need not be known.
        """
        core = self._core
        known = [(past.view, past.began) for past in self._past]
        if core.view is not None:
            known.append((core.view, self._began))
        since, began, former = view, now, b""
        for each, came in reversed(known):
            # An operator who has given a ring up has given up what it may have decided since.
            if each.number == since - 1 or (former and each.ring == former):
                since, began, former = each.number, came, each.former
        return since, since <= core.founded or began <= now - core.limits.lossy_seconds

    def clear(self) -> None:
        """Another ring: its views are others."""
        self._past.clear()
        self._struck.clear()
