from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from node import ops
from node.cluster.recovery import prove
from node.endpoint import Endpoint
from node.ops import MAX_BODY, MAX_HEAD, OpsServer
from node.stats import Stats
from peers_rig import HOST, until
from status_examples import ME, SECRET, YOU, Source, in_ring, lonely

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Served:
    """A running ops listener."""

    def __init__(self, server: OpsServer, source: Source, stats: Stats) -> None:
        self.server = server
        self.source = source
        self.stats = stats

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(HOST, self.server.endpoint.port)

    async def raw(self, request: bytes, *, end: bool = False) -> bytes:
        """All that a connection answers until it is closed."""
        stream = await self.connect()
        answer = bytearray()
        with trio.fail_after(5):
            try:
                await stream.send_all(request)
                if end:
                    await stream.send_eof()
                async for data in stream:
                    answer += data
            except trio.BrokenResourceError:
                pass
            await stream.aclose()
        return bytes(answer)

    async def get(
        self, path: str, method: str = "GET", headers: str = ""
    ) -> tuple[int, str, bytes]:
        """Status, head and body."""
        answer = await self.raw(
            f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode()
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode().lower(), body


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    stats, source = Stats(), Source(in_ring())
    server = OpsServer(Endpoint(HOST, 0), source, stats, max_connections=8)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield Served(server, source, stats)
        nursery.cancel_scope.cancel()


async def test_metrics(served: Served) -> None:
    served.stats.sessions = 3
    status, head, body = await served.get("/metrics")
    assert status == 200
    assert "content-type: text/plain" in head
    assert b"cometring_sessions 3.0" in body
    status, head, body = await served.get(
        "/metrics?x=1", headers="Accept: application/openmetrics-text\r\n"
    )
    assert "openmetrics" in head
    assert body.endswith(b"# EOF\n")


async def test_health_is_being_alive(served: Served) -> None:
    served.source.now = lonely()
    assert (await served.get("/healthz"))[0] == 200


async def test_readiness_is_being_in_the_ring(served: Served) -> None:
    assert (await served.get("/readyz"))[::2] == (200, b"ready\n")
    served.source.now = in_ring(draining=True)
    assert (await served.get("/readyz"))[::2] == (503, b"draining\n")
    served.source.now = lonely()
    assert (await served.get("/readyz"))[::2] == (503, b"not in the ring\n")


async def test_the_ring_as_json(served: Served) -> None:
    status, head, body = await served.get("/ring")
    assert status == 200
    assert "application/json" in head
    ring: Any = msgspec.json.decode(body)
    assert ring["node"] == ME.hex()
    assert ring["view"] == 1
    assert len(bytes.fromhex(ring["digest"])) == 8
    assert len(bytes.fromhex(ring["ring"])) == 16
    assert ring["members"] == [
        {
            "id": ME.hex(),
            "state": "active",
            "client": "10.0.0.1:8080",
            "peer": "10.0.0.1:7400",
            "zone": "zone-a",
            "incarnation": 7,
            "share": 1.0,
        }
    ]
    assert ring["links"] == [
        {"node": YOU.hex(), "peer": "10.0.0.2:7400", "rtt": 0.0015, "queued": 12, "dialled": True}
    ]
    assert ring["slots"]["home"] == 4096
    assert (ring["ready"], ring["draining"], ring["frozen"]) == (True, False, False)
    assert ring["suspected"] == []


async def test_no_ring_yet(served: Served) -> None:
    served.source.now = lonely()
    status, _, body = await served.get("/ring")
    assert status == 503
    assert msgspec.json.decode(body)["error"]["retry"] is True


@pytest.mark.parametrize("path", ["/", "/x", "/metrics/", "/metrics/..", "/METRICS", "/%2e", "*"])
async def test_nothing_else_is_here(served: Served, path: str) -> None:
    status, _, body = await served.get(path)
    assert status == 404
    assert msgspec.json.decode(body)["error"]["code"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"])
async def test_only_reading(served: Served, method: str) -> None:
    status, head, _ = await served.get("/metrics", method)
    assert status == 405
    assert "allow: get, head" in head


async def test_head_is_get_without_the_body(served: Served) -> None:
    status, head, body = await served.get("/ring", "HEAD")
    assert (status, body) == (200, b"")
    assert int(head.partition("content-length: ")[2].split()[0]) > 100


async def test_a_connection_serves_many_requests(served: Served) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await served.raw(request * 5 + last)  # pipelined, too
    assert answer.count(b"HTTP/1.1 200 OK") == 6
    old = await served.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert old.count(b"200 OK") == 1


async def test_a_body_is_read_past(served: Served) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for length in (10, MAX_BODY):
        answer = await served.raw(head + b"Content-Length: %d\r\n\r\n" % length + bytes(length))
        assert b" 200 OK" in answer.partition(b"\r\n")[0]
    length = MAX_BODY + 1
    answer = await served.raw(head + b"Content-Length: %d\r\n\r\n" % length + bytes(length))
    assert b" 413 " in answer.partition(b"\r\n")[0]
    expecting = await served.raw(
        head + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n", end=True
    )
    assert b" 417 " in expecting.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",  # no Host
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"y" * MAX_HEAD,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
    ],
)
async def test_what_is_not_http_is_told_so(served: Served, request_bytes: bytes) -> None:
    answer = await served.raw(request_bytes, end=True)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501", b"HTTP/1.1 505"))
    assert b"bad_request" in answer
    assert (await served.get("/healthz"))[0] == 200


