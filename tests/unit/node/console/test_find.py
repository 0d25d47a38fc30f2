"""The search: what it finds, what it refuses, and that it never says a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from console_sim import imagined_console
from dht.ids import slot_of
from node.console.find import NotFindableError, shown_name
from pubsub.sessions import address_of, session_id

SECRET = session_id("tag", b"0123456789abcdef")


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def found(console: Any, name: str) -> Any:
    status, body = await console.find(name)
    assert status == 200, body
    return json.loads(body)


async def test_a_channel(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(9, 1.0)
    it = await found(console, " /chat/lobby ")
    replicas = cluster.placement.replicas(slot_of("/chat/lobby"))
    assert (it["kind"], it["name"], it["slot"]) == (
        "channel",
        "/chat/lobby",
        slot_of("/chat/lobby"),
    )
    assert it["replicas"] == [node.hex() for node in replicas]
    assert it["home"] == replicas[0].hex()
    assert it["log"]["entries"] == 10_000
    assert it["readers"] == sum(cluster.readers["/chat/lobby"].values())
    assert it["known"]
    twigs = {twig["node"]: twig["readers"] for twig in it["tree"]["twigs"]}
    for node, readers in cluster.readers["/chat/lobby"].items():
        assert twigs[node.hex()] == readers


async def test_a_channel_that_nobody_knows(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(3, 1.0)
    cluster.branch = lambda node, name: None  # type: ignore[method-assign]
    it = await found(console, "/nobody")
    assert (it["known"], it["log"], it["readers"], it["answered"]) == (False, None, 0, True)
    assert it["tree"]["twigs"] == []


async def test_a_session_by_address(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(9, 1.0)
    address = cluster.addresses[3]
    it = await found(console, address)
    assert (it["kind"], it["name"], it["known"]) == ("session", address, True)
    assert it["edge"] == cluster.edges[address].hex()
    assert (it["transport"], it["subscriptions"]) == ("websocket", 3)


async def test_a_home_that_does_not_answer(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(9, 1.0)
    name = next(f"/c/{n}" for n in range(99) if cluster.placement.home_of(f"/c/{n}") != cluster.me)
    cluster.silent = {cluster.placement.home_of(name)}
    it = await found(console, name)
    assert (it["answered"], it["log"]) == (False, None)
    assert it["home"] == cluster.placement.home_of(name).hex()


async def test_an_id_is_found_and_not_told(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(3, 1.0)
    asked: list[Any] = []
    post = cluster.post

    def overheard(to: bytes, message: Any) -> bool:
        asked.append(message)
        return post(to, message)

    cluster.post = overheard  # type: ignore[method-assign]
    _, body = await console.find(SECRET)
    it = json.loads(body)
    assert (it["name"], it["known"], it["edge"]) == (address_of(SECRET), False, "")
    assert SECRET.encode() not in body
    assert asked
    assert all(question.names == (address_of(SECRET),) for question in asked)


@pytest.mark.parametrize(
    "name",
    ["", "x", "chat", "/", "//", "/a/", "/meta/connect", "/service/x", "/a b", "/a/../b",
     "/" + "x" * 600, SECRET + "A", SECRET[:-1] + "B", "tag.short", "<script>", "\x00"],
)  # fmt: skip
async def test_what_cannot_be_a_name_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(NotFindableError) as refused:
        shown_name(name)
    assert refused.value.status == 400
    _, console = imagined_console(1, 1.0)
    status, body = await console.find(name)
    assert status == 400
    if len(name) > 2:
        assert name.encode() not in body


def test_what_can_be_a_name() -> None:
    assert shown_name("/a/*") == "/a/*"
    assert shown_name("/a/**") == "/a/**"
    assert shown_name(address_of(SECRET)) == address_of(SECRET)


async def test_without_a_ring(autojump_clock: MockClock) -> None:
    cluster, console = imagined_console(3, 1.0)
    cluster.placement = None  # type: ignore[assignment]
    status, body = await console.find("/a")
    assert status == 503
    assert json.loads(body)["error"]["retry"] is True
    await trio.lowlevel.checkpoint()
