"""Bayeux over HTTP as bytes: bodies, paths, callbacks, other origins."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
import trio

from front_door import HANDSHAKE, Visitor, front_door, script_query
from node.http import HttpSettings

FORM = "Content-Type: application/x-www-form-urlencoded"
PUBLISH = {"channel": "/a", "data": 1}


def form(*values: Any) -> bytes:
    return "&".join(f"message={quote(json.dumps(value))}" for value in values).encode()


async def channels_of(visitor: Visitor, body: bytes, *headers: str) -> list[str]:
    status, _, answer = await visitor.ask("POST /bayeux", *headers, body=body)
    assert status == 200, answer
    return [reply["channel"] for reply in json.loads(answer)]


# -- bodies -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "text/json;charset=UTF-8", "x/y", ""]
)
@pytest.mark.parametrize("body", [[PUBLISH], PUBLISH, [PUBLISH, PUBLISH]])
async def test_json_of_any_type(kind: str, body: Any) -> None:
    async with front_door() as door:
        headers = [f"Content-Type: {kind}"] if kind else []
        replies = await channels_of(door.connect(), json.dumps(body).encode(), *headers)
        assert replies == ["/a"] * (len(body) if isinstance(body, list) else 1)


@pytest.mark.parametrize(
    ("values", "count"),
    [([PUBLISH], 1), ([[PUBLISH, PUBLISH]], 2), ([PUBLISH, [PUBLISH, PUBLISH], PUBLISH], 4)],
)
@pytest.mark.parametrize("header", [FORM, "Content-Type: text/plain;charset=UTF-8"])
async def test_forms_single_or_many_valued(values: list[Any], count: int, header: str) -> None:
    async with front_door() as door:
        assert await channels_of(door.connect(), form(*values), header) == ["/a"] * count


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"[]", ()),
        (b"[", ()),
        (b"7", ()),
        (b"[[]]", ()),
        (b"\xff", ()),
        (b"message=", (FORM,)),
        (b"message=[]", (FORM,)),
        (b"message={}x", (FORM,)),
        (b"message=%5B%5D&message=%7B%7D", (FORM,)),
        (b"message=%ff", (FORM,)),
        (b"message=\xc3\xa4", (FORM,)),
        (b"messages={}", (FORM,)),
        (b"x=1&" * 2_000 + b"message={}", (FORM,)),
    ],
)
async def test_what_is_no_batch_is_answered_400(body: bytes, headers: tuple[str, ...]) -> None:
    async with front_door() as door:
        status, _, answer = await door.connect().ask("POST /bayeux", *headers, body=body)
        assert status == 400
        assert json.loads(answer)["error"]["code"] == "bad_request"


@pytest.mark.parametrize(
    "path",
    ["/bayeux", "/cometd", "/bayeux/", "/bayeux/handshake", "/cometd/handshake", "/bayeux/a/b?c=d"],
)
async def test_paths_and_their_suffixes(path: str) -> None:
    async with front_door() as door:
        body = json.dumps(HANDSHAKE).encode()
        status, _, answer = await door.connect().ask(f"POST {path}", body=body)
        assert status == 200
        assert json.loads(answer)[0]["successful"] is True


@pytest.mark.parametrize("path", ["/bayeuxx", "/bayeu", "/cometdd/x", "/Bayeux"])
async def test_other_paths_are_not_bayeux(path: str) -> None:
    async with front_door() as door:
        assert (await door.connect().ask(f"POST {path}", body=b"{}"))[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_refused(method: str) -> None:
    async with front_door() as door:
        visitor = door.connect()
        await visitor.send(f"{method} /bayeux")
        with trio.fail_after(5):
            head = await visitor.client.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405")
        assert b"Allow: GET, POST, OPTIONS" in head


# -- callback-polling ------------------------------------------------------------------


async def test_a_callback_session_from_handshake_to_delivery() -> None:
    async with front_door() as door:
        visitor = door.connect()

        async def call(*messages: dict[str, Any]) -> list[Any]:
            line = f"GET /bayeux?{script_query(messages, 'a.b_c-1')}"
            status, headers, body = await visitor.ask(line)
            assert status == 200
            assert headers["content-type"] == "application/javascript;charset=UTF-8"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-disposition"].startswith("attachment")
            assert body.startswith(b"/**/a.b_c-1([")
            assert body.endswith(b"]);")
            return list(json.loads(body[len("/**/a.b_c-1(") : -2]))

        (reply,) = await call(HANDSHAKE)
        assert "callback-polling" in reply["supportedConnectionTypes"]
        session = {"clientId": reply["clientId"]}
        await call({"channel": "/meta/subscribe", "subscription": "/a", **session})
        connect = {"channel": "/meta/connect", "connectionType": "callback-polling", **session}
        (first,) = await call(connect)  # never held
        assert first["successful"]
        async with trio.open_nursery() as nursery:

            async def poll() -> None:
                message, connected = await call(connect)
                assert message["data"] == "held"
                assert connected["successful"]

            nursery.start_soon(poll)
            while door.sessions.all()[0].poll is None:
                await trio.sleep(0.01)
            door.publish("/a", "held")
        assert door.stats.delivered == {"callback-polling": 1}
        door.publish("/a", "between")
        await door.served.settle()
        message, _ = await call({**connect, "advice": {"timeout": 0}})
        assert message["data"] == "between"
        assert door.stats.delivered == {"callback-polling": 2}


async def test_a_callback_client_that_leaves_spends_no_message() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        connect = client.connect_message("callback-polling")
        gone = door.connect()
        await gone.send(f"GET /bayeux?{script_query([connect])}")
        session = door.sessions.get(client.address)
        assert session is not None
        while session.poll is None:
            await trio.sleep(0.01)
        gone.client.close()
        while session.poll is not None:
            await trio.sleep(0.01)
        door.publish("/a", 1)
        await door.served.settle()
        assert [message["data"] for message in client.fetch()] == [1]


async def test_the_default_callback_is_the_specification_s() -> None:
    async with front_door() as door:
        line = f"GET /bayeux?{script_query(HANDSHAKE, None)}"
        assert (await door.connect().ask(line))[2].startswith(b"/**/jsonpcallback([")


async def test_separators_of_javascript_are_escaped() -> None:
    async with front_door() as door:
        client = door.client()
        client.subscribe("/a")
        door.publish("/a", "\u2028|\u2029")
        door.flush()
        connect = client.connect_message("callback-polling", timeout=0)
        _, _, body = await door.connect().ask(f"GET /bayeux?{script_query([connect])}")
        text = body.decode()
        assert "\u2028" not in text
        assert "\u2029" not in text
        (message, _) = json.loads(text[len("/**/cb(") : -2])
        assert message["data"] == "\u2028|\u2029"


@pytest.mark.parametrize("query", ["", "?", "?jsonp=cb", "?message=", "?message=[]&jsonp=cb"])
async def test_a_get_without_messages_is_answered_400(query: str) -> None:
    async with front_door() as door:
        assert (await door.connect().ask(f"GET /bayeux{query}"))[0] == 400


# -- other origins -----------------------------------------------------------------------


FOREIGN = "Origin: https://elsewhere.example"
CORS = {
    "access-control-allow-origin": "https://elsewhere.example",
    "access-control-allow-credentials": "true",
    "vary": "Origin",
}


async def test_any_origin_may_come_by_default() -> None:
    async with front_door() as door:
        visitor = door.connect()
        status, headers, body = await visitor.ask(
            "OPTIONS /bayeux/handshake",
            FOREIGN,
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: content-type,x-mine",
        )
        assert (status, body) == (204, b"")
        assert CORS.items() <= headers.items()
        assert headers["access-control-allow-headers"] == "content-type,x-mine"
        assert "POST" in headers["access-control-allow-methods"]
        _, headers = await visitor.bayeux(HANDSHAKE, headers=(FOREIGN,))
        assert CORS.items() <= headers.items()
        assert "set-cookie" not in headers
        status, headers, _ = await visitor.ask("POST /bayeux", FOREIGN, body=b"[]")
        assert status == 400
        assert CORS.items() <= headers.items()


async def test_a_page_of_ours_needs_no_cors() -> None:
    async with front_door() as door:
        _, headers = await door.connect().bayeux(HANDSHAKE, headers=("Origin: http://x",))
        assert not any(name.startswith("access-control") for name in headers)


async def test_origins_can_be_named() -> None:
    async with front_door(allowed_origins="https://elsewhere.example") as door:
        visitor = door.connect()
        body = json.dumps(HANDSHAKE).encode()
        other = "Origin: https://evil.example"
        for method in ("POST", "OPTIONS"):
            status, headers, _ = await visitor.ask(f"{method} /bayeux", other, body=body)
            assert status == 403
            assert "access-control-allow-origin" not in headers
        assert door.stats.refused["origin"] == 2
        assert (await visitor.ask("POST /bayeux", FOREIGN, body=body))[0] == 200
        assert (await visitor.ask("POST /bayeux", "Origin: http://x", body=body))[0] == 200
        assert (await visitor.ask("POST /bayeux", body=body))[0] == 200


async def test_a_page_may_read_that_its_body_is_too_large() -> None:
    settings = HttpSettings(max_body=1024)
    async with front_door(settings, allowed_origins="https://elsewhere.example") as door:
        for origin, told in ((FOREIGN, "https://elsewhere.example"), ("Origin: http://x", None)):
            for more in ((), ("Expect: 100-continue",)):
                visitor = door.connect()
                await visitor.send("POST /bayeux", origin, "Content-Length: 5000", *more)
                if not more:
                    await visitor.client.send(b" " * 5_000)
                status, headers, _ = await visitor.client.response()
                assert status == 413
                assert headers.get("access-control-allow-origin") == told
                assert headers.get("vary") == ("Origin" if told else None)
        visitor = door.connect()
        status, headers, _ = await visitor.ask(
            "POST /bayeux", "Origin: https://evil.example", body=b" " * 5_000
        )
        assert status == 413
        assert "access-control-allow-origin" not in headers
