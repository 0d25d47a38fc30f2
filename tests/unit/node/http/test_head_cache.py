from __future__ import annotations

from node.http.head import Head, parse
from node.http.head_cache import DIGEST_BYTES, HeadCache


def raw(path: str, *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def learn(cache: HeadCache, data: bytes) -> Head:
    return cache.remember(parse(data, frozenset({"c"}), cache.digest(data))[0])


def test_the_digest_is_keyed() -> None:
    one, other = HeadCache(), HeadCache()
    assert one.digest(b"x") == one.digest(b"x")
    assert one.digest(b"x") != one.digest(b"y")
    assert one.digest(b"x") != other.digest(b"x")
    assert len(one.digest(b"x")) == DIGEST_BYTES


def test_a_recent_head_is_found() -> None:
    cache = HeadCache()
    head = learn(cache, raw("/a"))
    assert cache.find(cache.digest(raw("/a"))) is head
    assert cache.find(cache.digest(raw("/b"))) is None


def test_what_may_not_be_kept_is_not() -> None:
    cache = HeadCache()
    data = raw("/a", "Authorization: Bearer k")
    assert learn(cache, data).authorization == "Bearer k"
    assert len(cache) == 0
    assert cache.find(cache.digest(data)) is None
    assert cache.find(b"") is None


def test_it_is_bounded_and_keeps_what_is_used() -> None:
    cache = HeadCache(recent=10)
    used = learn(cache, raw("/used"))
    for number in range(100):
        learn(cache, raw(f"/{number}"))
        assert cache.find(used.digest) is used
        assert len(cache) <= 20
    assert cache.find(cache.digest(raw("/0"))) is None


def test_clients_that_differ_in_their_cookie_share_the_rest() -> None:
    cache = HeadCache()
    one = learn(cache, raw("/a", "Cookie: c=1"))
    other = learn(cache, raw("/a", "Cookie: c=2"))
    assert one.cookie == "c=1"
    assert other.cookie == "c=2"
    assert one.shape is other.shape
