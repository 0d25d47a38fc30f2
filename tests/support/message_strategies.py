"""Hypothesis strategies for every message that nodes exchange, from the types themselves."""

from __future__ import annotations

import enum
import types
import typing
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from node.cluster.codec import LINK_MESSAGES, NODE_MESSAGES, PUBSUB_MESSAGES, RING_MESSAGES

ALL_MESSAGES = sorted(
    RING_MESSAGES | PUBSUB_MESSAGES | NODE_MESSAGES | LINK_MESSAGES, key=lambda kind: kind.__name__
)

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For machines that do other things as well."""

_INTS = st.integers(-(2**63), 2**64 - 1)
_FLOATS = st.floats(allow_nan=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        lengths = [note for note in args[1:] if isinstance(note, msgspec.Meta)]
        assert args[0] is bytes
        return st.binary(min_size=lengths[0].min_length or 0, max_size=lengths[0].max_length)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([of(each) for each in args])
    if origin is dict:
        return st.dictionaries(*map(of, args), max_size=2)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return st.lists(of(args[0]), max_size=2).map(tuple)
        return st.tuples(*map(of, args))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: _INTS,
        float: _FLOATS,
        str: _TEXT,
        bytes: st.binary(max_size=60),
        type(None): st.none(),
    }
    if kind in simple:
        return simple[kind]
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    return struct(kind)


def struct(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Instances of one message type."""
    hints = get_type_hints(kind, include_extras=True)
    fields = {name: of(hints[name]) for name in kind.__struct_fields__}
    return st.builds(kind, **fields)


messages = st.sampled_from(ALL_MESSAGES).flatmap(struct)
