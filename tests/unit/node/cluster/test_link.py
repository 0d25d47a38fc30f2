from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import structlog
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

from message_strategies import UNHURRIED
from node.cluster import link as link_module
from node.cluster.codec import Encoder, join_batch
from node.cluster.frames import LENGTH_BYTES, FrameBuffer, Opener, Sealer
from node.cluster.greetings import Introduction
from node.cluster.link import FRAME_BYTES, MAX_MESSAGE, STALLED_AFTER, End, Link
from node.cluster.messages import Bye, Ping, Pong, Relay, RelayCancel
from node.errors import LocalProtocolError
from node.stats import Stats
from peers_rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

THERE = Introduction(b"t" * 20, 1, "there:7400")
encode = Encoder().encode


class Rig:
    """A link, and the other end of its connection as raw bytes with matching keys."""

    def __init__(self, near: trio.SocketStream, far: trio.SocketStream, **options: Any) -> None:
        self.stats = Stats()
        self.link = Link(
            near,
            THERE,
            (Sealer(b"1" * 32), Opener(b"2" * 32)),
            FrameBuffer(),
            self.stats,
            dialled=True,
            **options,
        )
        self.far = far
        self.sealer, self.opener = Sealer(b"2" * 32), Opener(b"1" * 32)
        self.received: list[Any] = []
        self.ended = trio.Event()
        self._buffer = FrameBuffer(5_000_000)

    async def run(self) -> None:
        async def receive(_: Link, messages: list[Any]) -> None:
            self.received += messages

        await self.link.run(receive)
        self.ended.set()

    async def say(self, *messages: msgspec.Struct) -> None:
        await self.far.send_all(self.sealer.seal(join_batch([encode(m) for m in messages])))

    async def heard(self) -> list[Any]:
        """The messages of the next frame."""
        while (sealed := self._buffer.next_frame()) is None:
            self._buffer.feed(await self.far.receive_some(65_536))
        payload = msgspec.msgpack.decode(self.opener.open(sealed))
        return list(payload)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with trio.open_nursery() as nursery:
        made = await connect()
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()
    made.far.socket.close()


async def connect(**options: Any) -> Rig:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    near = await trio.testing.open_stream_to_socket_listener(listeners[0])
    far = await listeners[0].accept()
    await listeners[0].aclose()
    return Rig(near, far, **options)


async def test_frames_carry_what_was_posted_in_one_turn(rig: Rig) -> None:
    for number in range(3):
        assert rig.link.post(encode(RelayCancel(number)))
    assert rig.link.queued == 3 * len(encode(RelayCancel(0)))
    assert await rig.heard() == [[99, 0], [99, 1], [99, 2]]
    assert rig.link.queued == 0


async def test_a_long_queue_is_cut_into_frames(rig: Rig) -> None:
    big = encode(Relay(1, "x.y", bytes(100_000)))
    for _ in range(7):
        rig.link.post(big)
    sizes: list[int] = []
    while sum(sizes) < 7:
        sizes.append(len(await rig.heard()))
    assert sizes[0] == FRAME_BYTES // len(big) == 2


async def test_messages_are_handed_over_in_order(rig: Rig) -> None:
    await rig.say(RelayCancel(1), RelayCancel(2))
    await rig.say()
    await rig.say(RelayCancel(3))
    await until(lambda: len(rig.received) == 3)
    assert [message.request for message in rig.received] == [1, 2, 3]
    assert rig.stats.link_bytes["in"] > 0


async def test_round_trips_are_measured(rig: Rig) -> None:
    rig.link.check(trio.current_time())
    ((tag, sent),) = await rig.heard()
    assert tag == 120
    await rig.say(RelayCancel(1), Pong(sent))
    await until(lambda: rig.link.rtt is not None)
    assert rig.link.rtt is not None
    assert 0 <= rig.link.rtt < 1
    assert rig.stats.link_rtt_seconds.count == 1
    assert rig.received == [RelayCancel(1)]


@pytest.mark.parametrize("sent", [math.nan, math.inf, -math.inf, -1e300, 1e300])
async def test_nonsense_is_not_a_round_trip(rig: Rig, sent: float) -> None:
    await rig.say(Pong(sent), RelayCancel(1))
    await until(lambda: rig.received)
    assert rig.link.rtt is None
    assert rig.stats.link_rtt_seconds.count == 0


async def test_pings_are_answered(rig: Rig) -> None:
    await rig.say(Ping(12.5))
    assert await rig.heard() == [[121, 12.5]]


async def test_a_goodbye_ends_it_after_what_came_before(rig: Rig) -> None:
    await rig.say(RelayCancel(1), Bye("done"), RelayCancel(2))
    await rig.ended.wait()
    assert rig.received == [RelayCancel(1), RelayCancel(2)]
    assert (rig.link.end, rig.link.reason) == (End.BYE, "done")
    assert not rig.link.post(b"\xc0")


async def test_hanging_up_says_goodbye_and_waits(rig: Rig) -> None:
    rig.link.post(encode(RelayCancel(1)))
    rig.link.hang_up("enough")
    rig.link.hang_up("again")
    assert not rig.link.post(encode(RelayCancel(2)))
    assert await rig.heard() == [[99, 1], [122, "enough"]]
    assert await rig.far.receive_some(1) == b""
    await rig.say(RelayCancel(3))  # too late: nobody listens
    assert not rig.ended.is_set()
    await rig.far.send_eof()
    await rig.ended.wait()
    assert (rig.link.end, rig.link.reason, rig.received) == (End.OURS, "enough", [])


