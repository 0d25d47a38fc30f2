"""Patterns at an edge: one copy a message, whichever subscriptions cover it."""

from __future__ import annotations

from typing import Any

import pytest

from local_edge import Client, Edge, FakeSocket
from node.overlaps import Overlaps
from pubsub.messages import Cursor, Entry, Source

PATTERNS = ["/a/*", "/a/**", "/**"]


def reader(edge: Edge, *names: str) -> Client:
    client = edge.client()
    for name in names:
        client.subscribe(name)
    return client


def data(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["data"] for message in messages]


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_a_pattern_brings_what_it_covers(pattern: str) -> None:
    edge = Edge()
    client = reader(edge, pattern)
    for channel in ("/a/b", "/a/b/c", "/b", "/a"):
        edge.publish(channel, channel)
    expected = {
        "/a/*": ["/a/b"],
        "/a/**": ["/a/b", "/a/b/c"],
        "/**": ["/a/b", "/a/b/c", "/b", "/a"],
    }
    messages = client.fetch()
    assert data(messages) == expected[pattern]
    assert [m["channel"] for m in messages] == expected[pattern], "their own channel's name"


@pytest.mark.parametrize(
    "names",
    [
        ("/a/b", "/a/*"),
        ("/a/*", "/a/b"),
        ("/a/*", "/a/**", "/**"),
        ("/**", "/a/**", "/a/*", "/a/b"),
        ("/a/b", "/**", "/a/*"),
    ],
)
@pytest.mark.parametrize("socketed", [False, True])
async def test_one_copy_under_overlapping_subscriptions(
    names: tuple[str, ...], socketed: bool
) -> None:
    edge = Edge()
    socket = FakeSocket() if socketed else None
    client = Client(edge).handshake(socket)
    for name in names:
        assert client.ask("/meta/subscribe", socket, subscription=name)["successful"]
    before = 0
    if socket is not None:
        edge.post([client.connect_message("websocket")], socket)
        before = len(socket.messages)
    for number in range(5):
        edge.publish("/a/b", number)
        edge.flush()
    got = client.fetch() if socket is None else socket.messages[before:]
    assert data(got) == [0, 1, 2, 3, 4]


async def test_each_of_a_patterns_channels_has_its_own_best() -> None:
    edge = Edge()
    client = reader(edge, "/a/**", "/a/b")
    for channel in ("/a/b", "/a/c", "/a/b/c", "/a/b"):
        edge.publish(channel, channel)
    assert sorted(data(client.fetch())) == ["/a/b", "/a/b", "/a/b/c", "/a/c"]


async def test_a_held_poll_gets_one_copy() -> None:
    edge = Edge()
    client = reader(edge, "/a/*", "/a/b", "/a/**")
    poll = client.poll()
    edge.publish("/a/b", 1)
    edge.flush()
    assert data([m for m in poll.body if "data" in m]) == [1]
    assert client.fetch() == []


async def test_subscriptions_that_come_and_go_lose_nothing_and_repeat_nothing() -> None:
    edge = Edge()
    client = reader(edge, "/a/**")
    got: list[int] = []
    number = 0

    def publish(count: int) -> None:
        nonlocal number
        for _ in range(count):
            edge.publish("/a/b", number)
            number += 1

    def change(verb: str, name: str) -> None:
        publish(2)
        messages = edge.request(
            {"channel": f"/meta/{verb}", "clientId": client.id, "subscription": name}
        )
        assert messages[0]["successful"]
        got.extend(data(messages[1:]))
        publish(2)
        got.extend(data(client.fetch()))
        publish(1)

    for verb, name in [
        ("subscribe", "/a/b"),
        ("subscribe", "/a/*"),
        ("unsubscribe", "/a/b"),
        ("subscribe", "/a/b"),
        ("unsubscribe", "/a/*"),
        ("unsubscribe", "/a/**"),
        ("subscribe", "/**"),
        ("unsubscribe", "/a/b"),
    ]:
        change(verb, name)
    got.extend(data(client.fetch()))
    assert got == list(range(number))


async def test_a_session_that_reads_one_pattern_alone_has_nothing_extra() -> None:
    edge = Edge()
    for names, has in ((("/a/*",), False), (("/a", "/b"), False), (("/a/*", "/b"), True)):
        session = edge.sessions.get(reader(edge, *names).address)
        assert session is not None
        assert (session.overlaps is not None) == has


async def test_wildcards_of_meta_and_service_are_closed() -> None:
    client = Edge().client()
    for name in ("/meta/*", "/meta/**", "/service/*", "/service/**", "/service/a/*"):
        assert client.ask("/meta/subscribe", subscription=name)["error"].startswith("403:")


