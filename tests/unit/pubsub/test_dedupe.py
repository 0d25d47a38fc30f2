"""Windows of message ids."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pubsub.dedupe import Window
from pubsub.messages import Cursor

OPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 20)),
        st.tuples(st.just("turn"), st.just(0)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(OPS)
def test_an_id_is_found_for_one_turn_at_least_and_two_at_most(ops: list[tuple[str, int]]) -> None:
    window: Window[int] = Window(0.0)
    turns = 0
    put_at: dict[int, int] = {}
    for index, (what, key) in enumerate(ops):
        if what == "put":
            window.put(key, Cursor(1, index))
            put_at[key] = turns
        else:
            before = len(window)
            gone = window.turn(float(index))
            turns += 1
            assert len(window) == before - gone
        for known, turn in put_at.items():
            found = window.get(known) is not None
            assert found == (turns - turn <= 1)
    assert sorted(key for key, _ in window.items()) == sorted(
        [key for key, turn in put_at.items() if turns - turn <= 1]
        # a key that was put in both generations stands in both
        + [k for k in put_at if k in window._previous and k in window._current]
    )


def test_items_are_oldest_first_and_fresh_ones_are_counted() -> None:
    window: Window[str] = Window(0.0)
    window.put("a", Cursor(1, 1))
    window.turn(5.0)
    window.put("b", Cursor(1, 2))
    assert [key for key, _ in window.items()] == ["a", "b"]
    assert window.fresh == 1
    assert len(window) == 2


def test_it_is_due_a_period_after_its_last_turn() -> None:
    window: Window[str] = Window(10.0)
    assert not window.due(14.9, 5.0)
    assert window.due(15.0, 5.0)
    window.turn(15.0)
    assert not window.due(19.0, 5.0)
