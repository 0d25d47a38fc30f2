"""Session ids, addresses, and who takes which for which."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.ids import slot_of
from pubsub.sessions import address_for, address_of, parse_secret, session_id

TAGS = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
SECRETS = st.binary(min_size=16, max_size=16)


@settings(deadline=None)
@given(TAGS, SECRETS)
def test_an_id_leads_to_its_address_and_an_address_to_itself(tag: str, secret: bytes) -> None:
    session = session_id(tag, secret)
    address = address_of(session)
    assert parse_secret(session) == address == address_for(session) == address_for(address)
    assert parse_secret(address) is None
    assert len(session) == len(tag) + 23
    assert len(address) == len(tag) + 21
    assert address.startswith(tag + ".")
    assert slot_of(session) == slot_of(address) == slot_of(tag)


@settings(deadline=None)
@given(TAGS, SECRETS, SECRETS)
def test_another_secret_is_another_address(tag: str, one: bytes, two: bytes) -> None:
    same = address_of(session_id(tag, one)) == address_of(session_id(tag, two))
    assert same == (one == two)


@settings(deadline=None)
@given(TAGS, SECRETS)
def test_the_address_does_not_show_the_secret(tag: str, secret: bytes) -> None:
    session = session_id(tag, secret)
    assert session.partition(".")[2][:20] not in address_of(session)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_secret_has_sixteen_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        session_id("tag", bytes(size))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_anything_else_is_neither(text: str) -> None:
    known = address_for(text)
    assert known is None or text.count(".") == 1
    assert parse_secret(text) in {None, known}


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "tag",
        "/chat/room",
        "tag." + "a" * 19,
        "tag." + "a" * 21,
        "tag." + "a" * 23,
        "tag." + "a" * 21 + "B",  # sixteen bytes never end in B
        "." + "a" * 20,
        "t/g." + "a" * 20,
        "t.g." + "a" * 20,
        "tag." + "a" * 20 + "\n",
        "tag." + "ä" * 20,
        "x" * 33 + "." + "a" * 20,
    ],
)
def test_near_misses_are_neither(name: str) -> None:
    assert address_for(name) is None
    assert parse_secret(name) is None
