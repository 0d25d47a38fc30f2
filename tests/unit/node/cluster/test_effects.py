from __future__ import annotations

import pytest

from dht.effects import Departed, Dial, Effect
from node.cluster.effects import EffectQueue
from node.errors import LocalProtocolError


def test_consequences_come_after_what_was_there_before() -> None:
    done: list[str] = []

    def perform(effect: Dial) -> None:
        done.append(effect.address)
        if effect.address == "a":
            assert queue.busy
            queue.perform([Dial("a1"), Dial("a2")])
            assert done == ["a"]

    queue = EffectQueue({Dial: perform})
    queue.perform([Dial("a"), Dial("b")])
    assert done == ["a", "b", "a1", "a2"]
    assert not queue.busy


def test_what_nobody_performs_is_our_mistake() -> None:
    queue = EffectQueue({Dial: lambda _: None})
    for unknown in (Departed(), Effect()):
        with pytest.raises(LocalProtocolError, match=type(unknown).__name__):
            queue.perform([unknown])
        assert not queue.busy
