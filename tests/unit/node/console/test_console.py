"""The console on the ops listener: its files, its feed, its search, and who may not."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
import trio

from console_sim import Imagined, imagined_console
from node import ops
from node.console.console import POLICY, asset
from node.console.feed import MAX_CONSOLES
from node.endpoint import Endpoint
from node.ops import OpsServer
from node.stats import Stats
from peers_rig import HOST, until
from pubsub.sessions import session_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATIC = files("node.console") / "static"
SECRET = session_id("tag", b"0123456789abcdef")


def text_of(path: str) -> str:
    found = asset(path)
    assert found is not None, path
    return found[1].decode()


def reachable() -> set[str]:
    """The page and all that it makes a browser load."""
    seen: set[str] = set()
    ahead = {"/console"}
    while ahead:
        path = ahead.pop()
        seen.add(path)
        text = text_of(path)
        found = re.findall(r'(?:src|href)="(/[^"]+)"', text) if path == "/console" else []
        found += [f"/console/{name}" for name in re.findall(r'from "\./([^"]+)"', text)]
        ahead |= set(found) - seen
    return seen


def test_every_file_is_there_and_used() -> None:
    names = {path.rpartition("/")[2] for path in reachable()} - {"base.css", "favicon.svg"}
    assert {file.name for file in STATIC.iterdir()} == names - {"console"} | {"index.html"}


def test_nothing_is_loaded_from_elsewhere_or_written_into_the_page() -> None:
    for path in reachable():
        text = text_of(path).replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]+/|innerHTML|outerHTML|eval\(", text), path
    page = text_of("/console")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)
    assert "unsafe" not in POLICY


class Served:
    """The console of an imagined ring, on a real listener."""

    def __init__(self, server: OpsServer, cluster: Imagined) -> None:
        self.server = server
        self.cluster = cluster

    async def ask(self, target: str, headers: str = "", method: str = "GET") -> trio.SocketStream:
        stream = await trio.open_tcp_stream(HOST, self.server.endpoint.port)
        request = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"
        await stream.send_all(request.encode())
        return stream

    async def get(
        self, target: str, headers: str = "", method: str = "GET"
    ) -> tuple[int, str, bytes]:
        stream = await self.ask(target, headers, method)
        answer = b""
        with trio.fail_after(5):
            async for data in stream:
                answer += data
        await stream.aclose()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), head.decode().lower(), body

    async def follow(self) -> trio.SocketStream:
        """An open feed, of which the first pulse has come."""
        stream = await self.ask("/console/feed")
        with trio.fail_after(5):
            answer = b""
            while b"event: pulse" not in answer:
                answer += await stream.receive_some(65_536)
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b" 200 ok" in head
        assert b"content-type: text/event-stream" in head
        assert b"cache-control: no-store" in head
        return stream


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    cluster, console = imagined_console(9, 0.02)
    server = OpsServer(Endpoint(HOST, 0), cluster, Stats(), console=console)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        nursery.start_soon(console.run)
        yield Served(server, cluster)
        nursery.cancel_scope.cancel()


async def test_files_have_a_policy(served: Served) -> None:
    for path in reachable():
        status, head, body = await served.get(path)
        assert status == 200
        assert f"content-security-policy: {POLICY}".lower() in head
        assert body == text_of(path).encode()
    status, _, _ = await served.get("/console/../console")
    assert status == 404


async def test_the_feed_flows_until_the_client_goes(served: Served) -> None:
    assert served.cluster.asked == 0
    stream = await served.follow()
    console = served.server.console
    assert console is not None
    assert console.feed.open == 1
    await stream.aclose()
    await until(lambda: console.feed.open == 0)
    await until(lambda: served.server._connections == 0)


async def test_consoles_are_few(served: Served) -> None:
    streams = [await served.follow() for _ in range(MAX_CONSOLES)]
    assert (await served.get("/console/feed", method="HEAD"))[0] == 503
    status, _, body = await served.get("/console/feed")
    assert status == 503
    assert b'"retry":true' in body
    assert (await served.get("/readyz"))[0] == 200
    for stream in streams:
        await stream.aclose()
    console = served.server.console
    assert console is not None
    await until(lambda: console.feed.open == 0)
    status, head, body = await served.get("/console/feed", method="HEAD")
    assert (status, body) == (200, b"")
    assert "text/event-stream" in head


async def test_a_console_that_takes_nothing_is_dropped(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "ANSWER_WITHIN", 0.2)
    stream = await served.follow()
    console = served.server.console
    assert console is not None
    await until(lambda: console.feed.open == 0, 30)
    await stream.aclose()


async def test_finding(served: Served) -> None:
    status, head, body = await served.get("/console/find?name=%2Fchat%2Flobby")
    assert status == 200
    assert "application/json" in head
    assert b'"name":"/chat/lobby"' in body
    status, _, body = await served.get("/console/find", f"X-Session: {SECRET}\r\n")
    assert status == 200
    assert SECRET.encode() not in body
    assert (await served.get("/console/find"))[0] == 400


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/console/feed", "/console/find?name=/a"])
async def test_pages_of_others_may_not(served: Served, path: str, site: str) -> None:
    assert (await served.get(path, f"Sec-Fetch-Site: {site}\r\n"))[0] == 403
    assert served.cluster.asked == 0


async def test_without_a_console_there_is_none() -> None:
    server = OpsServer(Endpoint(HOST, 0), Imagined(1), Stats())
    for path in ("/console", "/console/app.js"):
        assert server.answer(path).status == 404
    feed = server.feed(head_only=False)
    assert isinstance(feed, ops.Answer)
    assert feed.status == 404
    assert (await server.find("/a")).status == 404
