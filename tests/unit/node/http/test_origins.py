from __future__ import annotations

import pytest

from node.http.head import Head, parse
from node.http.origins import Origins
from node.origin import check_origin


def head(*fields: str) -> Head:
    raw = "\r\n".join(("GET /bayeux HTTP/1.1", "Host: us.example:81", *fields, "", ""))
    return parse(raw.encode(), frozenset())[0]


SAME = head("Origin: http://us.example:81")
SUBDOMAIN = head("Origin: https://app.them.example")
OTHER = head("Origin: https://evil.example")
NATIVE = head()


@pytest.mark.parametrize(
    ("fields", "foreign"),
    [
        ((), False),
        (("Origin: http://us.example:81",), False),
        (("Origin: HTTP://US.example:81",), False),
        (("Origin: http://us.example",), True),
        (("Origin: null",), True),
        (("Origin: http://evil.example",), True),
        (("Referer: http://us.example:81/page?x=http://evil.example",), False),
        (("Referer: http://evil.example/us.example:81",), True),
        (("Origin: http://inside:9", "Sec-Fetch-Site: same-origin"), False),  # a proxy renamed us
        (("Origin: http://us.example:81", "Sec-Fetch-Site: cross-site"), True),  # another scheme
        (("Sec-Fetch-Site: same-site",), True),
        (("Sec-Fetch-Site: none",), False),
    ],
)
def test_which_pages_are_foreign(fields: tuple[str, ...], foreign: bool) -> None:
    assert head(*fields).foreign is foreign


@pytest.mark.parametrize(
    ("fields", "browser"),
    [
        ((), False),
        (("User-Agent: curl/8",), False),
        (("User-Agent: Mozilla/5.0 (X11)",), True),
        (("Origin: http://us.example:81",), True),
        (("Sec-Fetch-Site: cross-site",), True),
    ],
)
def test_what_is_taken_for_a_browser(fields: tuple[str, ...], browser: bool) -> None:
    assert head(*fields).browser is browser


@pytest.mark.parametrize(
    ("allowed", "allows"),
    [
        (["*"], [True, True, True, True]),
        ([], [True, False, False, True]),
        (["same-origin"], [True, False, False, True]),
        (["https://evil.example"], [True, False, True, True]),
        (["https://*.them.example"], [True, True, False, True]),
        (["http://*.them.example"], [True, False, False, True]),
        (["https://them.example"], [True, False, False, True]),
    ],
)
def test_who_may_come(allowed: list[str], allows: list[bool]) -> None:
    origins = Origins([check_origin(text) for text in allowed])
    assert [origins.allows(h) for h in (SAME, SUBDOMAIN, OTHER, NATIVE)] == allows


def test_a_script_whose_page_is_not_told_may_only_where_all_may() -> None:
    hidden = head("User-Agent: Mozilla/5.0")
    assert Origins(["*"]).allows_script(hidden)
    assert not Origins([]).allows_script(hidden)
    assert Origins([]).allows(hidden)
    assert Origins([]).allows_script(NATIVE)
    assert Origins([]).allows_script(SAME)
    assert not Origins([]).allows_script(head("Sec-Fetch-Site: cross-site"))


@pytest.mark.parametrize("text", ["*", "same-origin", " HTTPS://a.B:1 ", "http://[::1]:80"])
def test_origins_in_settings(text: str) -> None:
    assert check_origin(text) == text.strip().lower()


@pytest.mark.parametrize("text", ["", "a.b", "ftp://a", "http://a/b", "http://*", "https://a.*.b"])
def test_what_no_browser_would_send(text: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        check_origin(text)
