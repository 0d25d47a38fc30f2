from __future__ import annotations

import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest
import trio
from structlog.testing import capture_logs

from node import acceptor
from node.acceptor import BATCH, SEND_BUFFER, Acceptor, open_listeners

if TYPE_CHECKING:
    from collections.abc import Iterator


class Accepted:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.socks: list[socket.socket] = []

    def __call__(self, sock: socket.socket) -> None:
        self.socks.append(sock)

    def count(self) -> int:
        return len(self.socks)


@pytest.fixture
def accepted() -> Iterator[Accepted]:
    accepted = Accepted()
    yield accepted
    for sock in accepted.socks:
        sock.close()


async def connect(listener: socket.socket) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", listener.getsockname()[1])


async def wait_for(accepted: Accepted, count: int) -> None:
    with trio.fail_after(5):
        while len(accepted.socks) < count:
            await trio.sleep(0.001)


async def test_clients_are_accepted(accepted: Accepted, nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    await nursery.start(Acceptor([listener], accepted).run)
    streams = [await connect(listener) for _ in range(3)]
    await wait_for(accepted, 3)
    sock = accepted.socks[0]
    assert not sock.getblocking()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER  # Linux doubles
    for stream in streams:
        await stream.aclose()


async def test_more_than_a_batch(accepted: Accepted, nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    streams = [await connect(listener) for _ in range(BATCH + 5)]
    await nursery.start(Acceptor([listener], accepted).run)
    await wait_for(accepted, BATCH + 5)
    for stream in streams:
        await stream.aclose()


async def test_over_the_bound_they_are_told(accepted: Accepted, nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    await nursery.start(Acceptor([listener], accepted, accepted.count, max_connections=1).run)
    first = await connect(listener)
    await wait_for(accepted, 1)
    second = await connect(listener)
    answer = b""
    while data := await second.receive_some():
        answer += data
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"unavailable"' in answer
    assert len(accepted.socks) == 1
    await first.aclose()
    await second.aclose()


async def test_who_expects_tls_is_only_closed(accepted: Accepted, nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    acceptor = Acceptor([listener], accepted, accepted.count, max_connections=0, refusal=b"")
    await nursery.start(acceptor.run)
    stream = await connect(listener)
    assert await stream.receive_some() == b""
    await stream.aclose()


async def test_stop_empties_the_queue(accepted: Accepted, nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    acceptor = Acceptor([listener], accepted)
    streams = [await connect(listener) for _ in range(BATCH + 5)]
    acceptor.stop()
    with trio.fail_after(5):
        await acceptor.run()
    assert len(accepted.socks) == BATCH + 5
    assert listener.fileno() == -1
    for stream in streams:
        await stream.aclose()


async def test_cancelled_it_closes_its_listeners(accepted: Accepted) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(Acceptor([listener], accepted).run)
        nursery.cancel_scope.cancel()
    assert listener.fileno() == -1


async def test_out_of_descriptors(accepted: Accepted, nursery: trio.Nursery) -> None:
    (listener,) = await open_listeners("127.0.0.1", 0)
    await nursery.start(Acceptor([listener], accepted).run)
    client = socket.socket()
    client.setblocking(False)
    late = socket.socket()
    late.setblocking(False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with capture_logs() as logs:
        resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 5, hard))
        try:
            while True:
                try:
                    taken.append(os.dup(0))
                except OSError:
                    break
            client.connect_ex(listener.getsockname())
            with trio.fail_after(5):
                while not logs:
                    await trio.sleep(0.001)
            assert client.recv(10) == b""  # turned away, not left waiting
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert accepted.socks == []
    late.connect_ex(listener.getsockname())
    await wait_for(accepted, 1)  # and it has recovered
    client.close()
    late.close()


async def test_without_a_reserve_it_only_waits(
    accepted: Accepted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptors(*_: object) -> int:
        raise OSError(24, "EMFILE")

    monkeypatch.setattr(os, "open", no_descriptors)
    (listener,) = await open_listeners("127.0.0.1", 0)
    accepting = Acceptor([listener], accepted)
    stream = await connect(listener)
    with capture_logs() as logs:
        accepting._turn_away(listener)
    assert logs[0]["reserve"] is False
    with trio.move_on_after(0.2):
        await accepting.run()
    assert len(accepted.socks) == 1
    await stream.aclose()


class Broken:
    """A listening socket whose clients have gone before they were accepted."""

    def __init__(self, *errors: OSError) -> None:
        self.errors = list(errors)

    def accept(self) -> tuple[socket.socket, str]:
        if self.errors:
            raise self.errors.pop(0)
        raise BlockingIOError


async def test_a_client_that_has_gone_is_passed_over(accepted: Accepted) -> None:
    accepting = Acceptor([], accepted)
    broken = Broken(ConnectionAbortedError(), ConnectionAbortedError())
    assert accepting._accept_batch(broken) == 2  # type: ignore[arg-type]
    with capture_logs():
        accepting._turn_away(Broken(ConnectionAbortedError()))  # type: ignore[arg-type]
    accepting.stop()
    await accepting.run()


async def test_refusing_a_client_that_has_gone() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    acceptor._refuse(theirs)
    assert theirs.fileno() == -1


async def test_every_address_of_a_name_with_one_port() -> None:
    listeners = await open_listeners("localhost", 0)
    assert len({listener.getsockname()[1] for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


async def test_a_port_can_be_shared() -> None:
    (first,) = await open_listeners("127.0.0.1", 0, reuse_port=True)
    port = first.getsockname()[1]
    (second,) = await open_listeners("127.0.0.1", port, reuse_port=True)
    first.close()
    second.close()


async def test_a_port_in_use_is_an_error() -> None:
    (first,) = await open_listeners("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await open_listeners("127.0.0.1", first.getsockname()[1])
    first.close()
