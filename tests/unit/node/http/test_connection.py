"""How requests are answered: at once, later, in pieces, for the last time, or not at all."""

from __future__ import annotations

import msgspec
import pytest
from structlog.testing import capture_logs

from node.errors import LocalProtocolError, RemoteProtocolError
from node.http import Head, HttpConnection, json_response
from wire import Recorder, hold, serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /bayeux HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"


async def test_a_request_is_answered_at_once() -> None:
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        assert served.stats.connections["http"] == 1
        for _ in range(3):
            await client.send(POST)
            assert await client.response() == (
                200,
                {"content-type": "application/json;charset=UTF-8", "content-length": "2"},
                b"[]",
            )
        assert not handler.conns[0].outstanding
    assert handler.requests == [("POST", "/bayeux", b"[]")] * 3


async def test_or_later() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        client = served.connect()
        await client.send(GET)
        await served.settle()
        conn = handler.conns[0]
        assert conn.outstanding
        conn.respond(404, b"no", "text/plain", (("X-A", "b"),))
        assert not conn.outstanding
        status, headers, body = await client.response()
        assert (status, headers["x-a"], body) == (404, "b", b"no")


async def test_answering_twice_is_a_mistake() -> None:
    handler = Recorder()
    async with serving(handler) as served:
        client = served.connect()
        await client.send(GET)
        await client.response()
        conn = handler.conns[0]
        for again in (
            lambda: conn.respond_json(b"[]"),
            lambda: conn.start_events(None, b":"),  # type: ignore[arg-type]
            lambda: conn.upgrade(handler.heads[0], None),  # type: ignore[arg-type]
        ):
            with pytest.raises(LocalProtocolError):
                again()


async def test_a_bad_header_leaves_the_request_to_be_answered() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        client = served.connect()
        await client.send(GET)
        await served.settle()
        with pytest.raises(LocalProtocolError):
            handler.conns[0].respond(200, b"", headers=(("A", "b\r\nC: d"),))
        handler.conns[0].respond_error(503, "unavailable", "later", retry=True)
        status, _, body = await client.response()
        assert status == 503
        assert msgspec.json.decode(body) == {
            "error": {"code": "unavailable", "message": "later", "retry": True}
        }


async def test_a_remote_error_of_the_handler_is_answered() -> None:
    def refuse(conn: HttpConnection, head: Head, body: bytes) -> None:
        raise RemoteProtocolError("go away", 403, "denied", (("X-A", "b"),))

    async with serving(Recorder(answer=refuse)) as served:
        client = served.connect()
        for _ in range(2):  # the connection goes on
            await client.send(GET)
            status, headers, body = await client.response()
            assert (status, headers["x-a"]) == (403, "b")
            assert msgspec.json.decode(body)["error"]["code"] == "denied"


