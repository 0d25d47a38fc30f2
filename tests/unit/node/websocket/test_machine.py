from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from node.errors import RemoteProtocolError
from node.websocket.machine import FrameMachine
from ws_bytes import BINARY, CONTINUATION, PING, TEXT, close, frame

LIMIT = 1000


def run(data: bytes, cuts: list[int] | None = None) -> tuple[FrameMachine, list[Event]]:
    """Feed `data` as a connection does: what is not read comes again with the next piece."""
    machine = FrameMachine(LIMIT)
    events: list[Event] = []
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts or [])})
    left = b""
    for start, end in pairwise(bounds):
        piece = left + data[start:end]
        pos = 0
        while pos < len(piece):
            moved, more = machine.feed(piece, pos)
            events += more
            if moved == pos:
                break
            pos = moved
        left = piece[pos:]
    return machine, events


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=20), min_size=1, max_size=4),
    st.lists(st.integers(0, 1000), max_size=8),
    st.booleans(),
)
def test_fragments_however_they_come(parts: list[str], cuts: list[int], pinged: bool) -> None:
    data = b""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        data += frame(CONTINUATION if index else TEXT, part.encode(), fin=last)
        if pinged and not last:
            data += frame(PING, b"p")
    machine, events = run(data, cuts)
    assert [event.data for event in events if isinstance(event, TextMessage)] == ["".join(parts)]
    assert sum(isinstance(event, Ping) for event in events) == (len(parts) - 1) * pinged
    assert machine.idle


def test_it_is_not_idle_within_a_message() -> None:
    machine, _ = run(frame(TEXT, b"a", fin=False))
    assert not machine.idle
    machine, _ = run(frame(TEXT, b"abc")[:-1])
    assert not machine.idle
    machine, _ = run(frame(TEXT, b"", fin=False))
    assert not machine.idle


def test_binary() -> None:
    _, events = run(frame(BINARY, b"a\xff", fin=False) + frame(CONTINUATION, b"b"))
    assert isinstance(events[0], BytesMessage)
    assert events[0].data == b"a\xffb"


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"x" * (LIMIT + 1))[:10],
        frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x")[:6],
        frame(BINARY, b"x" * (1 << 17))[:14],
    ],
)
def test_too_big_is_refused_before_it_comes(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        run(data)
    assert refused.value.status == 413


def test_the_limit_is_per_message() -> None:
    _, events = run(frame(TEXT, b"x" * LIMIT) * 3)
    assert [len(event.data) for event in events if isinstance(event, TextMessage)] == [LIMIT] * 3


def test_an_extension_may_not_inflate_beyond_the_limit() -> None:
    machine = FrameMachine(LIMIT)
    with pytest.raises(RemoteProtocolError):
        machine._collect(TextMessage(data="x" * (LIMIT + 1)))


def test_a_proper_close_and_a_complaint() -> None:
    machine, events = run(close(4000, b"bye"))
    assert machine.closed_by_peer
    assert isinstance(events[0], CloseConnection)
    assert machine.answer(events[0].response()) == b"\x88\x05\x0f\xa0bye"
    machine, events = run(frame(TEXT, b"x", masked=False))
    assert not machine.closed_by_peer
    assert isinstance(events[0], CloseConnection)
    assert events[0].code == 1002