async def test_what_is_under_service_comes_through_no_pattern() -> None:
    edge = Edge()
    client, other = reader(edge, "/**"), edge.client()
    edge.client().ask("/service/send", data={"to": other.address, "data": 1})
    assert client.fetch() == []


async def test_one_session_may_not_take_all_patterns() -> None:
    edge = Edge()
    client = edge.client()
    assert client.ask("/meta/subscribe", subscription=[f"/p{i}/*" for i in range(100)])[
        "successful"
    ]
    refused = client.ask("/meta/subscribe", subscription="/q/*")
    assert refused["error"].startswith("413:/q/*:")
    client.subscribe("/q/r")


async def test_the_cluster_has_a_cap_and_says_so() -> None:
    edge = Edge()
    for number in range(10):
        names = [f"/p{number}/{i}/*" for i in range(100)]
        assert edge.client().ask("/meta/subscribe", subscription=names)["successful"]
    refused = edge.client().ask("/meta/subscribe", subscription="/more/*")
    assert refused["error"].startswith("413:too_many_patterns:")


# -- seams, one by one --------------------------------------------------------------


def copies(*offsets: int) -> list[Entry]:
    return [Entry(1, n, f"m{n}", b"{}", 0.0, 0, Source("/a/b", 1, n)) for n in offsets]


def positions(entries: Any) -> list[int]:
    return [entry.source.offset for entry in entries]


def test_what_was_on_its_way_to_a_pattern_is_not_lost_to_a_new_exact_name() -> None:
    overlaps = Overlaps(["/a/*"])
    overlaps.add("/a/b", Cursor(1, 3))
    assert positions(overlaps.filter("/a/*", copies(2, 3, 4, 5))) == [2, 3]


def test_one_that_goes_on_elsewhere_has_no_seam() -> None:
    overlaps = Overlaps(["/a/*"])
    overlaps.add("/a/b", None)
    assert positions(overlaps.filter("/a/*", copies(2, 3, 4))) == []


@pytest.mark.parametrize("first", [0, 2, 4])
def test_a_new_pattern_takes_over_where_it_begins(first: int) -> None:
    """The old one's copies come first, in between, or last: each message counts once."""
    overlaps = Overlaps(["/a/**"])
    overlaps.add("/a/*", Cursor(1, 0))
    got = positions(overlaps.filter("/a/**", copies(*range(1, first + 1))))
    got += positions(overlaps.filter("/a/*", copies(3, 4, 5)))
    got += positions(overlaps.filter("/a/**", copies(*range(first + 1, 6))))
    assert sorted(got) == [1, 2, 3, 4, 5]


def test_three_that_overlap_serve_once() -> None:
    overlaps = Overlaps(["/**", "/a/**"])
    overlaps.add("/a/*", Cursor(1, 0))
    got = positions(overlaps.filter("/**", copies(1, 2)))
    got += positions(overlaps.filter("/a/**", copies(1, 2)))
    got += positions(overlaps.filter("/a/*", copies(2, 3)))
    got += positions(overlaps.filter("/a/**", copies(3)))
    assert sorted(got) == [1, 2, 3]


def test_what_one_that_is_gone_has_served_comes_no_second_time() -> None:
    overlaps = Overlaps(["/a/*", "/a/b"])
    overlaps.remove("/a/b", {"/a/b": Cursor(1, 3)})
    assert positions(overlaps.filter("/a/*", copies(2, 3, 4))) == [4]


def test_channels_under_a_seam_are_remembered_in_bounds() -> None:
    overlaps = Overlaps(["/a/**"])
    overlaps.add("/a/*", Cursor(1, 0))
    for number in range(5_000):
        entry = Entry(1, 1, "m", b"{}", 0.0, 0, Source(f"/a/{number}", 1, 1))
        overlaps.filter("/a/*", [entry])
    assert sum(len(seam.taken) for seam in overlaps._seams.values()) <= 1_000


async def test_a_pattern_that_runs_ahead_while_an_exact_name_is_joined() -> None:
    """The join takes its time, and meanwhile the pattern goes on to bring messages."""
    edge = Edge()
    client = reader(edge, "/a/*")
    edge.publish("/a/b", 0)
    got = data(client.fetch())
    waiting: list[Any] = []
    join = edge.cluster.join
    edge.cluster.join = lambda *words: waiting.append(words)  # type: ignore[method-assign]
    session = edge.sessions.get(client.address)
    assert session is not None
    edge.sessions.subscribe(session, "/a/b", lambda failed: None)
    edge.publish("/a/b", 1)
    got += data(client.fetch())
    edge.cluster.join = join  # type: ignore[method-assign]
    join(*waiting[0])
    for number in (2, 3):
        edge.publish("/a/b", number)
    got += data(client.fetch())
    edge.publish("/a/b", 4)
    got += data(client.fetch())
    assert got == [0, 1, 2, 3, 4]
    assert session.behind is None, "level again"
