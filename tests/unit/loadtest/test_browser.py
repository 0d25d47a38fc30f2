"""Heads as browsers send them are whole, parseable and each visitor's own."""

from __future__ import annotations

from random import Random

import h11

from loadtest.swarm.browser import Visitor


def parsed(data: bytes) -> tuple[h11.Request, bytes]:
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return request, body


def test_post_is_one_whole_request() -> None:
    head = Visitor(Random(1), "127.0.0.1:8080").post("/bayeux/connect")
    request, body = parsed(head.request(b"[{}]"))
    assert (request.method, request.target, body) == (b"POST", b"/bayeux/connect", b"[{}]")
    assert dict(request.headers)[b"host"] == b"127.0.0.1:8080"


def test_a_head_has_the_size_of_a_browser_s() -> None:
    head = Visitor(Random(1), "127.0.0.1:8080").post("/bayeux/connect")
    assert 600 < len(head.before) + len(head.after) < 1_200


def test_cookies_that_were_set_are_sent_back() -> None:
    visitor = Visitor(Random(1), "localhost")
    visitor.set_cookies({"BAYEUX_BROWSER": "b1"})
    for data in (visitor.post("/").request(b""), visitor.upgrade("/bayeux", "a2V5")):
        cookie = dict(parsed(data)[0].headers)[b"cookie"]
        assert cookie.endswith(b"BAYEUX_BROWSER=b1")
        assert b"sid=" in cookie


def test_every_visitor_has_cookies_of_its_own() -> None:
    heads = {Visitor(Random(seed), "localhost").post("/").after for seed in range(50)}
    assert len(heads) == 50


def test_upgrade_asks_for_a_websocket() -> None:
    request, _ = parsed(Visitor(Random(1), "localhost").upgrade("/bayeux", "a2V5"))
    headers = dict(request.headers)
    assert headers[b"upgrade"] == b"websocket"
    assert headers[b"sec-websocket-key"] == b"a2V5"
    assert headers[b"sec-websocket-version"] == b"13"
