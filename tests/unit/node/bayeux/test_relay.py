"""Requests for sessions that live elsewhere: sent on, or held while nobody serves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from dht.placement import Placement
from local_edge import FakePoll
from node.bayeux.relay import HOLD_SECONDS, Relays
from node.cluster.messages import Relay, RelayCancel, Relayed, RelayMiss, RelayRelease
from node.session import Session
from node.stats import Stats
from pubsub.errors import Code
from pubsub.messages import Failed, Record
from ring_views import member, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

ME, HOME, EDGE = (bytes([first]) * 20 for first in (0x00, 0x80, 0xC0))
BODY = b'[{"channel":"/meta/connect"}]'


def address_at(placement: Placement, home: bytes) -> str:
    """An address whose slot `home` is home to."""
    for i in range(100):
        address = f"t{i}." + "a" * 20
        if placement.home_of(address) == home:
            return address
    raise AssertionError("no such address")


class FakeCluster:
    me = ME

    def __init__(self, *nodes: bytes) -> None:
        self.view = view_of([member(node) for node in nodes])
        self.placement = Placement(self.view)
        self.records: dict[str, Record] = {}
        self.serves = True
        self.reachable = set(nodes)
        self.posted: list[tuple[bytes, Any]] = []

    def record(self, address: str) -> Record | None:
        return self.records.get(address)

    def serving_name(self, name: str) -> bool:
        return self.serves and self.placement.home_of(name) == ME

    def post(self, to: bytes, message: msgspec.Struct) -> bool:
        if to not in self.reachable:
            return False
        self.posted.append((to, message))
        return True

    def relays(self) -> list[tuple[bytes, Relay]]:
        return [(to, message) for to, message in self.posted if isinstance(message, Relay)]


class FakeSessions:
    def __init__(self) -> None:
        self.here: dict[str, Session] = {}
        self.attaching: dict[str, list[Callable[[Session | Failed], None]]] = {}
        self.lost: list[object] = []
        self.taken_from = b""  # the edge that has let go of the last
        self.get = self.here.get

    def resuming(self, address: str) -> bool:
        return address in self.attaching

    def resume(
        self, address: str, on_done: Callable[[Session | Failed], None], edge: bytes = b""
    ) -> None:
        self.taken_from = edge
        self.attaching.setdefault(address, []).append(on_done)

    def attached(self, address: str, result: Session | Failed) -> None:
        for on_done in self.attaching.pop(address):
            on_done(result)

    def connection_lost(self, session: Session, connection: object) -> None:
        self.lost.append(connection)


class FakeBatch:
    def __init__(self, session: Session | None, poll: Any, name: str, *, held: bool) -> None:
        self.session, self.poll, self.name, self.held = session, poll, name, held

    def run(self) -> None:
        if not self.held:
            self.poll.respond_json(json.dumps([self.session is not None]).encode())


class FakeProtocol:
    def __init__(self) -> None:
        self.batches: list[FakeBatch] = []
        self.holds = False  # requests become held polls
        self._made = 0

    def message_id(self) -> str:
        self._made += 1
        return f"m{self._made}"

    def batch(self, messages: Any, session: Session | None, *, poll: Any, name: str) -> FakeBatch:
        batch = FakeBatch(session, poll, name, held=self.holds)
        self.batches.append(batch)
        return batch


class Poll(FakePoll):
    """As a connection stands: with an owner."""

    def __init__(self) -> None:
        super().__init__()
        self.owner: object | None = None


class Rig:
    def __init__(self, home: bytes = HOME, nodes: tuple[bytes, ...] = (ME, HOME, EDGE)) -> None:
        self.cluster = FakeCluster(*nodes)
        self.sessions = FakeSessions()
        self.protocol = FakeProtocol()
        self.stats = Stats()
        self.relays = Relays(
            self.cluster,  # type: ignore[arg-type]
            self.sessions,  # type: ignore[arg-type]
            self.protocol,  # type: ignore[arg-type]
            self.stats,
        )
        self.address = address_at(self.cluster.placement, home)

    def ask(self) -> Poll:
        poll = Poll()
        self.relays.forward(poll, self.address, BODY, b"")  # type: ignore[arg-type]
        return poll

    def answer(self, message: Relayed | RelayMiss, sender: bytes) -> None:
        self.relays.receive(sender, message)

    def last(self) -> tuple[bytes, Relay]:
        return self.cluster.relays()[-1]

    def miss(self, code: str, edge: bytes = b"") -> None:
        """Whoever was asked last says that it does not hold the session."""
        to, relay = self.last()
        self.answer(RelayMiss(relay.request, code, edge), to)

    def record(self, edge: bytes) -> None:
        self.cluster.records[self.address] = Record(self.address, edge, 1, ())

    def session(self) -> Session:
        return Session(self.address, 1)


@pytest.fixture
async def rig(nursery: trio.Nursery) -> Rig:
    made = Rig()
    await nursery.start(made.relays.run)
    return made


async def test_a_request_goes_to_the_home_and_its_answer_comes_back(rig: Rig) -> None:
    poll = rig.ask()
    to, relay = rig.last()
    assert to == HOME
    rig.answer(Relayed(relay.request, 200, b"[1]"), HOME)
    assert poll.body == [1]


async def test_and_on_to_the_edge_that_the_home_names(rig: Rig) -> None:
    poll = rig.ask()
    rig.miss(Code.MOVED, EDGE)
    to, relay = rig.last()
    assert to == EDGE
    rig.answer(Relayed(relay.request, 200, b"[1]"), EDGE)
    assert poll.status == 200
    rig.ask()
    assert rig.last()[0] == EDGE, "it is remembered"


async def test_where_nobody_holds_it_this_node_becomes_the_edge(rig: Rig) -> None:
    poll = rig.ask()
    rig.miss(Code.MOVED)
    assert rig.sessions.taken_from == HOME, "and from no other that was faster"
    rig.sessions.attached(rig.address, rig.session())
    assert poll.body == [True]


async def test_so_too_if_the_edge_that_was_named_has_dropped_it(rig: Rig) -> None:
    poll = rig.ask()
    rig.miss(Code.MOVED, EDGE)
    rig.miss(Code.UNAVAILABLE)
    rig.sessions.attached(rig.address, rig.session())
    assert poll.body == [True]


async def test_an_edge_remembered_wrongly_sends_it_back_to_the_home(rig: Rig) -> None:
    rig.ask()
    rig.miss(Code.MOVED, EDGE)
    rig.answer(Relayed(rig.last()[1].request, 200, b"[]"), EDGE)
    rig.ask()
    assert rig.last()[0] == EDGE
    rig.miss(Code.UNAVAILABLE)
    assert rig.last()[0] == HOME
    assert not rig.sessions.attaching


async def test_unknown_is_said_on_the_word_of_the_home_alone(rig: Rig) -> None:
    poll = rig.ask()
    rig.miss(Code.UNKNOWN_SESSION)  # no node may say that of a session in passing
    assert poll.status is None
    poll = rig.ask()
    rig.miss(Code.MOVED)
    rig.sessions.attached(rig.address, Failed(0, Code.UNKNOWN_SESSION))
    assert poll.body == [False], "handled without a session: 402"


async def test_a_home_that_knows_no_such_session_lets_the_engine_say_so() -> None:
    rig = Rig(home=ME)  # a slot just opened may not know yet: only attaching finds out
    poll = rig.ask()
    assert poll.status is None
    rig.sessions.attached(rig.address, Failed(0, Code.UNKNOWN_SESSION))
    assert poll.body == [False]


async def test_while_its_home_is_taken_over_a_request_is_held(
    rig: Rig, autojump_clock: MockClock
) -> None:
    poll = rig.ask()
    rig.miss(Code.UNAVAILABLE)
    assert len(rig.cluster.relays()) == 1
    await trio.sleep(1.0)
    assert poll.status is None
    assert len(rig.cluster.relays()) > 1, "asked again"
    rig.answer(Relayed(rig.last()[1].request, 200, b"[1]"), HOME)
    assert poll.body == [1]
    await trio.sleep(HOLD_SECONDS)
    assert poll.status == 200


async def test_not_for_ever(rig: Rig, autojump_clock: MockClock) -> None:
    rig.cluster.reachable.clear()
    poll = rig.ask()
    began = trio.current_time()
    while poll.status is None:
        await trio.sleep(0.1)
    assert poll.status == 503
    assert b'"retry":true' in poll.body
    assert HOLD_SECONDS <= trio.current_time() - began < HOLD_SECONDS + 1
    assert rig.stats.relays_refused == 1


async def test_a_new_view_frees_who_is_held(rig: Rig) -> None:
    rig.cluster.reachable.discard(HOME)
    rig.ask()
    assert not rig.cluster.relays()
    rig.cluster.view = view_of([member(ME), member(EDGE)], number=2)
    rig.cluster.placement = Placement(rig.cluster.view)
    rig.relays.install_view(rig.cluster.view)
    assert rig.sessions.attaching or rig.last()[0] == EDGE


async def test_a_new_view_while_nobody_is_held_does_not_stop_the_clock(
    rig: Rig, autojump_clock: MockClock
) -> None:
    await trio.testing.wait_all_tasks_blocked()
    rig.relays.install_view(rig.cluster.view)
    poll = rig.ask()
    rig.miss(Code.UNAVAILABLE)
    await trio.sleep(HOLD_SECONDS + 1)
    assert len(rig.cluster.relays()) > 1, "asked again"
    rig.miss(Code.UNAVAILABLE)
    assert poll.status == 503


async def test_who_was_asked_and_is_out_of_the_view_is_not_waited_for(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.ask()
    view = view_of([member(ME), member(EDGE)], number=2)
    rig.cluster.view, rig.cluster.placement = view, Placement(view)
    rig.relays.install_view(view)
    assert rig.sessions.attaching or rig.last()[0] == EDGE
    rig.answer(Relayed(rig.cluster.relays()[0][1].request, 200, b"[9]"), HOME)  # too late


async def test_a_lost_link_means_another_try_under_the_same_name(
    rig: Rig, autojump_clock: MockClock
) -> None:
    poll = rig.ask()
    first = rig.last()[1]
    rig.relays.link_lost(HOME)
    await trio.sleep(0.5)
    second = rig.last()[1]
    assert second.request != first.request
    assert second.name == first.name, "its publishes must not count twice"
    rig.ask()
    assert rig.last()[1].name != first.name
    rig.miss(Code.MOVED)
    rig.answer(RelayMiss(second.request, Code.MOVED, b""), HOME)
    rig.sessions.attached(rig.address, rig.session())
    assert first.name in {batch.name for batch in rig.protocol.batches}
    assert poll.status == 200


async def test_a_client_that_goes_while_it_is_held_is_not_served(
    rig: Rig, autojump_clock: MockClock
) -> None:
    poll = rig.ask()
    rig.miss(Code.UNAVAILABLE)
    poll.owner = None  # as the router does
    await trio.sleep(HOLD_SECONDS + 1)
    assert len(rig.cluster.relays()) == 1
    assert poll.status is None


# -- the node that has the session ---------------------------------------------------


async def test_the_edge_answers_for_the_session(rig: Rig) -> None:
    rig.sessions.here[rig.address] = rig.session()
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY, name="r1"))
    assert rig.cluster.posted == [(EDGE, Relayed(7, 200, b"[true]"))]
    assert rig.protocol.batches[0].name == "r1"


async def test_a_session_on_its_way_here_is_waited_for(rig: Rig) -> None:
    rig.sessions.resume(rig.address, lambda _result: None)
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY))
    assert not rig.cluster.posted, "two nodes must not pull a session to and fro"
    rig.sessions.attached(rig.address, rig.session())
    assert rig.cluster.posted == [(EDGE, Relayed(7, 200, b"[true]"))]


async def test_a_session_that_did_not_come_is_missed(rig: Rig) -> None:
    rig.sessions.resume(rig.address, lambda _result: None)
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY))
    rig.sessions.attached(rig.address, Failed(0, Code.MOVED))
    assert isinstance(rig.cluster.posted[0][1], RelayMiss)


@pytest.mark.parametrize(
    ("edge", "told"),
    [
        (EDGE, RelayMiss(7, Code.MOVED, EDGE)),
        (ME, RelayMiss(7, Code.MOVED, b"")),  # it restarted: whoever asks may have it
        (None, RelayMiss(7, Code.MOVED, b"")),  # the home's engine is to say that there is none
    ],
)
async def test_what_a_home_says(edge: bytes | None, told: RelayMiss) -> None:
    rig = Rig(home=ME)
    if edge is not None:
        rig.record(edge)
    rig.relays.receive(HOME, Relay(7, rig.address, BODY))
    assert rig.cluster.posted == [(HOME, told)]


async def test_a_node_that_is_not_the_home_does_not_know(rig: Rig) -> None:
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY))
    assert rig.cluster.posted == [(EDGE, RelayMiss(7, Code.UNAVAILABLE, b""))]


async def test_a_home_that_is_not_open_yet_does_not_know() -> None:
    rig = Rig(home=ME)
    rig.cluster.serves = False
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY))
    assert rig.cluster.posted == [(EDGE, RelayMiss(7, Code.UNAVAILABLE, b""))]


async def test_the_clients_of_a_lost_node_have_gone(rig: Rig) -> None:
    rig.sessions.here[rig.address] = rig.session()
    rig.protocol.holds = True
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY))
    rig.relays.link_lost(EDGE)
    assert len(rig.sessions.lost) == 1
    rig.relays.receive(EDGE, Relay(8, rig.address, BODY))
    rig.relays.receive(EDGE, RelayCancel(8))
    assert len(rig.sessions.lost) == 2


async def test_a_stream_has_the_session_once_its_edge_agrees(
    rig: Rig, autojump_clock: MockClock
) -> None:
    results: list[Session | Failed] = []
    rig.relays.claim(rig.address, b"", "websocket", results.append, 12)
    rig.miss(Code.MOVED, EDGE)
    to, relay = rig.last()
    assert (to, relay.body, relay.ack) == (EDGE, b"", 12)
    rig.answer(Relayed(relay.request, 200, b""), EDGE)
    assert rig.sessions.taken_from == EDGE
    # Another was faster: that one is asked, and told what the client has got.
    rig.sessions.attached(rig.address, Failed(0, Code.UNAVAILABLE))
    await trio.sleep(0.2)
    assert not results
    assert rig.last()[1].ack == 12
    rig.answer(Relayed(rig.last()[1].request, 200, b""), HOME)
    session = rig.session()
    rig.sessions.attached(rig.address, session)
    assert results == [session]


async def test_but_not_if_it_does_not_agree(rig: Rig) -> None:
    results: list[Session | Failed] = []
    rig.relays.claim(rig.address, b"", "websocket", results.append)
    rig.answer(Relayed(rig.last()[1].request, 402, b""), HOME)
    assert results == [Failed(0, Code.UNKNOWN_SESSION)]
    assert not rig.sessions.attaching


# -- leaving -----------------------------------------------------------------------------


class FakeAcks:
    def __init__(self) -> None:
        self.outstanding = True
        self.confirmed: list[int | None] = []

    def confirm(self, session: Session, batch: int | None) -> None:
        self.confirmed.append(batch)


async def test_a_leaving_edge_lets_its_sessions_go(rig: Rig) -> None:
    rig.sessions.here[rig.address] = rig.session()
    rig.relays.drain()
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY))
    assert rig.cluster.posted == [(EDGE, RelayMiss(7, Code.MOVED, b""))]
    assert not rig.protocol.batches


async def test_not_to_a_thief(rig: Rig) -> None:
    session = rig.session()
    session.binding = b"the victim's"
    rig.sessions.here[rig.address] = session
    rig.relays.drain()
    rig.relays.receive(EDGE, Relay(7, rig.address, BODY, mark=b"another's"))
    assert rig.cluster.posted == [(EDGE, Relayed(7, 402, b""))]


@pytest.mark.parametrize(
    "relay",
    [
        {"body": b'[{"channel":"/meta/connect","ext":{"ack":12}}]'},
        {"body": b"", "ack": 12},
    ],
)
async def test_what_the_client_has_got_is_not_repeated_by_the_next_edge(
    rig: Rig, relay: dict[str, Any]
) -> None:
    session = rig.session()
    acks = session.acks = FakeAcks()  # type: ignore[assignment]
    rig.sessions.here[rig.address] = session
    rig.relays.drain()
    rig.relays.receive(EDGE, Relay(7, rig.address, **relay))
    assert acks.confirmed == [12]


async def test_a_session_stays_until_its_client_has_said_what_it_has_got(rig: Rig) -> None:
    """The next edge would not understand, and send it again: a publish is served here still."""
    session = rig.session()
    acks = session.acks = FakeAcks()  # type: ignore[assignment]
    rig.sessions.here[rig.address] = session
    rig.relays.drain()
    publish = Relay(7, rig.address, b'[{"channel":"/a","data":1}]')
    rig.relays.receive(EDGE, publish)
    assert len(rig.protocol.batches) == 1
    acks.outstanding = False
    session.poll = FakePoll()  # may be answered yet
    rig.relays.receive(EDGE, msgspec.structs.replace(publish, request=8))
    assert len(rig.protocol.batches) == 2
    session.poll = None
    rig.relays.receive(EDGE, msgspec.structs.replace(publish, request=9))
    assert rig.cluster.posted[-1] == (EDGE, RelayMiss(9, Code.MOVED, b""))
    assert len(rig.protocol.batches) == 2


async def test_polls_that_others_hold_for_a_leaving_node_are_asked_back(rig: Rig) -> None:
    rig.ask()
    held = rig.last()[1]
    rig.relays.drain()
    for release in rig.relays.held_elsewhere():
        release()
    assert rig.cluster.posted[-1] == (HOME, RelayRelease(held.request))
    rig.ask()
    assert rig.cluster.posted[-1] == (HOME, RelayRelease(rig.last()[1].request)), "not held at all"
