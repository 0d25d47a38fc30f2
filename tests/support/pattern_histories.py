"""Random histories in which channels are read through patterns.

What must hold at the end: whatever was published after a reader of a pattern
had its answer, and was acknowledged, it has got exactly once, and what is of
one channel in the order of that channel. Readers move with their cursors,
patterns end and begin again, members come and go, links break.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pubsub.limits import Limits
from pubsub.messages import (
    Appended,
    Forward,
    Forwarded,
    PatternAll,
    PatternAsk,
    PatternHeld,
    PatternNews,
)
from pubsub.wildcards import covers
from pubsub_histories import History, Hurry, Outcome

if TYPE_CHECKING:
    from dht.ids import NodeId
    from pubsub_sim import Reader, SimNode

CHANNELS = ["/a/1", "/a/2", "/a/b/1", "/a/b/2", "/c/1"]
PATTERNS = ["/a/*", "/a/**", "/a/b/*", "/**", "/c/*"]
_DROPPABLE = (Forward, Forwarded, PatternAll, PatternAsk, PatternHeld, PatternNews)
_LIMITS = Limits(orphan_seconds=10.0, pattern_linger_seconds=3.0, forward_window=4)


class _Patterns(History):
    """Readers of patterns among the others."""

    more_names = (*CHANNELS, *PATTERNS)

    def prepare(self) -> None:
        self.topics = list(CHANNELS)
        self.losing = self.rng.choice([0.0, 0.05])

    def drop(self, sender: NodeId, to: NodeId, message: Any) -> bool:
        """What belongs to patterns is lost now and then: all of it is said again."""
        if isinstance(message, _DROPPABLE):
            return self.rng.random() < self.losing
        return super().drop(sender, to, message)

    def step(self) -> None:
        chance = self.rng.random()
        if chance < 0.12:
            self.any_active().read(self.rng.choice(PATTERNS))
        elif chance < 0.2:
            self.move_pattern_reader(self.any_active())
        else:
            super().step()

    def pattern_readers(self) -> list[Reader]:
        """Those that read still."""
        return [
            reader
            for reader in self.sim.readers
            if reader.topic in PATTERNS
            and reader.node.alive
            and reader in reader.node.readers.get(reader.topic, ())
        ]

    def move_pattern_reader(self, node: SimNode) -> None:
        readers = self.pattern_readers()
        if not readers:
            return
        reader = self.rng.choice(readers)
        reader.node.unread(reader)
        if self.rng.random() < 0.5:
            self.follow(reader, node)

    def follow(self, reader: Reader, node: SimNode) -> None:
        """The client of `reader` goes on at `node`."""
        heir = node.read(reader.topic, reader.cursor)
        heir.earlier = reader.earlier + reader.ids
        heir.published = reader.published

    def check(self) -> Outcome:
        outcome = super().check()
        for reader in self.pattern_readers():
            self.check_reader(reader)
        return outcome

    def check_reader(self, reader: Reader) -> None:
        got = reader.earlier + reader.ids
        who = f"seed {self.sim.seed}, a reader of {reader.topic}"
        if reader.breaks:
            return
        assert len(set(got)) == len(got), f"{who} got something twice"
        assert reader.published is not None
        place = {message_id: index for index, message_id in enumerate(got)}
        lines: dict[str, list[tuple[int, int]]] = {}
        for number, publication in enumerate(self.sim.publications):
            if publication.topic not in CHANNELS or not covers(reader.topic, publication.topic):
                continue
            if not isinstance(publication.result, Appended):
                continue
            index = place.get(publication.message_id)
            if index is not None:
                cursor = publication.result.cursor
                lines.setdefault(publication.topic, []).append((cursor.offset, index))
            else:
                assert number < reader.published, f"{who} never got {publication.message_id}"
        for topic, line in lines.items():
            indices = [index for _, index in sorted(line)]
            assert indices == sorted(indices), f"{who} got {topic} out of order"


class Restless(_Patterns):
    """Members join and leave one by one."""


class Rushed(_Patterns, Hurry):
    """Members leave and come back faster than slots can follow."""

    def step(self) -> None:
        if self.rng.random() < 0.2:
            _Patterns.step(self)
        else:
            Hurry.step(self)


def restless(seed: int) -> Outcome:
    """Nobody dies."""
    return _run(Restless(seed, kills=False, limits=_LIMITS))


def rushed(seed: int) -> Outcome:
    """Slots move on before they have come."""
    return _run(Rushed(seed, kills=False, limits=_LIMITS))


class _Mortal(Restless):
    """Members are killed, but never all that hold a slot."""

    def kill_all_copies(self) -> None:
        """Not here: what is lost with all copies is lost to patterns, too."""


def mortal(seed: int) -> Outcome:
    """Members are killed: what has three copies is forwarded all the same."""
    history = _Mortal(seed, kills=True, limits=_LIMITS)
    history.prepare()
    outcome = history.run()
    quiet = [node.engine.statistics() for node in history.sim.living()]
    assert not any(statistics.forward_lag for statistics in quiet), f"seed {seed}: still forwarding"
    return outcome


def _run(history: _Patterns) -> Outcome:
    history.prepare()
    outcome = history.run()
    seed = history.sim.seed
    assert outcome.broken_readers == 0, f"seed {seed}: a gap was told"
    assert not [r for r in outcome.sim.readers if r.failed], f"seed {seed}: a reader was refused"
    quiet = [node.engine.statistics() for node in history.sim.living()]
    assert not any(statistics.forward_lag for statistics in quiet), f"seed {seed}: still forwarding"
    return outcome
