from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import msgspec
import pytest
import structlog
import trio

from node.cluster import peers as peers_module
from node.cluster.frames import LENGTH_BYTES
from node.cluster.greetings import MAGIC, WIRE_VERSION, Greeting, Introduction, Refusal
from node.cluster.messages import RelayCancel
from node.errors import RemoteProtocolError
from peers_rig import HOST, SECRET, Party, party, running, until

if TYPE_CHECKING:
    from structlog.typing import EventDict

OTHER = b"o" * 32


async def two(
    a: tuple[bytes, ...] = (SECRET,), b: tuple[bytes, ...] = (SECRET,)
) -> tuple[Party, Party]:
    return await party("a", a), await party("b", b)


async def test_a_message_opens_the_link_that_it_needs() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        for number in range(5):
            assert anna.send(bert, RelayCancel(number))
        await until(lambda: len(bert.events.received) == 5)
        assert [m.request for _, m in bert.events.received] == [0, 1, 2, 3, 4]
        assert {node for node, _ in bert.events.received} == {anna.me.id}
        assert bert.send(anna, RelayCancel(9))
        await until(lambda: anna.events.received == [(bert.me.id, RelayCancel(9))])
        assert anna.events.of("opened") == [(bert.me.id, bert.me.peer, bert.me.peer)]
        assert bert.events.of("opened") == [(anna.me.id, anna.me.peer, None)]
        assert anna.stats.link_bytes["out"] > 0 < anna.stats.link_bytes["in"]


async def test_messages_of_one_turn_travel_in_one_frame() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        anna.peers.dial(bert.me.peer)
        await until(lambda: anna.linked(bert) and bert.linked(anna))
        for number in range(1000):
            anna.send(bert, RelayCancel(number))
        await until(lambda: len(bert.events.received) == 1000)
        assert bert.events.frames == 1


@pytest.mark.parametrize("order", list(itertools.permutations("ab")) * 5)
async def test_two_that_dial_at_once_share_one_link(order: tuple[str, ...]) -> None:
    anna, bert = await two()
    async with running(anna, bert):
        for name in order:
            me, peer = (anna, bert) if name == "a" else (bert, anna)
            for number in range(3):
                assert me.send(peer, RelayCancel(number))
        await until(lambda: len(anna.events.received) == len(bert.events.received) == 3)
        await trio.sleep(0.02)
        assert len(anna.events.of("opened")) == len(bert.events.of("opened")) == 1
        assert not anna.events.of("lost")
        assert not bert.events.of("lost")
        one, other = anna.peers.links[bert.me.id], bert.peers.links[anna.me.id]
        assert one.dialled is not other.dialled


async def test_a_name_of_many_nodes_links_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed's name stands for every node, this one among them."""
    parties = [await party(name) for name in "abc"]

    async def resolve(host: str, port: int, **_: object) -> list[object]:
        assert (host, port) == ("seeds.example", 7400)
        return [
            (trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (HOST, int(p.me.peer[10:])))
            for p in parties
        ]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    anna, bert, carl = parties
    async with running(*parties):
        anna.peers.dial("seeds.example:7400")
        await until(lambda: anna.linked(bert) and anna.linked(carl))
        await until(lambda: anna.events.of("known"))
        assert anna.events.of("known") == [(anna.me.id, anna.me.peer, "seeds.example:7400")]
        addresses = {address for _, _, address in anna.events.of("opened")}
        assert addresses == {"seeds.example:7400"}
        assert not anna.events.of("failed")
        assert anna.me.id not in anna.peers.links
        # Again: everyone is linked already.
        anna.peers.dial("seeds.example:7400")
        await until(lambda: len(set(anna.events.of("known"))) == 3)
        assert len(anna.events.of("opened")) == 2


async def test_who_asks_again_during_an_attempt_is_told_what_it_has_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a name's addresses one may answer at once, and another only after seconds."""
    anna, bert = await two()
    never = trio.socket.socket()
    await never.bind((HOST, 0))
    never.listen(0)
    queue = [trio.socket.socket() for _ in range(3)]
    for each in queue:
        with trio.move_on_after(0.05):
            await each.connect(never.getsockname())

    async def resolve(*_: object, **__: object) -> list[object]:
        kind = (trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "")
        port = int(bert.me.peer.rpartition(":")[2])
        return [(*kind, (HOST, port)), (*kind, never.getsockname())]

    monkeypatch.setattr(trio.socket, "getaddrinfo", resolve)
    async with running(anna, bert):
        anna.peers.dial("two:1")
        await until(lambda: anna.linked(bert))
        assert not anna.events.of("known")
        anna.peers.dial("two:1")
        assert anna.events.of("known") == [(bert.me.id, bert.me.peer, "two:1")]
        anna.peers.hang_up(bert.me.id, "enough")
        anna.peers.dial("two:1")
        assert len(anna.events.of("known")) == 1
    for each in (never, *queue):
        each.close()


