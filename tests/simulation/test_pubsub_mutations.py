"""A simulation that cannot fail proves nothing: each safeguard switched off must be noticed.

Every mutation replaces one method or function. The histories that pass with
the real one must fail, within a few seeds, with the mutant.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from pubsub import flow
from pubsub.edge import Edge
from pubsub.flow import Flow
from pubsub.ids import MessageIds
from pubsub.inboxes import Inboxes
from pubsub.messages import Appended, Consumed, Cursor, Release
from pubsub.openings import Openings
from pubsub.registry import Registry
from pubsub.repair import Repair
from pubsub.takeover import Takeover
from pubsub.transfer import Unpacker
from pubsub.tree import Tree
from pubsub_histories import deadly, hurried, peaceful
from pubsub_rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = range(5_000, 5_060)


def nothing(*args: Any, **kwargs: Any) -> None:
    """A mutant that leaves something undone."""


def take_any(last: Cursor, entries: Any) -> Any:
    """No gap check: whatever is newer follows."""
    return tuple(entry for entry in entries if entry.offset > last.offset)


def same_lineage(self: Openings, opening: Any, slot: Any, reference: Any) -> None:
    """A home that begins without the old one's state passes for its continuation."""
    slot.lineage = 1
    install(self, opening, slot, (reference[0], reference[1], 1))


install = Openings._install


def never_warm(self: Flow, now: float, out: Any) -> None:
    """Nobody is told how far its parent has come."""
    self._warm.clear()
    self._warm_at = inf


def forget_children(self: Tree, node: Any, now: float, out: Any) -> None:
    """A lost link ends the leases, but the children do not notice."""
    for feed in list(self._core.feeds.values()):
        if node in feed.children:
            self._drop_child(feed, node)
            self.prune(feed, out)


def anybody(*args: Any) -> bool:
    return True


MUTATIONS: dict[str, tuple[Callable[[int], Any], Any, str, Any]] = {
    "no dedupe": (peaceful, MessageIds, "known", nothing),
    "no gap check": (peaceful, flow, "following", take_any),
    "no gap repair": (peaceful, Flow, "_repair", nothing),
    "no high-water mark": (peaceful, Flow, "handle_timer", never_warm),
    "no deepening for late readers": (peaceful, Repair, "deepen", nothing),
    "no reset for those below": (deadly, Tree, "_tell_reset", nothing),
    "children outlive their link": (peaceful, Tree, "_drop_child", nothing),
    "nobody joins again after a lost link": (peaceful, Tree, "link_closed", forget_children),
    "nobody moves to its new parent": (peaceful, Tree, "install_view", nothing),
    "a lost home's lineage is continued": (deadly, Openings, "_install", same_lineage),
    "a copy forgets what it carries": (peaceful, Unpacker, "_take_topic", nothing),
    "unread inboxes are not sent again": (peaceful, Inboxes, "push", nothing),
    "edges do not register again": (deadly, Edge, "_put", nothing),
    "records that nobody holds stay": (deadly, Registry, "_orphan", nothing),
    "a deposed home goes on serving": (peaceful, Takeover, "_part", nothing),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutant_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history, owner, attribute, mutant = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, mutant)
    for seed in SEEDS:
        try:
            history(seed)
        except (AssertionError, ValueError, KeyError, AttributeError):
            return
    pytest.fail(f"{len(SEEDS)} histories did not notice: {name}")


@pytest.mark.parametrize("history", [peaceful, hurried, deadly])
def test_the_originals_pass(history: Callable[[int], Any]) -> None:
    for seed in SEEDS[:4]:
        history(seed)


def deposed_edge_writes() -> None:
    """The old edge is silent, the session moves without it, and then it speaks up."""
    rig = Rig()
    home, old, new = rig.nodes
    address = rig.address(home)
    old.open(address)
    rig.hold = lambda message: isinstance(message, Release)
    new.attach(address)
    rig.tick(1.1)
    rig.let_go()
    home.append(address, "m1")
    consumed = Consumed(address, 1, ((address, Cursor(1, 1)),))
    home.do(home.engine.receive(old.id, consumed, rig.now))
    record = home.engine.record(address)
    assert record is not None
    assert dict(record.cursors)[address] == Cursor(1, 0), "a deposed edge moved the cursor"


def publisher_retries() -> None:
    """The answer is lost with its link, and the publisher's node asks again."""
    rig = Rig()
    home, other = rig.home("/a"), rig.others("/a")[0]
    home.join("/a")
    rig.hold = lambda message: isinstance(message, Appended)
    other.append("/a", "m")
    rig.hold = lambda message: False
    rig.relink(home, other)
    rig.tick(1.0)
    feed = home.engine.feed("/a")
    assert feed is not None
    assert len(feed.log) == 1, "committed twice"


SCENARIOS: dict[str, tuple[Callable[[], None], Any, str, Any]] = {
    "no generations": (deposed_edge_writes, Registry, "writes", anybody),
    "no dedupe": (publisher_retries, MessageIds, "known", nothing),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_mutant_fails_its_scenario(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, owner, attribute, mutant = SCENARIOS[name]
    scenario()
    monkeypatch.setattr(owner, attribute, mutant)
    with pytest.raises(AssertionError):
        scenario()
