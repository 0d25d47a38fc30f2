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


def test_secrets_are_not_kept_for_others() -> None:
    cache = HeadCache()
    data = post("Authorization: Bearer k", "Content-Length: 5")
    digest, _ = cache.mark(data)
    head = cache.remember(parse(data, frozenset(), digest)[0])
    assert head.authorization == "Bearer k"
    assert head.digest == digest  # its own connection may know it again
    longer = cache.fitted(head, 12)
    assert (longer.authorization, longer.content_length) == ("Bearer k", 12)
    assert cache.fitted(longer, 12) is longer
    assert len(cache) == 0
    assert cache.find(digest) is None
    assert "Bearer k" not in repr(vars(cache))


def test_what_may_not_be_kept_is_not() -> None:
    cache = HeadCache()
    data = raw("/a", "Upgrade: websocket")
    assert learn(cache, data).upgrade == "websocket"
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


def test_of_a_cookie_only_its_mark_is_kept() -> None:
    cache = HeadCache(mark_of=lambda head: head.cookie.encode()[-1:])
    one = learn(cache, raw("/a", "Cookie: c=1"))
    assert (one.cookie, one.mark) == ("", b"1")
    assert learn(cache, raw("/a", "Cookie: c=2")).mark == b"2"
    unkept = learn(cache, raw("/a", "Cookie: c=3", "Authorization: x"))
    assert (unkept.cookie, unkept.mark) == ("c=3", None)


def post(*fields: str) -> bytes:
    return raw("/a", *fields).replace(b"GET", b"POST", 1)


def test_a_head_is_the_same_though_its_body_is_longer() -> None:
    cache = HeadCache()
    data = post("Content-Length: 5", "Cookie: c=1")
    digest, length = cache.mark(data)
    assert length == 5
    head = cache.remember(parse(data, frozenset({"c"}), digest)[0])
    again, longer = cache.mark(post("Content-Length: 1234", "Cookie: c=1"))
    assert again == digest
    found = cache.find(again)
    assert found is head
    assert cache.fitted(found, longer).content_length == 1234
    assert cache.fitted(found, longer).cookie == "c=1"
    assert cache.fitted(found, longer).shape is cache.fitted(found, longer).shape
    assert cache.fitted(found, 5) is head


def test_only_digits_are_left_out() -> None:
    cache = HeadCache()
    known, _ = cache.mark(post("Content-Length: 5"))
    for value in ("", "-5", "+5", "5 ", "5, 5", "0x5", "5" * 13, "\xb2"):
        digest, length = cache.mark(post(f"Content-Length: {value}"))
        assert length == -1, value
        assert digest != known
    for other in (
        post("Content-Length: 5", "Transfer-Encoding: chunked"),
        post("Content-Length: 5", "Content-Length: 6"),
        post("content-length: 5"),
        raw("/a", "Content-Length: 5"),
    ):
        assert cache.mark(other)[0] != known