@pytest.mark.parametrize("seed", range(5))
async def test_noise_harms_nobody(served: Served, seed: int) -> None:
    rng = random.Random(seed)
    good = b"GET /ring HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n"
    for _ in range(40):
        data = bytearray(good if rng.random() < 0.7 else rng.randbytes(rng.randint(0, 9000)))
        for _ in range(rng.randint(0, 4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        await served.raw(bytes(data[: rng.randint(0, len(data))]), end=True)
    await until(lambda: served.server._connections == 0)
    assert (await served.get("/healthz"))[0] == 200


async def test_connections_are_bounded(served: Served) -> None:
    streams = [await served.connect() for _ in range(8)]
    await until(lambda: served.server._connections == 8)
    assert await served.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == b""
    for stream in streams:
        await stream.aclose()
    await until(lambda: served.server._connections == 0)
    assert (await served.get("/healthz"))[0] == 200


async def test_slow_clients_are_bounded(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "REQUEST_WITHIN", 0.1)
    assert await served.raw(b"GET /healthz HT") == b""
    answer = await served.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")  # then idle
    assert answer.count(b"200 OK") == 1


async def test_a_client_that_does_not_read_is_let_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "ANSWER_WITHIN", 0.1)
    stream = await served.connect()
    with trio.move_on_after(2), suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    await until(lambda: served.server._connections == 0)
    await stream.aclose()


async def test_a_client_that_goes_away(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
    stream.socket.close()
    await until(lambda: served.server._connections == 0)


async def test_a_taken_port_is_an_os_error(served: Served) -> None:
    again = OpsServer(served.server.endpoint, served.source, served.stats)
    with pytest.raises(OSError, match="in use"):
        await again.run()


async def test_recovering_takes_a_proof(served: Served) -> None:
    served.source.now = replace(in_ring(), ready=False)
    for headers in ("", "Authorization: Bearer nonsense\r\n", "Authorization: Basic eA==\r\n"):
        status, _, body = await served.get("/ring/recover", "POST", headers)
        assert status == 401
        assert msgspec.json.decode(body)["error"]["code"] == "unauthorized"
    assert not served.source.recovered
    proof = prove(SECRET, served.source.now.situation)
    status, _, body = await served.get(
        "/ring/recover", "POST", f"Authorization: Bearer {proof}\r\n"
    )
    assert status == 200
    assert msgspec.json.decode(body)["view"] == 1
    assert served.source.recovered
    served.source.now = in_ring()
    proof = prove(SECRET, served.source.now.situation)
    status, _, _ = await served.get("/ring/recover", "POST", f"Authorization: Bearer {proof}\r\n")
    assert status == 409


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_recovering_is_a_post_and_nothing_else_is(served: Served, method: str) -> None:
    status, head, _ = await served.get("/ring/recover", method)
    assert status == 405
    assert "allow: post" in head
    status, head, _ = await served.get("/ring", "POST")
    assert status == 405
    assert "allow: get, head" in head


async def test_who_waits_for_its_ring_says_so(served: Served) -> None:
    served.source.now = lonely()
    status, _, body = await served.get("/ring")
    assert status == 503
    told = msgspec.json.decode(body)
    assert (told["node"], told["waits_for"], told["error"]["retry"]) == (ME.hex(), "", True)
