from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cluster.recovery import Situation, is_proven, prove

HERE = Situation("aa" * 20, 7, "bb" * 16, 12, "cc" * 8)


def test_a_proof_is_good_under_any_secret_that_the_node_holds() -> None:
    proof = prove(b"old", HERE)
    assert is_proven(proof, [b"new", b"old"], HERE)
    assert not is_proven(proof, [b"new"], HERE)
    assert "old" not in proof


@pytest.mark.parametrize(
    "change",
    [{"node": "ab" * 20}, {"incarnation": 8}, {"ring": ""}, {"view": 13}, {"digest": "dd" * 8}],
)
def test_it_is_good_for_one_node_and_one_view(change: dict[str, object]) -> None:
    elsewhere = msgspec.structs.replace(HERE, **change)
    assert not is_proven(prove(b"secret", HERE), [b"secret"], elsewhere)


@given(st.text())
def test_nothing_else_will_do(text: str) -> None:
    assert not is_proven(text, [b"secret"], HERE)
