from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from message_strategies import UNHURRIED
from node.cluster.frames import (
    LENGTH_BYTES,
    MAC_BYTES,
    MAX_FRAME,
    MAX_GREETING,
    FrameBuffer,
    Opener,
    Sealer,
    frame,
)
from node.errors import LocalProtocolError, RemoteProtocolError

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def frames_of(buffer: FrameBuffer) -> list[bytes]:
    found = []
    while (each := buffer.next_frame()) is not None:
        found.append(each)
    return found


@UNHURRIED
@given(st.lists(st.binary(max_size=60), max_size=8), st.data())
def test_frames_come_out_however_the_bytes_came_in(payloads: list[bytes], data: Any) -> None:
    stream = b"".join(map(frame, payloads))
    buffer, found = FrameBuffer(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:cut])
        stream = stream[cut:]
        found += frames_of(buffer)
    assert found == payloads


@UNHURRIED
@given(st.integers(MAX_GREETING + 1, 2**32 - 1))
def test_a_long_frame_is_refused_before_its_bytes_come(length: int) -> None:
    buffer = FrameBuffer()
    buffer.feed(length.to_bytes(LENGTH_BYTES, "big"))
    with pytest.raises(RemoteProtocolError) as caught:
        buffer.next_frame()
    assert caught.value.code == "too_large"


def test_the_limit_holds_for_the_next_frame_on() -> None:
    buffer = FrameBuffer()
    buffer.feed(frame(b"small") + (2_000).to_bytes(4, "big") + bytes(2_000))
    assert buffer.next_frame() == b"small"
    buffer.limit = MAX_FRAME
    assert buffer.next_frame() == bytes(2_000)
    assert buffer.next_frame() is None


def test_a_greeting_of_ours_is_never_too_long() -> None:
    assert len(frame(bytes(MAX_GREETING))) == MAX_GREETING + LENGTH_BYTES
    with pytest.raises(LocalProtocolError):
        frame(bytes(MAX_GREETING + 1))


@UNHURRIED
@given(st.lists(st.binary(max_size=100), max_size=6))
def test_sealed_frames_open_in_order(payloads: list[bytes]) -> None:
    sealer, opener, buffer = Sealer(KEY), Opener(KEY), FrameBuffer(MAX_FRAME)
    for payload in payloads:
        buffer.feed(sealer.seal(payload))
    assert [opener.open(sealed) for sealed in frames_of(buffer)] == payloads


@UNHURRIED
@given(st.binary(max_size=100), st.data())
def test_any_change_is_noticed(payload: bytes, data: Any) -> None:
    sealed = bytearray(Sealer(KEY).seal(payload)[LENGTH_BYTES:])
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteProtocolError) as caught:
        Opener(KEY).open(bytes(sealed))
    assert caught.value.code == "forged"


@UNHURRIED
@given(st.binary(max_size=MAC_BYTES + 20))
def test_noise_is_forged(noise: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Opener(KEY).open(noise)


def test_replayed_reordered_dropped_and_foreign_frames_are_forged() -> None:
    sealer = Sealer(KEY)
    first, second = (sealer.seal(each)[LENGTH_BYTES:] for each in (b"first", b"second"))
    opener = Opener(KEY)
    assert opener.open(first) == b"first"
    for sequence in ([first, first], [second], [second, first]):
        with pytest.raises(RemoteProtocolError):
            list(map(Opener(KEY).open, sequence))
    with pytest.raises(RemoteProtocolError):
        Opener(OTHER).open(first)


def test_equal_payloads_are_sealed_differently() -> None:
    sealer = Sealer(KEY)
    assert sealer.seal(b"same") != sealer.seal(b"same")


def test_a_frame_of_ours_has_a_bound() -> None:
    assert len(Sealer(KEY).seal(bytes(MAX_FRAME - MAC_BYTES))) == MAX_FRAME + LENGTH_BYTES
    with pytest.raises(LocalProtocolError):
        Sealer(KEY).seal(bytes(MAX_FRAME - MAC_BYTES + 1))
