"""What goes wrong between a connection and a link, on the dialling side."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from node.cluster import dials as dials_module
from node.cluster.dialling import Outcome
from node.cluster.dials import Dials
from node.cluster.greetings import NONCE_BYTES, Introduction, Verdict
from node.cluster.handshake import Acceptor
from node.cluster.opening import admit
from node.cluster.pairing import Pairing
from node.cluster.refusals import Refusals
from node.errors import LocalProtocolError, RemoteProtocolError
from node.stats import Stats
from peers_rig import HOST, SECRET, Events, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ME = Introduction(b"m" * 20, 1, "me:1")
THEM = Introduction(b"t" * 20, 1, "them:1")
EARLIER = Introduction(b"a" * 20, 1, "earlier:1")  # an id smaller than ours


class FakeLink:
    def __init__(self, node: bytes, peer: str) -> None:
        self.node, self.peer, self.incarnation = node, peer, 1
        self.posted: list[bytes] = []

    def post(self, data: bytes) -> bool:
        self.posted.append(data)
        return True


class Rig:
    """`Dials` whose one address leads to a scripted acceptor."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.stats, self.events = Stats(), Events()
        self.pairing: Pairing[Any] = Pairing(ME)
        self.made: list[bytes] = []
        self.address = ""
        self.met: list[Introduction] = []
        self.dials = Dials(
            self.pairing, (SECRET,), Refusals(self.stats), self.events, self.make_link,
            random.Random(1), 1000,
        )  # fmt: skip

    def make_link(
        self, stream: trio.SocketStream, handshake: Any, buffer: object, address: str
    ) -> None:
        assert handshake.peer is not None
        self.made.append(handshake.peer.id)
        self.link_to(handshake.peer)
        stream.socket.close()

    def link_to(self, peer: Introduction) -> FakeLink:
        link = self.pairing.links[peer.id] = FakeLink(peer.id, peer.peer)
        self.dials.linked(link)  # type: ignore[arg-type]
        return link

    async def serve(self, script: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        self.address = f"{HOST}:{listener.socket.getsockname()[1]}"
        self.nursery.start_soon(trio.serve_listeners, script, [listener])

    def acceptor(self, me: Introduction, *verdicts: Verdict) -> Any:
        """A script: one verdict for each connection, the last one for all the rest."""
        left = list(verdicts)

        async def script(stream: trio.SocketStream) -> None:
            def judge(dialler: Introduction) -> Verdict:
                self.met.append(dialler)
                return left.pop(0) if len(left) > 1 else left[0]

            with suppress(RemoteProtocolError, trio.BrokenResourceError):  # given up again
                await admit(stream, Acceptor(me, (SECRET,), bytes(NONCE_BYTES), judge))

        return script


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        made = Rig(nursery)
        made.dials.start(nursery)
        yield made
        nursery.cancel_scope.cancel()


async def silence(stream: trio.SocketStream) -> None:
    await trio.sleep(10)


async def test_before_the_start_nothing_is_dialled() -> None:
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery)
        assert not rig.dials.post(THEM.id, "them:1", b"x")
        with pytest.raises(LocalProtocolError):
            rig.dials.dial("them:1")


async def test_an_answerer_that_says_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials_module, "AUTH_WITHIN", 0.05)
    await rig.serve(silence)
    assert await rig.dials.outcome(rig.address) is Outcome.FAILED
    await until(lambda: rig.events.of("failed") == [(rig.address, False)])
    assert rig.stats.link_refused == {"timeout": 1}


async def test_an_answerer_that_resets(rig: Rig) -> None:
    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        stream.socket.close()

    await rig.serve(reset)
    assert await rig.dials.outcome(rig.address) is Outcome.FAILED
    assert rig.stats.link_refused == {"closed": 1}


async def test_a_new_id_ends_attempts_under_the_old(rig: Rig) -> None:
    async def rename(stream: trio.SocketStream) -> None:
        rig.pairing.me = Introduction(b"n" * 20, 1, "me:1")
        await rig.acceptor(THEM, Verdict.ACCEPTED)(stream)

    await rig.serve(rename)
    assert await rig.dials.outcome(rig.address) is Outcome.FAILED
    assert not rig.made


async def test_a_duplicate_that_we_know_nothing_of_is_replaced(rig: Rig) -> None:
    await rig.serve(rig.acceptor(THEM, Verdict.DUPLICATE, Verdict.ACCEPTED))
    assert rig.dials.post(THEM.id, rig.address, b"waits")
    assert await rig.dials.outcome(rig.address) is Outcome.OPENED
    assert [each.replace for each in rig.met] == [False, True]
    assert rig.made == [THEM.id]
    assert rig.pairing.links[THEM.id].posted == [b"waits"]


async def test_a_duplicate_that_insists(rig: Rig) -> None:
    await rig.serve(rig.acceptor(THEM, Verdict.DUPLICATE))
    assert await rig.dials.outcome(rig.address) is Outcome.FAILED
    assert len(rig.met) == 2


async def test_yielding_to_a_connection_that_comes(rig: Rig) -> None:
    assert rig.pairing.judge(EARLIER) is Verdict.ACCEPTED
    await rig.serve(rig.acceptor(EARLIER, Verdict.ACCEPTED))
    rig.dials.post(EARLIER.id, rig.address, b"waits")
    await until(lambda: rig.met)
    await trio.sleep(0.02)
    link = rig.link_to(EARLIER)
    assert await rig.dials.outcome(rig.address) is Outcome.OPENED
    assert link.posted == [b"waits"]
    assert not rig.made


async def test_yielding_to_one_that_never_comes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dials_module, "YIELD_WITHIN", 0.1)
    assert rig.pairing.judge(EARLIER) is Verdict.ACCEPTED
    await rig.serve(rig.acceptor(EARLIER, Verdict.ACCEPTED))
    rig.dials.dial(rig.address)
    await until(lambda: rig.met)
    await trio.sleep(0.02)
    rig.pairing.withdraw(EARLIER.id)
    assert await rig.dials.outcome(rig.address) is Outcome.OPENED
    assert [each.replace for each in rig.met] == [False, True]
    assert rig.made == [EARLIER.id]


async def test_a_double_of_ours(rig: Rig) -> None:
    await rig.serve(rig.acceptor(THEM, Verdict.SAME_ID))
    assert await rig.dials.outcome(rig.address) is Outcome.FAILED
    assert rig.stats.link_refused == {"same_id": 1}
