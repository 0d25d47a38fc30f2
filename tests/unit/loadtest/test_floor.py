"""The floors send what they are told, to everyone, and end with their standard input."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from loadtest.floor import compile_floor, running_floors
from loadtest.swarm.control import swarm_for
from loadtest.swarm.orders import Open

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("transport", ["raw", "raw-cycle"])
def test_floors_reach_everyone(transport: str) -> None:
    with running_floors(97) as floors:
        assert len(floors) == 1 + (shutil.which("cc") is not None)
        for each in floors:
            with swarm_for(20) as swarm:
                swarm.open(Open(transport, "127.0.0.1", each.port, 20, 1, frame_bytes=97))
                before = each.cpu()
                for number in range(1, 4):
                    swarm.expect(number)
                    each.send()
                    swarm.wait_reached()
                counts = swarm.tell()
                assert (counts.fewest, counts.most) == (3, 3)
                assert counts.received_bytes == 97 * 20 * (1 + 3)
                assert each.cpu().since(before).total > 0


def test_without_a_compiler_python_is_the_floor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert compile_floor(tmp_path) is None
    with running_floors(10) as floors:
        assert [each.name for each in floors] == ["Python send() loop"]
