"""Bodies in, payloads out: only RemoteProtocolError escapes, and JSON stays JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.bayeux.messages import (
    ClientMessage,
    connect_reply,
    decode_batch,
    delivery,
    error_reply,
    reply,
)
from node.errors import RemoteProtocolError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_400(body: bytes) -> None:
    status = None
    try:
        decode_batch(body)
    except RemoteProtocolError as error:
        status = error.status
    assert status in {None, 400}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[1]",
        b"null",
        b'"x"',
        b'[{"channel":1}]',
        b'[{"channel":"/a","data":"\xff"}]',
        b'[{"channel":"/a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b'[{"channel":"/a","id":"' + b"x" * 300 + b'"}]',
        b'[{"channel":"/a"}',
        b'[{"channel":"/a","data":nan}]',
    ],
)
def test_what_is_no_batch(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_batch(body)


def test_a_single_object_is_a_batch_of_one() -> None:
    (message,) = decode_batch(b' {"channel":"/a","id":7}')
    assert message.channel == "/a"
    assert bytes(message.id) == b"7"


@given(values, st.text(), st.text())
def test_delivery_carries_the_data_on_one_line(data: object, message_id: str, sender: str) -> None:
    raw = json.dumps(data, indent=1).encode()
    payload = delivery("/a/b", raw, message_id, {"from": sender} if sender else {})
    assert b"\n" not in payload
    assert b"\r" not in payload
    told = json.loads(payload)
    assert told["channel"] == "/a/b"
    assert told["data"] == data
    assert told["id"] == message_id
    assert told.get("ext") == ({"from": sender} if sender else None)


@given(st.text(), st.text())
def test_error_replies_are_json_whatever_the_client_sent(channel: str, text: str) -> None:
    message = ClientMessage(channel=channel, subscription=text)
    told = json.loads(error_reply(message, 403, text, "no", b'{"reconnect":"none"}'))
    assert told["successful"] is False
    assert told["error"] == f"403:{text}:no"
    assert told["subscription"] == text
    assert "id" not in told


def test_replies_echo_the_id_as_it_was() -> None:
    (message,) = decode_batch(b'[{"channel":"/meta/subscribe","id":"x1"}]')
    assert json.loads(reply(message, b""))["id"] == "x1"
    assert json.loads(connect_reply(b"12"))["id"] == 12
    assert "id" not in json.loads(connect_reply(b""))
