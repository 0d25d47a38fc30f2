"""What follows a reader's last entry, and what is a hole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pubsub.flow import following
from pubsub.messages import Cursor, Entry


@st.composite
def histories(draw: st.DrawFn) -> tuple[Entry, ...]:
    """One lineage: contiguous offsets, epochs that never go back."""
    epoch, made = 1, []
    for offset in range(1, draw(st.integers(2, 20))):
        epoch += draw(st.sampled_from([0, 0, 0, 1, 2]))
        made.append(Entry(epoch, offset, f"m{offset}", b"", 0.0, 0))
    return tuple(made)


@settings(deadline=None)
@given(histories(), st.data())
def test_any_runs_of_one_history_add_up_to_it(
    history: tuple[Entry, ...], data: st.DataObject
) -> None:
    """Whatever runs come, repeated or overlapping: a hole is said to be one, else all is taken."""
    got: list[Entry] = []
    last = Cursor(1, 0)
    for _ in range(12):
        start = data.draw(st.integers(0, len(history) - 1))
        end = data.draw(st.integers(start + 1, len(history)))
        run = history[start:end]
        news = following(last, run)
        if news is None:
            assert run[0].offset > last.offset + 1 or run[0].epoch > last.epoch
            continue
        assert news == tuple(e for e in run if e.offset > last.offset)
        if news:
            got.extend(news)
            last = Cursor(news[-1].epoch, news[-1].offset)
    assert tuple(got) == history[: len(got)]


def entries(*named: tuple[int, int]) -> tuple[Entry, ...]:
    return tuple(Entry(epoch, offset, "m", b"", 0.0, 0) for epoch, offset in named)


def test_what_a_deposed_home_sends_is_not_news() -> None:
    assert following(Cursor(5, 3), entries((4, 4), (4, 5))) == ()
    assert following(Cursor(5, 3), entries((4, 7))) == ()
    assert following(Cursor(5, 3), entries((4, 2), (4, 3))) == ()


def test_a_new_reign_that_does_not_continue_is_a_hole() -> None:
    assert following(Cursor(5, 3), entries((6, 1))) is None
    assert following(Cursor(5, 3), entries((6, 3))) is None
    assert following(Cursor(5, 3), entries((6, 4))) == entries((6, 4))
