"""Whose session: cookies, origins, and what a stolen session id is worth."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
import trio

from front_door import BROWSER, HANDSHAKE, FrontDoor, Visitor, front_door
from loadtest.swarm.frames import TEXT, client_frame
from node.bayeux.binding import admits, cookie_mark, names_browser, origin_mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SUBSCRIBE = {"channel": "/meta/subscribe", "subscription": "/a"}
FOREIGN = ("Origin: https://elsewhere.example",)


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    async with front_door() as door:
        yield door


async def tried(visitor: Visitor, session: str, *headers: str) -> bool:
    """Whether a subscription in the session's name is accepted; 402 otherwise."""
    (reply,), _ = await visitor.bayeux({**SUBSCRIBE, "clientId": session}, headers=headers)
    if not reply["successful"]:
        assert reply["error"].startswith("402:")
        assert reply["advice"]["reconnect"] == "handshake"
    return bool(reply["successful"])


# -- the cookie ---------------------------------------------------------------------


async def test_a_browser_gets_a_cookie_of_the_right_kind(door: FrontDoor) -> None:
    _, headers = await door.connect().bayeux(HANDSHAKE, headers=BROWSER)
    value, *attributes = headers["set-cookie"].split("; ")
    assert value.startswith("BAYEUX_BROWSER=")
    assert len(value) - len("BAYEUX_BROWSER=") == 22
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Lax"}


async def test_it_is_secure_where_the_page_is(door: FrontDoor) -> None:
    secure = ("Origin: https://x", "Sec-Fetch-Site: same-origin")
    _, headers = await door.connect().bayeux(HANDSHAKE, headers=secure)
    assert "Secure" in headers["set-cookie"].split("; ")


async def test_a_browser_that_has_one_keeps_it(door: FrontDoor) -> None:
    visitor = door.connect()
    _, cookie = await visitor.handshake(*BROWSER)
    _, other = await visitor.handshake(*BROWSER, f"Cookie: a=b; {cookie}")
    assert not other


async def test_others_get_none(door: FrontDoor) -> None:
    for headers in ((), ("User-Agent: curl/8",), FOREIGN, ("Sec-Fetch-Site: cross-site",)):
        assert not (await door.connect().handshake(*headers))[1]


async def test_only_a_handshake_sets_it(door: FrontDoor) -> None:
    _, headers = await door.connect().bayeux({"channel": "/a", "data": 1}, headers=BROWSER)
    assert "set-cookie" not in headers


# -- what it guards --------------------------------------------------------------------


async def test_a_session_of_a_browser_needs_its_cookie(door: FrontDoor) -> None:
    visitor = door.connect()
    reply, cookie = await visitor.handshake(*BROWSER)
    session = reply["clientId"]
    other = "Cookie: BAYEUX_BROWSER=AAAAAAAAAAAAAAAAAAAAAA"
    assert await tried(visitor, session, *BROWSER, f"Cookie: {cookie}")
    assert await tried(visitor, session, f"Cookie: z=1; {cookie}")
    assert not await tried(visitor, session, *BROWSER)
    assert not await tried(visitor, session)
    assert not await tried(visitor, session, *BROWSER, other)
    assert not await tried(visitor, session, *FOREIGN, f"Cookie: {cookie}")
    assert len(door.sessions) == 1


async def test_also_in_the_second_message_of_a_batch(door: FrontDoor) -> None:
    visitor = door.connect()
    reply, cookie = await visitor.handshake(*BROWSER)
    mine, _ = await visitor.handshake()
    disconnect = {"channel": "/meta/disconnect", "clientId": reply["clientId"]}
    for first in ({**SUBSCRIBE, "clientId": mine["clientId"]}, {"channel": "/a", "data": 1}):
        replies, _ = await visitor.bayeux(first, disconnect)
        assert replies[1]["error"].startswith("402:")
    shown = {**SUBSCRIBE, "clientId": reply["clientId"]}
    replies, _ = await visitor.bayeux(shown, disconnect, headers=(f"Cookie: {cookie}",))
    assert all(reply["successful"] for reply in replies)


async def test_a_session_of_another_site_is_bound_to_it(door: FrontDoor) -> None:
    visitor = door.connect()
    reply, _ = await visitor.handshake(*FOREIGN)
    session = reply["clientId"]
    assert await tried(visitor, session, *FOREIGN)
    assert not await tried(visitor, session, "Origin: https://evil.example")
    assert not await tried(visitor, session, *BROWSER)
    assert not await tried(visitor, session)


async def test_a_script_of_another_site_is_known_by_its_referer(door: FrontDoor) -> None:
    visitor = door.connect()
    reply, _ = await visitor.handshake("Referer: https://elsewhere.example/page")
    assert await tried(visitor, reply["clientId"], "Referer: https://elsewhere.example/other")
    assert await tried(visitor, reply["clientId"], *FOREIGN)
    assert not await tried(visitor, reply["clientId"], "Referer: https://evil.example/")


