from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.endpoint import Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:8080", Endpoint("127.0.0.1", 8080)),
        ("[::1]:8080", Endpoint("::1", 8080)),
        ("[::1]", Endpoint("::1", 7400)),
        ("node-1.example:1", Endpoint("node-1.example", 1)),
        ("node-1.example", Endpoint("node-1.example", 7400)),
        (":8080", Endpoint("0.0.0.0", 8080)),
        ("8080", Endpoint("127.0.0.1", 8080)),
        (" localhost:0 ", Endpoint("localhost", 0)),
    ],
)
def test_forms(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text, default_port=7400) == endpoint


@pytest.mark.parametrize(
    "text",
    ["", ":", "host:", "host:x", "host:-1", "host:65536", "host:8_0", "host:٣", "::1", "::1:80",
     "[::1", "[::1]80", "[host]:80", "[]:80", "a b:80", "http://host:80", "user@host:80"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets|at most 65535"):
        parse_endpoint(text)


def test_a_host_alone_needs_a_default_port() -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_endpoint("somewhere")


@given(st.text(max_size=40))
def test_only_value_error_escapes(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except ValueError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("host", "loopback", "wildcard"),
    [
        ("127.0.0.1", True, False),
        ("127.9.9.9", True, False),
        ("::1", True, False),
        ("localhost", True, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("192.0.2.1", False, False),
        ("node-1", False, False),
    ],
)
def test_who_can_reach_it(host: str, loopback: bool, wildcard: bool) -> None:
    endpoint = Endpoint(host, 1)
    assert endpoint.is_loopback is loopback
    assert endpoint.is_wildcard is wildcard
