from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from node.connection import LINGER, LINGER_BYTES, MAX_TAIL, READ, WRITE, Connection
from node.errors import SlowConsumerError
from node.reactor import TICK, Reactor
from node.stats import Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BIG = b"0123456789abcdef" * 32 * 1024  # more than a socket pair holds


class Plain(Connection):
    """A connection without a protocol."""

    __slots__ = ("got", "told")

    def __init__(self, reactor: Reactor, sock: Any) -> None:
        super().__init__(reactor, sock)
        self.got = b""
        self.told: list[str] = []

    def on_readable(self) -> None:
        self.got += self.read()

    def on_drained(self) -> None:
        self.told.append("drained")

    def on_lost(self) -> None:
        self.told.append("lost")


class Rig:
    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.conn, self.peer = self.connect(socket.socketpair())

    def connect(self, pair: tuple[socket.socket, socket.socket]) -> tuple[Plain, socket.socket]:
        ours, theirs = pair
        theirs.setblocking(False)
        ours.setblocking(False)
        conn = Plain(self.reactor, theirs)
        self.reactor.register(conn)
        return conn, ours

    async def settle(self) -> None:
        for _ in range(20):
            await trio.lowlevel.checkpoint()

    async def read_all(self, size: int) -> bytes:
        """Read `size` bytes at the client, fewer if the connection ends."""
        got = b""
        while len(got) < size:
            try:
                data = self.peer.recv(65536)
            except BlockingIOError:
                await trio.lowlevel.checkpoint()
                continue
            if not data:
                break
            got += data
        return got


@pytest.fixture
async def rig(nursery: trio.Nursery) -> AsyncIterator[Rig]:
    reactor = Reactor(Stats(), lambda: False)
    await nursery.start(reactor.run)
    rig = Rig(reactor)
    yield rig
    rig.peer.close()


async def test_what_the_kernel_takes_is_sent(rig: Rig) -> None:
    assert rig.conn.send(b"hello")
    assert rig.conn.writable
    assert rig.peer.recv(10) == b"hello"


async def test_what_it_refuses_is_kept_and_sent_later(rig: Rig) -> None:
    assert not rig.conn.send(BIG)
    assert not rig.conn.writable
    assert rig.conn.interest == READ | WRITE
    assert not rig.conn.send(b"and more")
    assert await rig.read_all(len(BIG) + 8) == BIG + b"and more"
    await rig.settle()
    assert rig.conn.writable
    assert rig.conn.interest == READ
    assert rig.conn.told == ["drained"]


async def test_an_offer_is_taken_whole_or_not_at_all(rig: Rig) -> None:
    assert rig.conn.try_send(b"hello")
    assert rig.peer.recv(10) == b"hello"
    assert rig.conn.try_send(BIG)  # what the kernel refuses of it is kept
    assert not rig.conn.writable
    assert not rig.conn.try_send(b"and more")
    assert await rig.read_all(len(BIG)) == BIG
    await rig.settle()
    assert rig.conn.told == ["drained"]
    assert rig.conn.try_send(b"now")
    assert rig.peer.recv(10) == b"now"


async def test_an_offer_to_a_client_that_has_gone_raises_nothing(rig: Rig) -> None:
    rig.peer.close()
    assert rig.conn.try_send(b"x")
    assert not rig.conn.writable
    assert not rig.conn.try_send(b"x")
    assert rig.conn.told == []
    await rig.settle()
    assert rig.conn.told == ["lost"]


async def test_one_batch_of_any_size_is_kept(rig: Rig) -> None:
    huge = BIG * 6
    assert not rig.conn.send(huge)
    assert await rig.read_all(len(huge)) == huge


async def test_more_than_the_bound_is_refused(rig: Rig) -> None:
    rig.conn.send(BIG)
    rig.conn.send(b"x" * (MAX_TAIL - len(BIG)))
    with pytest.raises(SlowConsumerError):
        rig.conn.send(BIG)
    assert len(rig.conn._tail or b"") <= MAX_TAIL


async def test_a_socket_that_is_full_to_the_brim(rig: Rig) -> None:
    while rig.conn.send(b"x" * 1000):
        pass
    rig.conn._tail = None  # as if it had drained, though the kernel has room for nothing
    assert not rig.conn.send(b"y")
    rig.conn._flush()
    assert not rig.conn.writable


async def test_sending_to_a_client_that_has_gone_raises_nothing(rig: Rig) -> None:
    rig.peer.close()
    assert not rig.conn.send(b"x")
    assert not rig.conn.writable
    assert not rig.conn.closed  # not from within the send …
    assert not rig.conn.send(b"x")
    assert rig.conn.told == []
    await rig.settle()
    assert rig.conn.closed  # … but in a later turn
    assert rig.conn.told == ["lost"]


