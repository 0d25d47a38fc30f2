"""The gate, as clients meet it: tokens, rates, and whose address counts."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import jwt
import pytest

from front_door import HANDSHAKE
from local_edge import Client, Edge
from node.config import ConfigError, load_config
from node.http.head import parse
from node.identity.gate import Gate
from node.identity.tokens import Key, Tokens

SECRET = b"0123456789abcdef0123456789abcdef"
RULES = """
[[channel]]
match = "/vip/**"
subscribe = "token"
"""


def token(**claims: Any) -> str:
    return jwt.encode({"exp": time.time() + 60, **claims}, SECRET, "HS256")


def edge_of(*, tokens: bool = True, **settings: Any) -> Edge:
    edge = Edge(RULES, **settings)
    if tokens:
        edge.protocol.gate.tokens = Tokens([Key("HS256", SECRET)])
    return edge


# -- tokens ------------------------------------------------------------------------------


async def test_a_handshake_needs_a_token() -> None:
    edge = edge_of()
    (reply,) = edge.request(HANDSHAKE)
    assert reply["error"] == "401::token missing"
    assert reply["advice"] == {"reconnect": "none"}
    (reply,) = edge.request({**HANDSHAKE, "ext": {"token": token(exp=1)}})
    assert reply["error"] == "401::token expired"
    (reply,) = edge.request({**HANDSHAKE, "ext": {"token": 5}})
    assert reply["error"] == "401::token missing"
    assert edge.stats.refused["401"] == 3
    assert len(edge.sessions) == 0
    (reply,) = edge.request({**HANDSHAKE, "ext": {"token": token(sub="ann")}})
    assert reply["successful"]


async def test_a_rule_wants_a_token_that_names_the_channel() -> None:
    edge = edge_of(tokens=False)
    client = edge.client()
    edge.protocol.gate.tokens = Tokens([Key("HS256", SECRET)])

    def subscribe(channel: str, **claims: Any) -> dict[str, Any]:
        ext = {"token": token(**claims)} if claims else {}
        return client.ask("/meta/subscribe", subscription=channel, ext=ext)

    assert subscribe("/vip/a")["error"].startswith("403:/vip/a:subscribe_denied")
    assert not subscribe("/vip/a", channels=["/vip/b"])["successful"]
    assert subscribe("/vip/a", channels=["/vip/a"])["successful"]
    assert subscribe("/vip/b/c", channels=["/vip/**"])["successful"]
    assert subscribe("/vip/a", channels=["/vip/a"], exp=1)["error"] == (
        "403::subscribe_denied, token expired"
    )
    assert subscribe("/free")["successful"]


async def test_without_keys_nobody_gets_where_a_token_is_wanted() -> None:
    client = edge_of(tokens=False).client()
    ext = {"token": token(channels=["/vip/a"])}
    assert not client.ask("/meta/subscribe", subscription="/vip/a", ext=ext)["successful"]


# -- rates -------------------------------------------------------------------------------


async def test_a_session_that_is_too_fast_is_told_so_and_lives() -> None:
    edge = edge_of(tokens=False, session_rate=1)
    client, other = edge.client(), edge.client()
    replies = [client.ask("/a", data=n) for n in range(30)]
    refused = [reply for reply in replies if not reply["successful"]]
    assert len(refused) == 20
    assert refused[0]["error"] == "429::too fast, retry later"
    assert edge.stats.refused["429"] == 20
    assert client.ask("/meta/subscribe", subscription="/a")["error"].startswith("429:")
    assert client.poll(timeout=0).body[0]["successful"]  # connects are not counted
    assert other.ask("/a", data=1)["successful"]


async def test_sessions_of_one_address_are_paced() -> None:
    edge = edge_of(tokens=False, address_rate=1)

    def shake(origin: str) -> Any:
        poll = edge.post([HANDSHAKE], origin=origin)
        return poll.body[0]

    replies = [shake("192.0.2.1") for _ in range(20)]
    refused = [reply for reply in replies if not reply["successful"]]
    assert len(refused) == 10
    assert refused[0]["error"].startswith("429:")
    assert refused[0]["advice"]["reconnect"] == "retry"
    assert shake("192.0.2.2")["successful"]


# -- addresses ---------------------------------------------------------------------------


def client_of(peer: str, forwarded: str = "", **settings: Any) -> str:
    gate = Gate(load_config({"address_rate": 1, **settings}))
    conn = SimpleNamespace(sock=SimpleNamespace(getpeername=lambda: (peer, 1)))
    line = f"X-Forwarded-For: {forwarded}\r\n" if forwarded else ""
    raw = f"POST /bayeux HTTP/1.1\r\nHost: a\r\n{line}Content-Length: 0\r\n\r\n".encode()
    head, _ = parse(raw, frozenset(), b"x" * 16, forwarded=True)
    return gate.client_of(conn, head)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "counted"),
    [
        ("192.0.2.1", "", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "", "192.0.2.1"),  # nobody vouches for it
        ("10.0.0.1", "198.51.100.7", "10.0.0.0/8", "198.51.100.7"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.7", "10.0.0.0/8", "198.51.100.7"),  # made up
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "10.0.0.0/8", "198.51.100.7"),
        ("10.0.0.1", "garbage", "10.0.0.0/8", "10.0.0.1"),
        ("::ffff:192.0.2.1", "", "", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "", "", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "", "", "fe80::/64"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: str, proxies: str, counted: str) -> None:
    assert client_of(peer, forwarded, trusted_proxies=proxies) == counted


def test_where_none_is_counted_none_is_looked_up() -> None:
    assert client_of("192.0.2.1", address_rate=0) == ""


def test_a_network_that_is_none() -> None:
    with pytest.raises(ConfigError, match="trusted"):
        load_config({"trusted_proxies": "10.0.0.0/33"})


async def test_an_open_gate_asks_nothing() -> None:
    assert Client(edge_of(tokens=False)).handshake().id
