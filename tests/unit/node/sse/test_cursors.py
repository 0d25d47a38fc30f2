from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.sse.cursors import Position, entry_id, parse_id, position_id
from pubsub.messages import Cursor, Entry

SESSION = "abcde." + "A" * 22
CURSORS = st.builds(Cursor, st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1))


def test_one_channel() -> None:
    entry = Entry(5, 1207, "id", b"{}", 0.0, 0)
    assert entry_id(entry) == b"5:1207"
    assert parse_id("5:1207", 1) == Position("", (Cursor(5, 1207),))


@given(st.lists(CURSORS, max_size=10))
def test_positions_come_back(cursors: list[Cursor]) -> None:
    channels = [f"/{number}" for number in range(len(cursors))]
    text = position_id(SESSION, channels, dict(zip(channels, cursors, strict=True))).decode()
    assert parse_id(text, len(channels)) == Position(SESSION, tuple(cursors))


def test_an_id_of_another_request_names_the_session_only() -> None:
    text = position_id(SESSION, ["/a", "/b"], {"/a": Cursor(1, 2)}).decode()
    assert text == f"{SESSION} 1:2 0:0"
    assert parse_id(text, 3) == Position(SESSION)
    assert parse_id("1:2", 2) == Position()


@pytest.mark.parametrize(
    "text", ["", " ", "x", "1:", ":1", "1:2:3", "-1:2", "1:x", "1" * 20 + ":1"]
)
def test_what_is_not_ours_says_nothing(text: str) -> None:
    assert parse_id(text, 1).cursors == ()


@given(st.text(), st.integers(0, 5))
def test_anything_is_read(text: str, channels: int) -> None:
    assert len(parse_id(text, channels).cursors) in {0, channels}