async def test_nobody_there() -> None:
    anna, bert = await two()
    bert.listeners[0].socket.close()
    async with running(anna):
        anna.peers.dial(bert.me.peer)
        await until(lambda: anna.events.of("failed"))
        assert anna.events.of("failed") == [(bert.me.peer, True)]
        assert not anna.send(bert, RelayCancel(1))  # not again so soon
        anna.peers.dial("no.such.name.invalid:7400")
        await until(lambda: len(anna.events.of("failed")) == 2)
        assert anna.events.of("failed")[1] == ("no.such.name.invalid:7400", False)


async def test_what_waited_for_a_dial_that_failed_is_lost() -> None:
    anna, bert = await two()
    bert.listeners[0].socket.close()
    async with running(anna):
        assert anna.send(bert, RelayCancel(1))
        await until(lambda: anna.events.of("lost"))
        assert anna.events.log == [("failed", bert.me.peer, True), ("lost", bert.me.id)]


async def test_what_waits_has_a_bound() -> None:
    anna, bert = await two()
    anna.peers._dials._outbox_bytes = 100
    async with running(anna, bert):
        sent = [anna.send(bert, RelayCancel(number)) for number in range(100)]
        assert sent[0]
        assert not sent[-1]
        assert anna.events.of("lost") == [(bert.me.id,)]  # told once
        await until(lambda: len(bert.events.received) == sum(sent))


async def test_another_node_answers() -> None:
    anna, bert = await two()
    carl = await party("c")
    async with running(anna, bert):
        carl.me = Introduction(carl.me.id, 1, bert.me.peer)
        assert anna.send(carl, RelayCancel(1))
        await until(lambda: anna.events.of("lost") == [(carl.me.id,)])
        assert anna.linked(bert)
        assert not bert.events.received
        carl.listeners[0].socket.close()


async def test_a_dead_peer_is_known_to_be_gone_at_once() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        bert.stop()
        await until(lambda: anna.events.of("closed"))
        assert anna.events.of("lost")[0] == (bert.me.id,)
        assert anna.events.of("closed") == [(bert.me.id, True)]


async def test_a_lost_connection_is_made_again() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        bert.peers.links[anna.me.id]._stream.socket.shutdown(trio.socket.SHUT_RDWR)
        await until(lambda: len(anna.events.of("opened")) == len(bert.events.of("opened")) == 2)
        await until(lambda: anna.linked(bert) and bert.linked(anna))
        for each, other in ((anna, bert), (bert, anna)):
            kinds = [event[0] for event in each.events.log if event[0] in {"lost", "closed"}]
            assert kinds == ["lost", "closed"]
            assert each.events.of("closed") == [(other.me.id, False)]
        anna.send(bert, RelayCancel(2))
        await until(lambda: len(bert.events.received) == 2)


async def test_half_a_link_is_replaced() -> None:
    """Anna's half is gone without Bert's noticing, as after a cut."""
    anna, bert = await two()
    async with running(anna, bert):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        lost = anna.peers.links.pop(bert.me.id)
        anna.send(bert, RelayCancel(2))
        await until(lambda: len(bert.events.received) == 2)
        assert anna.peers.links[bert.me.id] is not lost
        assert bert.events.of("closed") == [(anna.me.id, False)]


async def test_a_restarted_peer_is_a_new_process() -> None:
    anna, bert = await two()
    async with running(anna, bert) as nursery:
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        port = int(bert.me.peer.rpartition(":")[2])
        bert.stop()
        await until(lambda: not anna.linked(bert))
        again = await party("b", incarnation=2, port=port)
        await nursery.start(again.run)
        again.send(anna, RelayCancel(1))
        await until(lambda: anna.linked(again))
        assert anna.events.of("closed") == [(bert.me.id, True)]


async def test_a_copied_state_directory_is_refused_loudly() -> None:
    anna, bert = await two()
    carl = await party("b", incarnation=0)
    async with running(anna, bert, carl):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        with structlog.testing.capture_logs() as logs:
            carl.peers.dial(anna.me.peer)
            await until(lambda: carl.events.of("failed"))
            carl.peers.dial(bert.me.peer)
            await until(lambda: len(carl.events.of("failed")) == 2)
        assert anna.stats.link_refused["same_id"] == 1
        assert any("copied" in str(entry.get("detail")) for entry in logs)
        assert anna.linked(bert)