async def test_a_browser_that_hides_its_page_is_bound_once_it_shows_the_cookie(
    door: FrontDoor,
) -> None:
    visitor, hidden = door.connect(), "User-Agent: Mozilla/5.0"
    reply, cookie = await visitor.handshake(hidden)
    assert cookie
    assert await tried(visitor, reply["clientId"], hidden)  # a foreign page: it was not kept
    reply, _ = await visitor.handshake(hidden, f"Cookie: {cookie}")
    assert not await tried(visitor, reply["clientId"], hidden)
    assert await tried(visitor, reply["clientId"], hidden, f"Cookie: {cookie}")


async def test_a_native_client_is_bound_to_nothing(door: FrontDoor) -> None:
    visitor = door.connect()
    reply, _ = await visitor.handshake("User-Agent: curl/8")
    assert await tried(visitor, reply["clientId"], *BROWSER)
    assert await tried(visitor, reply["clientId"])


async def test_but_to_the_cookie_if_it_shows_one(door: FrontDoor) -> None:
    visitor = door.connect()
    cookie = "Cookie: BAYEUX_BROWSER=whatever-another-server-gave"
    reply, _ = await visitor.handshake(cookie)
    assert await tried(visitor, reply["clientId"], cookie)
    assert not await tried(visitor, reply["clientId"])


async def test_the_record_keeps_a_short_digest_and_no_cookie(door: FrontDoor) -> None:
    _, cookie = await door.connect().handshake(*BROWSER)
    (session,) = door.sessions.all()
    record = door.cluster.record(session.address)
    assert record is not None
    assert len(record.extra) == 9
    assert session.binding is record.extra
    assert cookie.partition("=")[2].encode() not in record.extra


# -- WebSocket ------------------------------------------------------------------------------


async def upgraded(door: FrontDoor, *headers: str) -> Visitor:
    visitor = door.connect()
    key = b64encode(b"0123456789abcdef").decode()
    await visitor.send(
        "GET /bayeux",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        *headers,
    )
    with trio.fail_after(5):
        head = await visitor.client.until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return visitor


async def said(visitor: Visitor, message: dict[str, Any]) -> dict[str, Any]:
    await visitor.client.send(client_frame(json.dumps([message]).encode(), b"abcd", TEXT))
    with trio.fail_after(5):
        start = await visitor.client.exactly(2)
        size = start[1]
        if size == 126:
            size = int.from_bytes(await visitor.client.exactly(2), "big")
        (reply,) = json.loads(await visitor.client.exactly(size))
    return dict(reply)


@pytest.mark.parametrize(
    ("shown", "admitted"),
    [
        ("nothing", True),
        ("cookie", True),
        ("another cookie", False),
        ("foreign page", False),
        ("foreign page and cookie", False),
    ],
)
async def test_a_session_resumes_on_a_websocket(
    door: FrontDoor, shown: str, admitted: bool
) -> None:
    reply, cookie = await door.connect().handshake(*BROWSER)
    headers = {
        "nothing": ("Origin: http://x",),
        "cookie": ("Origin: http://x", f"Cookie: {cookie}"),
        "another cookie": ("Cookie: BAYEUX_BROWSER=BBBBBBBBBBBBBBBBBBBBBB",),
        "foreign page": FOREIGN,
        "foreign page and cookie": (*FOREIGN, f"Cookie: {cookie}"),
    }[shown]
    socket = await upgraded(door, *headers)
    reply = await said(socket, {**SUBSCRIBE, "clientId": reply["clientId"]})
    assert reply["successful"] is admitted
    if not admitted:
        assert reply["error"].startswith("402:")


async def test_a_session_of_another_site_resumes_on_its_websockets_only(door: FrontDoor) -> None:
    reply, _ = await door.connect().handshake(*FOREIGN)
    message = {**SUBSCRIBE, "clientId": reply["clientId"]}
    assert (await said(await upgraded(door, *FOREIGN), message))["successful"]
    assert not (await said(await upgraded(door), message))["successful"]
    assert not (await said(await upgraded(door, "Origin: http://x"), message))["successful"]


async def test_a_session_made_on_a_websocket_is_bound_to_the_cookie_it_came_with(
    door: FrontDoor,
) -> None:
    cookie = "Cookie: BAYEUX_BROWSER=CCCCCCCCCCCCCCCCCCCCCC"
    bound = await said(await upgraded(door, cookie), HANDSHAKE)
    free = await said(await upgraded(door), HANDSHAKE)
    visitor = door.connect()
    assert await tried(visitor, bound["clientId"], cookie)
    assert not await tried(visitor, bound["clientId"])
    assert await tried(visitor, free["clientId"])


# -- marks -------------------------------------------------------------------------------------


def test_marks() -> None:
    cookie, origin = cookie_mark("x"), origin_mark("https://a")
    assert len(cookie) == len(origin) == 9
    assert cookie != cookie_mark("y")
    assert origin == origin_mark("HTTPS://A")
    assert cookie_mark("https://a") != origin
    assert names_browser(cookie)
    assert not names_browser(origin)
    assert not names_browser(b"")


def test_what_admits() -> None:
    cookie, origin = cookie_mark("x"), origin_mark("https://a")
    assert admits(b"", b"")
    assert admits(b"", cookie)
    assert admits(cookie, cookie)
    assert not admits(cookie, b"")
    assert not admits(cookie, origin)
    assert admits(cookie, b"", websocket=True)
    assert not admits(cookie, cookie_mark("y"), websocket=True)
    assert not admits(origin, b"", websocket=True)
