"""The demo's files: complete, of the right type, and nothing but them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from node.demo import asset

STATIC = files("node.demo") / "static"


def text_of(path: str) -> str:
    found = asset(path)
    assert found is not None
    return found[1].decode()


def referred(path: str) -> set[str]:
    """What the file at `path` makes a browser load."""
    text = text_of(path)
    if path == "/":
        return set(re.findall(r'(?:src|href)="(/[^"]+)"', text))
    return {f"/demo/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}


def reachable() -> set[str]:
    seen: set[str] = set()
    ahead = {"/"}
    while ahead:
        path = ahead.pop()
        seen.add(path)
        if path == "/" or path.endswith(".js"):
            ahead |= referred(path) - seen
    return seen


def test_the_page_finds_everything_that_it_refers_to() -> None:
    for path in reachable():
        assert asset(path) is not None, path


def test_every_file_in_the_folder_is_used() -> None:
    served = {path.rpartition("/")[2] or "index.html" for path in reachable()}
    assert {file.name for file in STATIC.iterdir()} == served


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html;charset=UTF-8"),
        ("/demo/app.js", "text/javascript;charset=UTF-8"),
        ("/demo/base.css", "text/css;charset=UTF-8"),
        ("/demo/favicon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
    ],
)
def test_content_types(path: str, content_type: str) -> None:
    found = asset(path)
    assert found is not None
    assert found[0] == content_type
    assert found[1]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "index.html",
        "/demo",
        "/demo/",
        "/demo/missing.js",
        "/demo/__init__.py",
        "/demo/../__init__.py",
        "/demo/static/../app.js",
        "/demo/%2e%2e/__init__.py",
        "/demo//app.js",
        "/demo/APP.js",
        "//demo/app.js",
        "/etc/passwd",
        "/demo/app.js\0",
    ],
)
def test_nothing_else_exists(path: str) -> None:
    assert asset(path) is None


def test_a_file_is_read_once() -> None:
    assert asset("/") is asset("/")


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    page = text_of("/")
    assert "script-src 'self'" in page
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page)
    for path in reachable():
        addresses = re.findall(r"https?://[^\s\"'`)]+", text_of(path))
        assert [url for url in addresses if "www.w3.org" not in url] == [], path


def test_text_from_others_never_becomes_markup() -> None:
    for path in reachable():
        if path.endswith(".js"):
            forbidden = (
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
            )
            assert not re.search(forbidden, text_of(path)), path


def test_the_client_stays_small() -> None:
    for path in reachable():
        if path.endswith(".js"):
            assert text_of(path).count("\n") < 350, path
