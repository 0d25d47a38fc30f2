from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pubsub.wildcards import covering, covers, is_pattern, rank

SEGMENTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)
CHANNELS = SEGMENTS.map(lambda parts: "/" + "/".join(parts))
PATTERNS = st.builds(
    lambda parts, tail: "".join(f"/{part}" for part in parts) + tail,
    st.lists(st.sampled_from("abc"), max_size=3),
    st.sampled_from(["/*", "/**"]),
)


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        ("/a", ("/*", "/**")),
        ("/a/b", ("/a/*", "/a/**", "/**")),
        ("/a/b/c", ("/a/b/*", "/a/b/**", "/a/**", "/**")),
        ("/*", ("/**",)),
        ("/**", ()),
        ("/a/*", ("/a/**", "/**")),
        ("/a/**", ("/**",)),
    ],
)
def test_what_covers_a_name_the_narrowest_first(name: str, patterns: tuple[str, ...]) -> None:
    assert covering(name) == patterns


def test_a_pattern_does_not_cover_what_it_hangs_from() -> None:
    assert not covers("/foo/**", "/foo")
    assert not covers("/foo/*", "/foo")


def matches(pattern: str, channel: str) -> bool:
    """The same, said with a regular expression."""
    head, _, tail = pattern.rpartition("/")
    segment = "[^/]+"
    rest = segment if tail == "*" else f"{segment}(/{segment})*"
    return re.fullmatch(re.escape(head) + "/" + rest, channel) is not None


@given(PATTERNS, CHANNELS)
def test_it_covers_what_a_regular_expression_matches(pattern: str, channel: str) -> None:
    assert covers(pattern, channel) == matches(pattern, channel)


@given(PATTERNS, PATTERNS, CHANNELS)
def test_patterns_are_disjoint_or_one_holds_the_other(one: str, two: str, channel: str) -> None:
    if covers(one, two):
        assert covers(one, channel) or not covers(two, channel)
    elif one != two and not covers(two, one):
        assert not (covers(one, channel) and covers(two, channel))


@given(CHANNELS)
def test_ranks_follow_the_order(channel: str) -> None:
    found = [rank(channel), *map(rank, covering(channel))]
    assert found == sorted(found, reverse=True)
    assert not is_pattern(channel)
    assert all(map(is_pattern, covering(channel)))
