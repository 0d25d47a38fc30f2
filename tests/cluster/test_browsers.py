"""Sessions of browsers on other nodes than their own: what is checked travels along."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from sse_client import EventReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster_process import ClusterProcess, NodeProcess

BROWSER = {"User-Agent": "Mozilla/5.0", "Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling"],
}


def bayeux(
    node: NodeProcess, message: dict[str, Any], headers: dict[str, str]
) -> tuple[dict[str, Any], str]:
    """The last reply to one message, and the cookie that came with it."""
    connection = http.client.HTTPConnection("127.0.0.1", node.client_port, timeout=10)
    try:
        connection.request("POST", "/bayeux", json.dumps([message]), headers)
        response = connection.getresponse()
        replies = json.loads(response.read())
    finally:
        connection.close()
    assert response.status == 200, replies
    reply: dict[str, Any] = replies[-1]
    return reply, (response.getheader("Set-Cookie") or "").partition(";")[0]


class Stolen:
    """A session of a browser on node 0, and its cookie."""

    def __init__(self, nodes: list[NodeProcess]) -> None:
        reply, self.cookie = bayeux(nodes[0], HANDSHAKE, BROWSER)
        assert self.cookie.startswith("BAYEUX_BROWSER=")
        self.id = reply["clientId"]

    def subscribed(self, node: NodeProcess, headers: dict[str, str]) -> bool:
        message = {"channel": "/meta/subscribe", "subscription": "/a", "clientId": self.id}
        reply, _ = bayeux(node, message, headers)
        assert reply["successful"] or reply["error"].startswith("402:"), reply
        return bool(reply["successful"])


@pytest.fixture
def stolen(three_nodes: ClusterProcess) -> Iterator[Stolen]:
    stolen = Stolen(three_nodes.nodes)
    yield stolen
    message = {"channel": "/meta/disconnect", "clientId": stolen.id}
    bayeux(three_nodes.nodes[0], message, {**BROWSER, "Cookie": stolen.cookie})


def test_a_relayed_request_is_held_to_the_cookie(
    three_nodes: ClusterProcess, stolen: Stolen
) -> None:
    for node in three_nodes.nodes:
        assert stolen.subscribed(node, {**BROWSER, "Cookie": stolen.cookie})
        assert not stolen.subscribed(node, BROWSER)
        assert not stolen.subscribed(node, {})
        assert not stolen.subscribed(node, {"Cookie": "BAYEUX_BROWSER=AAAAAAAAAAAAAAAAAAAAAA"})
        assert not stolen.subscribed(node, {**FOREIGN, "Cookie": stolen.cookie})


def test_a_session_of_another_site_is_held_to_its_origin(three_nodes: ClusterProcess) -> None:
    nodes = three_nodes.nodes
    reply, cookie = bayeux(nodes[0], HANDSHAKE, FOREIGN)
    assert not cookie
    message = {"channel": "/meta/subscribe", "subscription": "/a", "clientId": reply["clientId"]}
    for node in nodes:
        assert bayeux(node, message, FOREIGN)[0]["successful"]
        evil = {**FOREIGN, "Origin": "https://evil.example"}
        assert bayeux(node, message, evil)[0]["error"].startswith("402:")
        assert bayeux(node, message, BROWSER)[0]["error"].startswith("402:")


def test_a_thief_s_stream_does_not_even_move_the_session(
    three_nodes: ClusterProcess, stolen: Stolen
) -> None:
    nodes = three_nodes.nodes
    mine = {**BROWSER, "Cookie": stolen.cookie}
    assert stolen.subscribed(nodes[0], mine)
    with EventReader(nodes[0].client_port, f"/bayeux/{stolen.id}", mine) as reader:
        reader.next()
        for node in nodes:
            for headers in ({}, BROWSER, FOREIGN):
                with EventReader(node.client_port, f"/bayeux/{stolen.id}", headers) as thief:
                    assert thief.status == 404
                told = {"Last-Event-ID": stolen.id, **headers}
                with EventReader(node.client_port, "/sse?channel=/a", told) as thief:
                    assert thief.session()["session"] != stolen.id
        nodes[2].api("/api/publish", {"channel": "/a", "data": "still here"})
        assert reader.data()[0]["data"] == "still here"
    # The owner moves where it likes.
    with EventReader(nodes[1].client_port, f"/bayeux/{stolen.id}", mine) as reader:
        assert reader.status == 200
        reader.next()
        nodes[2].api("/api/publish", {"channel": "/a", "data": "moved"})
        assert reader.data()[0]["data"] == "moved"
    # And what has moved is bound as before.
    for node in nodes:
        assert stolen.subscribed(node, mine)
        assert not stolen.subscribed(node, BROWSER)


def test_callbacks_are_relayed_as_what_they_are(three_nodes: ClusterProcess) -> None:
    nodes = three_nodes.nodes
    reply, _ = bayeux(nodes[0], HANDSHAKE, {})
    session = {"clientId": reply["clientId"]}
    subscribe = {"channel": "/meta/subscribe", "subscription": "/cb", **session}
    assert bayeux(nodes[0], subscribe, {})[0]["successful"]
    nodes[1].api("/api/publish", {"channel": "/cb", "data": "\u2028"})
    connect = {"channel": "/meta/connect", "connectionType": "callback-polling", **session}
    connect["advice"] = {"timeout": 2_000}
    connection = http.client.HTTPConnection("127.0.0.1", nodes[2].client_port, timeout=10)
    got: list[object] = []
    for _ in range(3):  # the first is answered at once, perhaps before the message is there
        connection.request("GET", f"/bayeux/connect?jsonp=f&message={quote(json.dumps(connect))}")
        body = connection.getresponse().read().decode()
        assert body.startswith("/**/f([")
        assert "\u2028" not in body
        got += [reply["data"] for reply in json.loads(body[6:-2]) if "data" in reply]
        if got:
            break
    connection.close()
    assert got == ["\u2028"]
    name = 'cometring_delivered_total{transport="callback-polling"}'
    assert sum(node.metrics().get(name, 0.0) for node in nodes) == 1
