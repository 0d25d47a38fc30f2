"""Wildcard names: which patterns cover a channel, and in which order they count.

A pattern is a channel name whose last segment is ``*`` (one segment more) or
``**`` (one or more). Two patterns are disjoint, or one holds the other, so
what covers a name can be listed from the name alone: one candidate a segment.
A table of patterns is a dict; matching is as many look-ups as the name has
segments, whatever the number of patterns.

Source: Bayeux 1.0, section 2.2.1; "the most specific first" as CometD has it.
"""

from __future__ import annotations

from functools import lru_cache


def is_pattern(name: str) -> bool:
    """Whether a valid channel name is a pattern."""
    return name.endswith("*")


@lru_cache(maxsize=16_384)
def covering(name: str) -> tuple[str, ...]:
    """All patterns that hold everything that `name` stands for, but itself; the narrowest first.

    For ``/a/b``: ``/a/*``, ``/a/**``, ``/**``. For ``/a/*``: ``/a/**``, ``/**``.
    """
    parent, _, last = name.rpartition("/")
    found = []
    if last == "*":
        found.append(f"{parent}/**")
    elif last != "**":
        found += (f"{parent}/*", f"{parent}/**")
    while parent:
        parent = parent.rpartition("/")[0]
        found.append(f"{parent}/**")
    return tuple(found)


def covers(pattern: str, name: str) -> bool:
    """Whether everything that `name` stands for is under `pattern`, which is another."""
    return pattern in covering(name)


def rank(name: str) -> tuple[int, int]:
    """Among names that cover one channel the greatest rank is the most specific."""
    depth = name.count("/")
    return depth, 0 if name.endswith("/**") else 1 if name.endswith("/*") else 2
