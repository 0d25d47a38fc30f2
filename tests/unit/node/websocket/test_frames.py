from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from node.websocket import frames
from node.websocket.frames import close_frame, quick_pong, quick_text, text_frame, unmask
from ws_bytes import BINARY, PONG, TEXT, frame


def client_reads(data: bytes) -> object:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    return next(iter(client.events()))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_text_frames_of_every_size(size: int) -> None:
    data = text_frame(b"x" * size)
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    got = "".join(event.data for event in client.events() if isinstance(event, TextMessage))
    assert got == "x" * size


@pytest.mark.parametrize(
    ("reason", "told"), [("", ""), ("bye", "bye"), ("x" * 200, "x" * 123), ("é" * 100, "é" * 61)]
)
def test_close_frames(reason: str, told: str) -> None:
    event = client_reads(close_frame(4001, reason))
    assert isinstance(event, CloseConnection)
    assert (event.code, event.reason or "") == (4001, told)


@settings(deadline=None)
@given(st.binary(max_size=70_000), st.binary(min_size=4, max_size=4))
def test_unmask(payload: bytes, mask: bytes) -> None:
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    assert unmask(b"??" + mask + masked + b"??", 6, len(payload)) == payload


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=10), st.binary(max_size=10))
def test_a_whole_text_frame_is_quick(payload: bytes, before: bytes, after: bytes) -> None:
    data = before + frame(TEXT, payload) + after
    found = quick_text(data, len(before))
    assert found is not None
    start, stop = found
    assert unmask(data, start, stop - start) == payload
    assert data[stop:] == after


@pytest.mark.parametrize("size", [0, 5, 125, 126, 300])
def test_a_part_of_one_is_not(size: int) -> None:
    data = frame(TEXT, b"x" * size)
    for end in range(len(data)):
        assert quick_text(data[:end], 0) is None
    assert quick_text(data, 0) is not None


@pytest.mark.parametrize(
    "data",
    [
        frame(TEXT, b"x" * 10, masked=False),
        frame(TEXT, b"x" * 10, fin=False),
        frame(TEXT, b"x" * 10, rsv=4),
        frame(BINARY, b"x" * 10),
        frame(TEXT, b"x" * 70_000),
        b"\x81\xfe\x00\x05" + b"x" * 9,  # a length in two bytes that fits in one
    ],
)
def test_what_is_unusual_is_not_quick(data: bytes) -> None:
    assert quick_text(data, 0) is None


@pytest.mark.parametrize("size", [0, 1, 125])
def test_a_whole_pong_is_quick(size: int) -> None:
    data = frame(PONG, b"x" * size)
    assert quick_pong(b"?" + data + b"?", 1) == 1 + len(data)
    for end in range(len(data)):
        assert quick_pong(data[:end], 0) == 0


@pytest.mark.parametrize(
    "data",
    [
        frame(PONG, b"x" * 126) + b"x" * 100,
        frame(PONG, b"x" * 20, masked=False),
        frame(PONG, b"x" * 20, fin=False),
        frame(TEXT, b"x" * 20),
        b"\x8a\xff" + b"x" * 200,
    ],
)
def test_other_pongs_are_not(data: bytes) -> None:
    assert quick_pong(data, 0) == 0


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
@pytest.mark.parametrize("masked", [True, False])
def test_headers(size: int, masked: bool) -> None:
    data = b"??" + frame(TEXT, b"x" * size, masked=masked)
    header = len(data) - 2 - size
    assert frames.header_size(data, 2) == header
    assert frames.payload_size(data, 2) == size
    for end in range(2, 2 + header):
        assert not frames.has_header(data[:end], 2)
    assert frames.has_header(data[: 2 + header], 2)
