from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog
import trio

from node.cluster.door import Door
from node.cluster.frames import LENGTH_BYTES
from node.cluster.greetings import NONCE_BYTES, Introduction
from node.cluster.handshake import Acceptor, Dialler
from node.cluster.opening import introduce, peer_name
from node.cluster.pairing import Pairing
from node.cluster.refusals import LOG_EVERY, Refusals
from node.stats import Stats
from peers_rig import SECRET, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from node.cluster.frames import FrameBuffer

ME = Introduction(b"m" * 20, 1, "me:1")
YOU = Introduction(b"y" * 20, 1, "you:1")


class House:
    """A door on a real listener; who is admitted is a name in `guests`."""

    def __init__(self, listener: trio.SocketListener, **options: Any) -> None:
        self.stats = Stats()
        self.pairing: Pairing[Any] = Pairing(ME)
        self.door = Door(self.pairing, (SECRET,), Refusals(self.stats), **options)
        self.listener = listener
        self.guests: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        def opened(handshake: Acceptor, _: FrameBuffer) -> Any:
            assert handshake.peer is not None
            self.guests.append(handshake.peer.id)
            return handshake

        await self.door.admit(stream, opened)

    async def connect(self) -> trio.SocketStream:
        return await trio.testing.open_stream_to_socket_listener(self.listener)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with trio.open_nursery() as nursery:
        yield await build(nursery, max_strangers=4, auth_within=0.3)
        nursery.cancel_scope.cancel()


async def build(nursery: trio.Nursery, **options: Any) -> House:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = House(listener, **options)
    nursery.start_soon(trio.serve_listeners, made.serve, [listener])
    return made


def dialler(secret: bytes = SECRET, me: Introduction = YOU) -> Dialler:
    return Dialler(me, (secret,), bytes(NONCE_BYTES))


async def test_who_knows_the_secret_comes_in(house: House) -> None:
    stream = await house.connect()
    handshake = dialler()
    await introduce(stream, handshake)
    assert house.door.strangers == 1
    await stream.send_all(handshake.confirm())
    await until(lambda: house.guests == [YOU.id])
    assert house.door.strangers == 0
    assert not house.pairing._offers
    assert not house.stats.link_refused
    await stream.aclose()


async def test_silence_is_limited(house: House) -> None:
    stream = await house.connect()
    await stream.send_all(b"\x00")
    with trio.fail_after(2):
        assert await stream.receive_some(1) == b""
    assert house.stats.link_refused == {"timeout": 1}
    await stream.aclose()


async def test_a_dialler_that_never_confirms_leaves_nothing(house: House) -> None:
    stream = await house.connect()
    await introduce(stream, dialler())
    assert house.pairing._offers == {YOU.id: 1}
    await stream.aclose()
    await until(lambda: house.door.strangers == 0)
    assert not house.pairing._offers
    assert house.stats.link_refused == {"closed": 1}


async def test_idle_strangers_make_room(house: House) -> None:
    streams = [await house.connect() for _ in range(4)]
    await until(lambda: house.door.strangers == 4)
    guest = await house.connect()
    handshake = dialler()
    await introduce(guest, handshake)
    await guest.send_all(handshake.confirm())
    await until(lambda: house.guests == [YOU.id])
    assert await streams[0].receive_some(1) == b""
    assert house.stats.link_refused["crowded"] == 1
    for each in (*streams, guest):
        await each.aclose()


async def test_a_flood_is_bounded() -> None:
    async with trio.open_nursery() as nursery:
        house = await build(nursery, max_strangers=8)
        streams = [await house.connect() for _ in range(60)]
        await until(lambda: house.stats.link_refused["crowded"] == 52)
        assert house.door.strangers == 8
        for each in streams:
            await each.aclose()
        nursery.cancel_scope.cancel()


async def test_memory_of_a_stranger_is_bounded(house: House) -> None:
    stream = await house.connect()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all((4 << 20).to_bytes(LENGTH_BYTES, "big") + bytes(4 << 20))
    assert house.stats.link_refused == {"too_large": 1}
    await stream.aclose()


async def test_a_reset_is_nothing_special(house: House) -> None:
    stream = await house.connect()
    await until(lambda: house.door.strangers == 1)
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
    stream.socket.close()
    await until(lambda: house.door.strangers == 0)
    assert house.stats.link_refused == {"closed": 1}


async def test_a_new_name_ends_handshakes_under_the_old_one(house: House) -> None:
    stream = await house.connect()
    handshake = dialler()
    await introduce(stream, handshake)
    house.pairing.me = Introduction(b"n" * 20, 1, "me:1")
    house.door.turn_all_out()
    await until(lambda: house.door.strangers == 0)
    assert not house.guests
    assert house.stats.link_refused == {"renamed": 1}
    await stream.aclose()


async def test_myself_and_my_double_are_turned_away(house: House) -> None:
    for me, reason in ((ME, "self"), (Introduction(ME.id, 2, "x:1"), "same_id")):
        stream = await house.connect()
        await introduce(stream, dialler(me=me))
        while not house.stats.link_refused[reason]:
            await trio.sleep(0.001)
        await stream.aclose()


async def test_refusals_are_all_counted_and_few_logged(autojump_clock: Any) -> None:
    refusals = Refusals(stats := Stats())
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            refusals.note("secret", "1.2.3.4:5", "why")
        refusals.note("version", "1.2.3.4:5", "why")
        await trio.sleep(LOG_EVERY)
        refusals.note("secret", "1.2.3.4:5", "why")
    assert stats.link_refused == {"secret": 101, "version": 1}
    shown = [(entry["reason"], entry["unlogged"]) for entry in logs]
    assert shown == [("secret", 0), ("version", 0), ("secret", 99)]


async def test_everyday_refusals_are_for_the_curious() -> None:
    with structlog.testing.capture_logs() as logs:
        Refusals(Stats()).note("closed", "1.2.3.4:5", "why")
    assert [entry["log_level"] for entry in logs] == ["debug"]


async def test_a_connection_that_is_gone_has_a_name_too() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    stream = await trio.testing.open_stream_to_socket_listener(listener)
    assert peer_name(stream).startswith("127.0.0.1:")
    await stream.aclose()
    assert "gone" in peer_name(stream)
    await listener.aclose()
