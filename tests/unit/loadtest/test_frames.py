"""WebSocket frames, against wsproto as the other side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, TextMessage

from loadtest.swarm.frames import (
    CLOSE,
    PING,
    TEXT,
    BadFrame,
    client_frame,
    is_one_text_frame,
    masked,
    split_frame,
)

SIZES = [0, 1, 124, 125, 126, 127, 1_000, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_our_frames(size: int) -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(client_frame(b"x" * size, b"\x01\x02\x03\x04"))
    text = "".join(e.data for e in server.events() if isinstance(e, TextMessage))
    assert text == "x" * size


@pytest.mark.parametrize("size", SIZES)
def test_we_read_a_server_s_frames(size: int) -> None:
    frame = Connection(ConnectionType.SERVER).send(TextMessage("y" * size))
    assert split_frame(frame + b"rest") == (TEXT, b"y" * size, len(frame))
    assert is_one_text_frame(frame) == (size < 65_536)


@pytest.mark.parametrize("size", [0, 125, 126, 70_000])
def test_an_incomplete_frame_is_not_read(size: int) -> None:
    frame = Connection(ConnectionType.SERVER).send(TextMessage("y" * size))
    for cut in {0, 1, 2, 3, 4, 9, 10, len(frame) - 1} - {len(frame)}:
        if cut < len(frame):
            assert split_frame(frame[:cut]) is None
            assert not is_one_text_frame(frame[:cut])


def test_two_frames_are_not_one() -> None:
    frame = Connection(ConnectionType.SERVER).send(TextMessage("hello"))
    assert not is_one_text_frame(frame + frame)


def test_control_frames_keep_their_kind() -> None:
    server = Connection(ConnectionType.SERVER)
    ping = server.send(Ping(b"abc"))
    assert split_frame(ping) == (PING, b"abc", len(ping))
    assert not is_one_text_frame(ping)
    opcode, payload, _ = split_frame(b"\x88\x02\x03\xe8") or (0, b"", 0)
    assert (opcode, payload) == (CLOSE, b"\x03\xe8")


@pytest.mark.parametrize("data", [b"\x01\x00", b"\xc1\x00", b"\x81\x80\0\0\0\0"])
def test_fragments_compression_and_masks_are_faults(data: bytes) -> None:
    with pytest.raises(BadFrame):
        split_frame(data)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_twice_changes_nothing(payload: bytes, mask: bytes) -> None:
    assert masked(masked(payload, mask), mask) == payload
    assert masked(payload, mask) == bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
