"""The bodies that the swarm sends are Bayeux, and refusals are not overlooked."""

from __future__ import annotations

import json

import pytest

from loadtest.swarm import bayeux


def test_requests_are_bayeux() -> None:
    (handshake,) = json.loads(bayeux.HANDSHAKE)
    assert handshake["channel"] == "/meta/handshake"
    (subscribe,) = json.loads(bayeux.subscribe("c1", "/bench/room"))
    assert (subscribe["clientId"], subscribe["subscription"]) == ("c1", "/bench/room")


@pytest.mark.parametrize("timeout", [None, 0])
def test_connect_carries_its_turn_and_timeout(timeout: int | None) -> None:
    prefix = bayeux.connect_prefix("c1", "long-polling", timeout)
    (connect,) = json.loads(bayeux.connect(prefix, 17))
    assert connect["id"] == "17"
    assert connect["connectionType"] == "long-polling"
    assert connect.get("advice") == (None if timeout is None else {"timeout": 0})


def test_the_reply_is_found_among_others() -> None:
    body = b'[{"channel":"/x","data":1},{"channel":"/meta/connect","successful":true}]'
    assert bayeux.reply_to("/meta/connect", body).successful


def test_a_single_object_is_a_body_too() -> None:
    assert bayeux.reply_to("/meta/handshake", b'{"channel":"/meta/handshake"}').successful


@pytest.mark.parametrize(
    "body",
    [
        b'[{"channel":"/meta/connect","successful":false,"error":"402::session_unknown"}]',
        b'[{"channel":"/meta/subscribe","successful":true}]',
        b"[]",
        b"nonsense",
        b"",
    ],
)
def test_refusals_and_nonsense_are_faults(body: bytes) -> None:
    with pytest.raises(bayeux.Refused):
        bayeux.reply_to("/meta/connect", body)