async def test_a_peer_deaf_to_goodbyes_is_cut_off(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "LAST_WORDS_WITHIN", 0.05)
    rig.link.hang_up("enough")
    with trio.fail_after(1):
        await rig.ended.wait()


async def test_eof_and_reset_are_losses(rig: Rig) -> None:
    await rig.far.send_eof()
    await rig.ended.wait()
    assert rig.link.end is End.LOST


async def test_a_reset_is_a_loss(rig: Rig) -> None:
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    rig.far.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
    rig.far.socket.close()
    await rig.ended.wait()
    assert rig.link.end is End.LOST


async def test_a_peer_that_does_not_read_loses_the_link() -> None:
    rig = await connect(outbox_bytes=1_000_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        message = encode(Relay(1, "x.y", bytes(50_000)))
        with trio.fail_after(5):
            while rig.link.post(message):
                assert rig.link.queued <= 1_000_000
                await trio.lowlevel.checkpoint()
            await rig.ended.wait()
    assert rig.link.end is End.FAULT
    assert "does not read" in rig.link.reason
    assert rig.link.queued == 0
    rig.far.socket.close()


async def test_a_write_that_gets_nowhere_is_noticed(rig: Rig) -> None:
    for _ in range(100):
        rig.link.post(encode(Relay(1, "x.y", bytes(100_000))))
    await until(lambda: rig.link._writing_since is not None)
    await trio.sleep(0.05)
    rig.link.check(trio.current_time())
    assert rig.link.end is None
    rig.link.check(trio.current_time() + STALLED_AFTER + 1)
    await rig.ended.wait()
    assert rig.link.end is End.LOST


async def test_a_message_too_long_for_any_frame_is_our_mistake(rig: Rig) -> None:
    rig.link.post(bytes([0xC6]) + (MAX_MESSAGE - 5).to_bytes(4, "big") + bytes(MAX_MESSAGE - 5))
    (payload,) = await rig.heard()
    assert len(payload) == MAX_MESSAGE - 5
    with pytest.raises(LocalProtocolError):
        rig.link.post(bytes(MAX_MESSAGE + 1))


async def test_silence_is_noticed_but_not_ones_own_absence(rig: Rig) -> None:
    start = trio.current_time()
    for second in range(3):
        rig.link.check(start + second)
    rig.link.check(start + 100)  # this node's loop stood still
    for second in range(1, 4):
        rig.link.check(start + 100 + second)
    assert rig.link.end is None
    rig.link.check(start + 104)
    await rig.ended.wait()
    assert rig.link.end is End.LOST
    assert "said nothing" in rig.link.reason


async def damage(rig: Rig, frame: bytes, follow: bytes = b"") -> None:
    await rig.far.send_all(frame + follow)
    with trio.fail_after(2):
        await rig.ended.wait()
    assert rig.link.end is End.FAULT
    assert rig.received == []


async def test_a_replayed_frame_ends_it(rig: Rig) -> None:
    frame = rig.sealer.seal(join_batch([]))
    await damage(rig, frame, frame)
    assert rig.stats.link_refused["forged"] == 1


async def test_reordered_frames_end_it(rig: Rig) -> None:
    first, second = (rig.sealer.seal(join_batch([encode(RelayCancel(n))])) for n in (1, 2))
    await damage(rig, second, first)


async def test_a_reflected_frame_ends_it(rig: Rig) -> None:
    rig.link.post(encode(RelayCancel(1)))
    await damage(rig, await rig.far.receive_some(1000))


async def test_a_length_bomb_ends_it(rig: Rig) -> None:
    await damage(rig, b"\xff\xff\xff\xff")
    assert rig.stats.link_refused["too_large"] == 1


async def test_a_proper_frame_of_nonsense_ends_it(rig: Rig) -> None:
    await damage(rig, rig.sealer.seal(b"\x91\x92\x7f\x00"))
    assert rig.stats.link_refused["malformed"] == 1


async def test_a_bug_of_ours_costs_the_link_and_is_logged() -> None:
    rig = await connect()

    async def receive(_: Link, __: list[Any]) -> None:
        raise KeyError("a bug")

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.link.run, receive)
            await rig.say(RelayCancel(1))
    assert rig.link.end is End.FAULT
    assert rig.stats.link_refused["bug"] == 1
    assert [entry["event"] for entry in logs] == ["link_bug"]
    rig.far.socket.close()


def test_any_flipped_bit_ends_it_and_nothing_gets_through() -> None:
    @settings(UNHURRIED, max_examples=30)
    @given(st.data())
    def flip(data: Any) -> None:
        async def attempt() -> None:
            rig = await connect()
            frame = bytearray(rig.sealer.seal(join_batch([encode(RelayCancel(1))])))
            at = data.draw(st.integers(LENGTH_BYTES, len(frame) - 1))
            frame[at] ^= 1 << data.draw(st.integers(0, 7))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.run)
                await damage(rig, bytes(frame))
            rig.far.socket.close()

        trio.run(attempt)

    flip()


async def test_who_may_hang_for_long_may_be_silent_for_long() -> None:
    rig = await connect()
    rig.link.silent_after = 20.0
    start = trio.current_time()
    for second in range(20):
        rig.link.check(start + second)
    assert rig.link.end is None
    rig.link.check(start + 21)
    assert rig.link.end is End.LOST
    for stream in (rig.far, rig.link._stream):
        stream.socket.close()
