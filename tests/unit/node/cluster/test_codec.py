from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from message_strategies import ALL_MESSAGES, UNHURRIED, messages, struct
from node.cluster.codec import MAX_BATCH, Encoder, decode_batch, decode_stranger, join_batch
from node.cluster.messages import Bye, Ping
from node.errors import LocalProtocolError, RemoteProtocolError


def by_the_package(message: msgspec.Struct) -> bytes:
    """What the ``msgpack`` package writes for a message."""
    plain = msgspec.to_builtins(message, builtin_types=(bytes,))
    return bytes(msgpack.packb(plain, use_bin_type=True))


def test_tags_tell_all_messages_apart() -> None:
    tags = [kind.__struct_config__.tag for kind in ALL_MESSAGES]
    assert len(set(tags)) == len(tags) > 30
    assert all(isinstance(tag, int) and 0 < tag < 128 for tag in tags)


@UNHURRIED
@given(messages)
def test_both_implementations_write_the_same_bytes(message: msgspec.Struct) -> None:
    data = Encoder().encode(message)
    assert data == by_the_package(message)
    assert msgpack.unpackb(data, raw=False) == msgpack.unpackb(by_the_package(message), raw=False)
    assert decode_batch(join_batch([data])) == [message]


@pytest.mark.parametrize("kind", ALL_MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_survives_the_wire(kind: type[msgspec.Struct]) -> None:
    @settings(UNHURRIED, max_examples=20)
    @given(struct(kind))
    def survives(message: msgspec.Struct) -> None:
        (back,) = decode_batch(join_batch([by_the_package(message)]))
        assert type(back) is kind
        assert back == message

    survives()


@UNHURRIED
@given(st.lists(messages, max_size=40))
def test_a_batch_keeps_order(batch: list[Any]) -> None:
    encoder = Encoder()
    assert decode_batch(join_batch([encoder.encode(each) for each in batch])) == batch


def test_a_message_for_many_is_encoded_once() -> None:
    encoder, message = Encoder(), Bye("now")
    assert encoder.encode(message) is encoder.encode(message)
    assert encoder.encode(Bye("then")) != encoder.encode(message)


@UNHURRIED
@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else(noise: bytes) -> None:
    with suppress(RemoteProtocolError):
        decode_batch(noise)


@UNHURRIED
@given(st.lists(messages, min_size=1, max_size=5), st.data())
def test_damaged_batches_are_refused_or_mean_something(batch: list[Any], data: Any) -> None:
    whole = bytearray(join_batch([Encoder().encode(each) for each in batch]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        try:
            decoded = decode_batch(damaged)
        except RemoteProtocolError:
            continue
        assert all(type(each) in ALL_MESSAGES for each in decoded)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc0",
        b"\x80",
        b"\xdc",
        b"\xdc\x00",
        b"\xdd\x00\x00\x00\x01\x92\x78\xcb" + bytes(8),  # an array header that we never write
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x91\x93\x78\xcb" + bytes(8) + b"\x91" * 100_000,  # depth where no type looks
        b"\x91\x92\x7a\xa2\xff\xfe",  # a reason that is not UTF-8
        b"\x91\x92\x7f\x01",  # a tag that nobody has
        b"\x91\x92\x78\xa1x",
        join_batch([Encoder().encode(Ping(1.0))]) + b"\x00",
    ],
)
def test_malformed_batches(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"malformed|too many") as caught:
        decode_batch(payload)
    assert caught.value.code == "malformed"


def test_a_batch_has_a_bound() -> None:
    ping = Encoder().encode(Ping(1.0))
    assert len(decode_batch(join_batch([ping] * MAX_BATCH))) == MAX_BATCH
    with pytest.raises(LocalProtocolError):
        join_batch([ping] * (MAX_BATCH + 1))
    header = b"\xdc" + (MAX_BATCH + 1).to_bytes(2, "big")
    with pytest.raises(RemoteProtocolError, match="too many"):
        decode_batch(header + ping * (MAX_BATCH + 1))


class Pair(msgspec.Struct, array_like=True):
    name: str
    data: bytes


@UNHURRIED
@given(st.binary(max_size=100))
def test_strangers_get_one_error(noise: bytes) -> None:
    with suppress(RemoteProtocolError):
        decode_stranger(noise, Pair)


def test_strangers_are_understood_within_limits() -> None:
    assert decode_stranger(msgpack.packb(["a", b"b"]), Pair) == Pair("a", b"b")
    assert decode_stranger(msgspec.msgpack.encode(Pair("a" * 300, b"b")), Pair).name == "a" * 300


@pytest.mark.parametrize(
    "value",
    [
        ["a" * 301, b""],
        ["", b"b" * 1025],
        ["", b"", *range(15)],
        {"name": "a"},
        ["a", {}],
        ["a", 1],
        ["a"],
        [[[[]]]],
        msgpack.ExtType(5, b"x"),
        ["a", msgpack.Timestamp(1)],
    ],
)
def test_strangers_are_held_to_them(value: object) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^malformed frame$"):  # not a byte of theirs
        decode_stranger(msgpack.packb(value), Pair)


def test_depth_does_not_hurt() -> None:
    with pytest.raises(RemoteProtocolError):
        decode_stranger(b"\x91" * 1000, Pair)