async def test_a_tail_for_a_client_that_goes_is_dropped(rig: Rig) -> None:
    rig.conn.send(BIG)
    rig.peer.close()
    await rig.settle()
    assert rig.conn.told == ["lost"]
    assert rig.reactor.connections == 0


async def test_a_reset_is_the_end(rig: Rig) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    conn, peer = rig.connect((ours, theirs))
    assert conn.peer_host == "127.0.0.1"
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    await rig.settle()
    assert conn.told == ["lost"]
    assert conn.peer_host == ""


async def test_the_end_of_input_is_the_end(rig: Rig) -> None:
    rig.peer.send(b"last")
    rig.peer.shutdown(socket.SHUT_WR)
    await rig.settle()
    assert rig.conn.got == b"last"
    assert rig.conn.told == ["lost"]


async def test_nothing_to_read_is_not_the_end(rig: Rig) -> None:
    assert rig.conn.read() == b""
    assert not rig.conn.closed


async def test_closing_tells_once_and_not_at_once(rig: Rig) -> None:
    rig.conn.close()
    rig.conn.close()
    rig.conn.finish()
    assert rig.conn.closed
    assert not rig.conn.writable
    assert not rig.conn.send(b"x")
    assert rig.conn.told == []
    await rig.settle()
    rig.conn.close()
    rig.conn.lost()
    await rig.settle()
    assert rig.conn.told == ["lost"]
    assert rig.peer.recv(10) == b""
    assert rig.conn.peer_host == ""


async def test_paused_input_stays_in_the_kernel(rig: Rig) -> None:
    rig.conn.pause_reading()
    rig.peer.send(b"x")
    await rig.settle()
    assert rig.conn.got == b""
    rig.conn.resume_reading()
    await rig.settle()
    assert rig.conn.got == b"x"


async def test_a_paused_connection_sees_that_the_client_has_gone(rig: Rig) -> None:
    rig.conn.pause_reading()
    rig.peer.close()
    await rig.settle()
    assert rig.conn.told == ["lost"]


class TestFinish:
    """Closing with care."""

    async def test_the_client_reads_everything_then_the_end(self, rig: Rig) -> None:
        rig.conn.send(BIG)
        rig.conn.finish()
        assert rig.conn.closed
        assert rig.reactor.connections == 1
        assert await rig.read_all(len(BIG) + 1) == BIG
        await rig.settle()
        assert rig.conn.told == ["lost"]
        assert rig.peer.recv(1) == b""
        rig.peer.close()
        await rig.settle()
        assert rig.reactor.connections == 0

    async def test_what_the_client_still_sends_is_dropped(self, rig: Rig) -> None:
        rig.conn.send(b"bye")
        rig.conn.pause_reading()
        rig.peer.send(b"x" * 1000)
        rig.conn.finish()
        await rig.settle()
        rig.peer.send(b"x" * 1000)
        await rig.settle()
        assert rig.peer.recv(100) == b"bye"
        assert rig.peer.recv(100) == b""
        assert rig.conn.got == b""

    async def test_not_for_ever(self, autojump_clock: trio.testing.MockClock, rig: Rig) -> None:
        rig.conn.finish()
        await trio.sleep(LINGER - TICK)
        assert rig.reactor.connections == 1
        await trio.sleep(3 * TICK)
        assert rig.reactor.connections == 0

    async def test_not_for_any_amount(self, rig: Rig) -> None:
        rig.conn.finish()
        chunk = b"x" * 60_000
        sent = 0
        while rig.reactor.connections:
            try:
                sent += rig.peer.send(chunk)
            except (BlockingIOError, BrokenPipeError):
                await trio.lowlevel.checkpoint()
        assert LINGER_BYTES < sent < LINGER_BYTES + 1_000_000

    async def test_a_client_that_has_gone(self, rig: Rig) -> None:
        rig.peer.close()
        rig.conn.send(b"x")
        rig.conn.finish()
        await rig.settle()
        assert rig.conn.told == ["lost"]
        assert rig.reactor.connections == 0

    async def test_a_client_that_goes_meanwhile(self, rig: Rig) -> None:
        rig.conn.send(BIG)
        rig.conn.finish()
        await rig.settle()
        rig.peer.close()
        await rig.settle()
        assert rig.reactor.connections == 0


async def test_the_base_reads_nothing() -> None:
    reactor = Reactor(Stats(), lambda: False)
    ours, theirs = socket.socketpair()
    conn = Connection(reactor, theirs)
    with pytest.raises(NotImplementedError):
        conn.on_readable()
    conn.on_sweep(0)
    reactor.register(conn)
    conn.on_failure(ValueError())
    assert conn.closed
    ours.close()
    reactor._dispose()