async def test_hanging_up_is_polite() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        anna.send(bert, RelayCancel(2))
        anna.peers.hang_up(bert.me.id, "enough")
        assert anna.events.of("closed") == [(bert.me.id, False)]
        await until(lambda: bert.events.of("closed"))
        assert len(bert.events.received) == 2  # what was queued still went
        await trio.sleep(0.05)
        assert not bert.linked(anna)  # and nobody dialled again
        anna.peers.hang_up(bert.me.id, "twice")


async def test_a_renamed_node_comes_back_under_its_new_name() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        old, anna.me = anna.me, msgspec.structs.replace(anna.me, id=b"z" * 20)
        anna.peers.rename(anna.me)
        assert not anna.peers.links
        await until(lambda: bert.events.of("closed") == [(old.id, False)])
        bert.send(anna, RelayCancel(2))
        await until(lambda: anna.events.received == [(bert.me.id, RelayCancel(2))])
        assert not anna.events.of("closed")


async def test_close_waits_for_goodbyes() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.linked(anna))
        with trio.fail_after(0.5):
            await anna.peers.close()
            await anna.peers.close()
        assert not anna.peers._running
        await until(lambda: bert.events.of("closed") == [(anna.me.id, False)])
        assert not anna.send(bert, RelayCancel(1))
        anna.peers.dial(bert.me.peer)
        bert.peers.dial(anna.me.peer)
        await until(lambda: bert.events.of("failed") == [(anna.me.peer, False)])
        assert not anna.peers.links


async def test_a_peer_that_breaks_the_rules_loses_its_link() -> None:
    anna, bert = await two()
    async with running(anna, bert):
        bert.events.fail = RemoteProtocolError("nonsense", code="malformed")
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.events.of("closed"))
        assert bert.stats.link_refused["malformed"] == 1


# -- who is not let in ------------------------------------------------------------------


async def refused(anna: Party, bert: Party, reason: str) -> tuple[list[EventDict], list[EventDict]]:
    """Anna dials Bert; both count `reason`. Returns what both logged."""
    with structlog.testing.capture_logs() as logs:
        anna.peers.dial(bert.me.peer)
        await until(lambda: anna.events.of("failed"))
        assert anna.events.of("failed") == [(bert.me.peer, False)]
    assert anna.stats.link_refused[reason] == 1
    assert bert.stats.link_refused[reason] == 1
    assert not anna.peers.links
    assert not bert.peers.links
    assert not bert.events.log
    return logs, logs


async def test_a_wrong_secret_is_told_to_both_sides() -> None:
    anna, bert = await two((SECRET,), (OTHER,))
    async with running(anna, bert):
        logs, _ = await refused(anna, bert, "secret")
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert len(warnings) == 2
    assert all("secret" in entry["detail"] for entry in warnings)
    assert SECRET.decode() not in str(logs)
    assert OTHER.decode() not in str(logs)


async def test_secrets_rotate_without_a_break() -> None:
    anna, bert = await two((SECRET,), (OTHER, SECRET))
    async with running(anna, bert):
        bert.send(anna, RelayCancel(1))
        await until(lambda: anna.linked(bert) and bert.linked(anna))


async def test_another_version_is_told_to_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    anna, bert = await two()
    said = bytearray()
    async with running(bert):
        stream = await trio.open_tcp_stream(HOST, int(bert.me.peer.rpartition(":")[2]))
        data = msgspec.msgpack.encode(Greeting(MAGIC, 99, bytes(32)))
        with structlog.testing.capture_logs() as logs:
            await stream.send_all(len(data).to_bytes(LENGTH_BYTES, "big") + data)
            async for chunk in stream:
                said += chunk
        refusal = msgspec.msgpack.decode(said[LENGTH_BYTES:], type=Refusal)
        assert refusal == Refusal("version", WIRE_VERSION)
        assert bert.stats.link_refused["version"] == 1
        assert "wire version 99" in str(logs)
        await stream.aclose()
    anna.listeners[0].socket.close()


@pytest.mark.parametrize("seed", range(3))
async def test_garbage_reaches_nobody(seed: int) -> None:
    rng = random.Random(seed)
    anna, bert = await two()
    async with running(anna, bert):
        port = int(bert.me.peer.rpartition(":")[2])
        for _ in range(30):
            stream = await trio.open_tcp_stream(HOST, port)
            try:
                await stream.send_all(rng.randbytes(rng.randint(0, 3000)))
                await stream.send_eof()
                while await stream.receive_some(4096):
                    pass
            except trio.BrokenResourceError:
                pass
            await stream.aclose()
        await until(lambda: bert.peers.door.strangers == 0)
        assert not bert.events.log
        assert sum(bert.stats.link_refused.values()) == 30
        anna.send(bert, RelayCancel(1))
        await until(lambda: bert.events.received)


def test_the_probe_is_shorter_than_a_takeover() -> None:
    assert sum(peers_module._PROBE_PAUSES) < peers_module.PROBE_WITHIN < 1.0
