"""`binary`: Z85 as CometD's client makes it passes, what nobody could decode does not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_edge import Edge
from node.bayeux.extensions.binary import is_z85

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
MARK: dict[str, Any] = {"binary": {}}


def encode(data: bytes) -> str:
    """Z85 as CometD has it: a last group of n bytes is n + 1 characters."""
    text = ""
    for start in range(0, len(data), 4):
        group = data[start : start + 4]
        value = int.from_bytes(group.ljust(4, b"\0"), "big")
        digits = [DIGITS[value // 85**power % 85] for power in (4, 3, 2, 1, 0)]
        text += "".join(digits[: len(group) + 1])
    return text


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def test_the_example_of_the_specification() -> None:
    assert encode(bytes.fromhex("864FD26FB559F75B")) == "HelloWorld"
    assert is_z85("HelloWorld")


@given(st.binary(max_size=64))
def test_whatever_is_encoded_is_taken(data: bytes) -> None:
    assert is_z85(encode(data))


@given(st.text(alphabet=DIGITS[-6:] + "0nSc", min_size=5, max_size=5))
def test_a_group_is_taken_only_if_it_is_four_bytes(text: str) -> None:
    value = 0
    for digit in text:
        value = value * 85 + DIGITS.index(digit)
    assert is_z85(text) == (value < 2**32)


@pytest.mark.parametrize(
    "text",
    ["H", "HelloW", "Hell ", "Hell\u00e9", "Hell\n", "#####", "%nSc1", "%o", "%nT", "HelloWorl'"],
)
def test_what_is_no_z85_is_not_taken(text: str) -> None:
    assert not is_z85(text)


def test_a_large_one_is_checked_in_no_time() -> None:
    for text in ("%nSc0" * 200_000, "Hello" * 200_000, "Hello" * 200_000 + "'"):
        started = time.perf_counter()
        assert is_z85(text) == (not text.endswith("'"))
        assert time.perf_counter() - started < 0.5


async def test_binary_data_reaches_its_readers_marked(edge: Edge) -> None:
    reader, sender = edge.client(), edge.client()
    reader.subscribe("/a")
    data = {"data": "HelloWorld", "last": True, "meta": {"name": "x"}}
    assert sender.ask("/a", data=data, ext={**MARK, "other": 1})["successful"]
    (message,) = reader.fetch()
    assert message["data"] == data
    assert message["ext"] == MARK


async def test_only_what_is_marked_is_looked_at(edge: Edge) -> None:
    reader, sender = edge.client(), edge.client()
    reader.subscribe("/a")
    for ext in ({}, {"binary": False}, {"binary": None}, {"binary": 0}):
        assert sender.ask("/a", data={"data": "no z85"}, ext=ext)["successful"]
    assert all("ext" not in message for message in reader.fetch())
    assert sender.ask("/meta/subscribe", subscription="/b", ext=MARK)["successful"]


@pytest.mark.parametrize(
    "data", [1, "HelloWorld", [], {}, {"data": 1}, {"data": "H"}, {"data": None}]
)
@pytest.mark.parametrize("mark", [{"binary": {}}, {"binary": {"x": 1}}, {"binary": True}])
async def test_marked_data_that_is_none_is_refused(edge: Edge, data: Any, mark: Any) -> None:
    reader, sender = edge.client(), edge.client()
    reader.subscribe("/a")
    assert sender.ask("/a", data=data, ext=mark)["error"].startswith("400:/a:")
    assert reader.fetch() == []


async def test_on_service_channels_it_is_checked_too(edge: Edge) -> None:
    client = edge.client()
    assert client.ask("/service/x", data={"data": "H"}, ext=MARK)["successful"] is False
    assert client.ask("/service/x", data={"data": "HelloWorld"}, ext=MARK)["successful"] is True