async def test_but_not_after_an_answer() -> None:
    def answer_and_refuse(conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.respond_json(b"[]")
        raise RemoteProtocolError("too late")

    async with serving(Recorder(answer=answer_and_refuse)) as served:
        client = served.connect()
        await client.send(GET + GET)
        for _ in range(2):
            assert (await client.response())[0] == 200


async def test_a_crash_after_the_answer_closes() -> None:
    def answer_and_crash(conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.respond_json(b"[]")
        raise KeyError("a bug")

    with capture_logs():
        async with serving(Recorder(answer=answer_and_crash)) as served:
            client = served.connect()
            await client.send(GET)
            assert (await client.response())[0] == 200
            assert await client.rest() == b""


@pytest.mark.parametrize(
    ("request_bytes", "method"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "GET"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET"),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HEAD"),
    ],
)
async def test_the_last_answer_as_the_client_wished(request_bytes: bytes, method: str) -> None:
    async with serving(Recorder()) as served:
        client = served.connect()
        await client.send(request_bytes)
        status, headers, body = await client.response(method)
        assert (status, headers["connection"]) == (200, "close")
        assert body == (b"" if method == "HEAD" else b"[]")
        assert await client.rest() == b""
        assert served.reactor.connections == 0


async def test_a_last_answer_larger_than_the_socket() -> None:
    def big(conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.respond_json(b" " * 3_000_000)

    async with serving(Recorder(answer=big)) as served:
        client = served.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nand more")
        assert len((await client.response())[2]) == 3_000_000
        assert await client.rest() == b""


async def test_a_large_answer_then_another_request() -> None:
    def big(conn: HttpConnection, head: Head, body: bytes) -> None:
        conn.respond_json(b" " * 3_000_000)

    handler = Recorder(answer=big)
    async with serving(handler) as served:
        client = served.connect()
        await client.send(GET)
        await served.settle()
        await client.send(GET + GET)
        await served.settle()
        assert len(handler.requests) == 1  # the others wait until the client has read
        for _ in range(3):
            assert len((await client.response())[2]) == 3_000_000
        assert len(handler.requests) == 3


async def test_head_is_answered_without_a_body() -> None:
    async with serving(Recorder()) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
            status, headers, body = await client.response("HEAD")
            assert (status, headers["content-length"], body) == (200, "2", b"")


async def test_draining() -> None:
    handler = Recorder(answer=hold)
    async with serving(handler) as served:
        held, idle = served.connect(), served.connect()
        await held.send(GET)
        await served.settle()
        served.service.drain()
        assert served.reactor.connections == 2
        handler.conns[0].respond_prebuilt(json_response(b"[1]"))
        status, headers, body = await held.response()
        assert (status, headers["connection"], body) == (200, "close", b"[1]")
        assert await held.rest() == b""
        handler.answer = None
        await idle.send(GET)
        assert (await idle.response())[1]["connection"] == "close"
        assert await idle.rest() == b""


class TestLoss:
    """What the handler is told, and when."""

    @pytest.mark.parametrize("held", [True, False])
    @pytest.mark.parametrize("owned", [True, False])
    async def test_told_if_it_matters(self, held: bool, owned: bool) -> None:
        def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
            conn.owner = handler if owned else None
            if not held:
                conn.respond_json(b"[]")

        handler = Recorder(answer=answer)
        async with serving(handler) as served:
            client = served.connect()
            await client.send(GET)
            await served.settle()
            client.close()
            await served.settle()
            assert handler.lost == (handler.conns if held or owned else [])
            assert served.reactor.connections == 0
            assert served.stats.connections["http"] == 0
            conn = handler.conns[0]
            conn.respond_json(b"too late")
            with pytest.raises(LocalProtocolError):
                conn.start_events(None, b":")  # type: ignore[arg-type]

    async def test_our_own_close_is_told_later(self) -> None:
        handler = Recorder(answer=hold)
        async with serving(handler) as served:
            client = served.connect()
            await client.send(GET)
            await served.settle()
            handler.conns[0].close()
            handler.conns[0].respond_json(b"[]")
            assert handler.lost == []
            assert await client.rest() == b""
            await served.settle()
            assert handler.lost == []  # (it was answered)
            assert served.stats.connections["http"] == 0

    async def test_a_client_that_has_gone_when_it_is_answered(self) -> None:
        handler = Recorder(answer=hold)
        async with serving(handler) as served:
            clients = [served.connect() for _ in range(5)]
            for client in clients:
                await client.send(GET)
            await served.settle()
            for client in clients:
                client.close()
            for conn in handler.conns:
                conn.respond_json(b"[]")
            assert handler.lost == []
            await served.settle()
            assert handler.lost == []
            assert served.reactor.connections == 0


async def test_a_crash_while_busy_is_answered_500() -> None:
    def crash(conn: HttpConnection, head: Head, body: bytes) -> None:
        raise KeyError("a bug")

    handler = Recorder(answer=crash)
    with capture_logs() as logs:
        async with serving(handler) as served:
            client = served.connect()
            await client.send(GET)
            status, headers, _ = await client.response()
            assert (status, headers["connection"]) == (500, "close")
            await served.settle()
            assert handler.lost == handler.conns
    assert [entry["event"] for entry in logs] == ["connection_crashed"]


async def test_more_header_lines_go_into_one_answer() -> None:
    def answer(conn: HttpConnection, head: Head, body: bytes) -> None:
        if head.path == "/":
            conn.add_headers(b"X-A: 1\r\n")
            conn.add_headers(b"X-B: 2\r\n")
        conn.respond_json(b"[]")

    async with serving(Recorder(answer=answer)) as served:
        client = served.connect()
        await client.send(GET)
        _, headers, _ = await client.response()
        assert (headers["x-a"], headers["x-b"]) == ("1", "2")
        await client.send(POST)
        _, headers, _ = await client.response()
        assert "x-a" not in headers


async def test_answers_are_counted_by_route_and_status() -> None:
    async with serving(Recorder()) as served:
        client = served.connect()
        for _ in range(2):
            await client.send(POST)
            await client.response()
        assert served.stats.http_requests == {("other", 200): 2}
