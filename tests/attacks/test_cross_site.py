"""Attacks from pages of other sites: WebSockets, posts without preflight, scripts, streams."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
import trio

from front_door import HANDSHAKE, FrontDoor, front_door, script_query

EVIL = "Origin: https://evil.example"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + b64encode(b"0123456789abcdef").decode(),
)
FRIEND = "https://friend.example"


async def upgrade(door: FrontDoor, *headers: str) -> int:
    visitor = door.connect()
    await visitor.send("GET /bayeux", *UPGRADE, *headers)
    with trio.fail_after(5):
        head = await visitor.client.until(b"\r\n\r\n")
    return int(head.split()[1])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((EVIL,), 403),
        (("Origin: null",), 403),
        (("Origin: http://x.evil.example",), 403),
        (("Origin: http://x@evil.example",), 403),
        (("Origin: https://friend.example.evil.example",), 403),
        (("Origin: http://friend.example",), 403),
        (("Origin: http://xx",), 403),
        (("Sec-Fetch-Site: cross-site",), 403),
        (("Origin: http://x", "Sec-Fetch-Site: cross-site"), 403),
        (("Origin: https://friend.example",), 101),
        (("Origin: http://x",), 101),
        ((), 101),
    ],
)
async def test_a_websocket_of_a_page_that_is_not_named(
    headers: tuple[str, ...], status: int
) -> None:
    async with front_door(allowed_origins=FRIEND) as door:
        assert await upgrade(door, *headers) == status


async def test_a_post_that_needs_no_preflight_makes_no_session() -> None:
    async with front_door(allowed_origins=FRIEND) as door:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            status, headers, _ = await door.connect().ask(
                "POST /bayeux", EVIL, f"Content-Type: {kind}", body=json.dumps(HANDSHAKE).encode()
            )
            assert status == 403
            assert "access-control-allow-origin" not in headers
        assert len(door.sessions) == 0


@pytest.mark.parametrize(
    "headers",
    [
        ("Referer: https://evil.example/",),
        ("Sec-Fetch-Site: cross-site",),
        ("User-Agent: Mozilla/5.0",),  # a page that hides itself: no-referrer over plain HTTP
    ],
)
async def test_a_script_of_a_page_that_is_not_named(headers: tuple[str, ...]) -> None:
    async with front_door(allowed_origins=FRIEND) as door:
        query = script_query(HANDSHAKE)
        status, _, body = await door.connect().ask(f"GET /bayeux?{query}", *headers)
        assert status == 403
        assert not body.startswith(b"/**/")
        assert len(door.sessions) == 0


async def test_where_all_may_come_nothing_of_the_visitor_s_comes_along() -> None:
    """The cookie is SameSite=Lax; if a browser sent it all the same, it would not count."""
    async with front_door() as door:
        visitor = door.connect()
        reply, cookie = await visitor.handshake("Origin: http://x")
        message = {"channel": "/meta/subscribe", "subscription": "/a"}
        message["clientId"] = reply["clientId"]
        (answer,), headers = await visitor.bayeux(message, headers=(EVIL, f"Cookie: {cookie}"))
        assert answer["error"].startswith("402:")
        assert headers["access-control-allow-origin"] == "https://evil.example"


async def test_the_application_interface_is_not_for_pages() -> None:
    async with front_door() as door:
        status, headers, _ = await door.connect().ask("GET /nowhere", EVIL)
        assert status == 404
        assert "access-control-allow-origin" not in headers


async def test_an_origin_cannot_write_header_lines() -> None:
    async with front_door() as door:
        visitor = door.connect()
        body = json.dumps(HANDSHAKE).encode()
        status, headers, _ = await visitor.ask(
            "POST /bayeux", "Origin: https://a.example, X: y", body=body
        )
        assert status == 200
        assert "x" not in headers
