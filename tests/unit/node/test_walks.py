"""A flush of many readers is put aside between two of them: nobody notices."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_edge import Client, Edge, FakePoll, FakeSocket
from node import flushing
from node.topic import stands

READERS = 4


class Readers:
    """Clients of one channel, each with its poll or socket, on an edge that flushes one a slice."""

    def __init__(self, *, ack: bool = False, sockets: int = 0) -> None:
        self.edge = Edge()
        self.got: list[list[int]] = [[] for _ in range(READERS)]
        self.polls: list[FakePoll | None] = [None] * READERS
        self.sockets = [FakeSocket() for _ in range(sockets)]
        ext: dict[str, Any] | None = {"ack": True} if ack else None
        self.clients = [Client(self.edge).handshake(ext=ext) for _ in range(READERS)]
        self.batches = [0] * READERS
        self.published = 0
        self.acks = ack
        for client in self.clients:
            client.subscribe("/a")
        for client, socket in zip(self.clients, self.sockets, strict=False):
            self.edge.post([client.connect_message("websocket")], socket)

    def publish(self) -> None:
        self.published += 1
        self.edge.publish("/a", self.published)

    def slice(self) -> bool:
        """Flush to one reader. True: there are more."""
        more = self.edge.sessions.hub.end_of_turn()
        for number in range(READERS):
            self._read(number)
        return more

    def _read(self, number: int) -> None:
        if number < len(self.sockets):
            messages = self.sockets[number].messages
        else:
            poll = self.polls[number]
            if poll is None or poll.status is None:
                return
            messages, self.polls[number] = poll.body, None
        self._note(number, messages)
        messages.clear()

    def _note(self, number: int, messages: list[dict[str, Any]]) -> None:
        self.got[number] += [message["data"] for message in messages if "data" in message]
        for message in messages:
            self.batches[number] = message.get("ext", {}).get("ack", self.batches[number])

    def poll(self, number: int, timeout: int | None = None) -> None:
        self._read(number)
        if self.polls[number] is None and number >= len(self.sockets):
            client = self.clients[number]
            message = client.connect_message("long-polling", timeout)
            if self.acks:
                message["ext"] = {"ack": self.batches[number]}
            self.polls[number] = self.edge.post([message])
            self._read(number)

    def write(self, number: int) -> None:
        """Something that is answered at once, with whatever is owed."""
        socket = self.sockets[number] if number < len(self.sockets) else None
        message = {"channel": "/b", "data": "x", "clientId": self.clients[number].id}
        answered = self.edge.post([message], socket)
        if socket is None:
            self._note(number, [m for m in answered.body if m["channel"] == "/a"])

    def choke(self, number: int) -> None:
        """The socket is full, or takes more again."""
        if number < len(self.sockets):
            socket = self.sockets[number]
            socket.writable = not socket.writable
            session = self.edge.sessions.get(self.clients[number].address)
            if socket.writable and session is not None:
                self.edge.sessions.hub.catch_up(session)

    def finish(self) -> None:
        for number, socket in enumerate(self.sockets):
            if not socket.writable:
                self.choke(number)
        for _ in range(2):
            while self.slice():
                pass
            for number in range(READERS):
                self.poll(number, timeout=0)


@pytest.fixture(autouse=True)
def _one_reader_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "SLICE", -1.0)
    monkeypatch.setattr(flushing, "CLOCK_EVERY", 1)


@pytest.fixture
async def readers() -> Readers:
    return Readers()


async def test_who_reads_on_before_the_walk_comes_gets_nothing_twice(readers: Readers) -> None:
    """It lagged, has caught up with the walk's own entries, and holds a poll when it comes."""
    readers.poll(0)
    readers.publish()
    while readers.slice():  # all but the first have no poll: they lag
        pass
    readers.poll(0)
    readers.publish()
    assert readers.slice()  # the first has it; the walk is put aside
    last = READERS - 1
    readers.poll(last)
    assert readers.got[last] == [1, 2]
    readers.poll(last)
    while readers.slice():
        pass
    assert readers.got[last] == [1, 2]
    readers.publish()
    while readers.slice():
        pass
    assert readers.got[last] == [1, 2, 3]


async def test_who_is_answered_before_the_walk_comes_loses_nothing(readers: Readers) -> None:
    """A response goes out anyhow, with what the next flush would bring: and what this one would."""
    readers.poll(0)
    readers.publish()
    assert readers.slice()
    readers.publish()
    last = READERS - 1
    readers.write(last)
    assert readers.got[last] == [1, 2]
    readers.finish()
    assert readers.got == [[1, 2]] * READERS


async def test_where_it_stands_is_where_it_was_before_the_walk(readers: Readers) -> None:
    readers.poll(0)
    readers.publish()
    readers.slice()
    first, *_, last = map(readers.edge.sessions.get, [c.address for c in readers.clients])
    topic = readers.edge.sessions.hub.topics["/a"]
    assert first is not None
    assert last is not None
    assert (stands(first, topic), stands(last, topic)) == (1, 0)
    while readers.slice():
        pass
    assert topic.walk is None
    assert (stands(first, topic), stands(last, topic)) == (1, 0)  # it had no poll


_steps = st.lists(
    st.tuples(
        st.sampled_from(["publish", "slice", "slice", "poll", "poll", "write", "choke"]),
        st.integers(0, READERS - 1),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=80)
@given(_steps, st.booleans(), st.integers(0, 2))
async def test_whatever_happens_in_between_everybody_gets_everything_once(
    steps: list[tuple[str, int]], ack: bool, sockets: int
) -> None:
    readers = Readers(ack=ack and not sockets, sockets=sockets)
    for step, number in steps:
        if step == "publish":
            readers.publish()
        elif step == "slice":
            readers.slice()
        else:
            getattr(readers, step)(number)
    readers.finish()
    assert readers.got == [list(range(1, readers.published + 1))] * READERS


async def test_a_long_history(readers: Readers) -> None:
    chance = Random(7)
    for _ in range(1_000):
        chance.choice([readers.publish, readers.slice, readers.slice])()
        chance.choice([readers.poll, readers.write])(chance.randrange(READERS))
    readers.finish()
    assert readers.got == [list(range(1, readers.published + 1))] * READERS
