"""A client listener with everything behind it, in this process: real router, hub and engine.

A ring of one (`local_edge.LocalCluster`); clients are socket pairs (`wire.Client`).
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import trio

from local_edge import Edge
from node.bayeux.binding import read_mark
from node.bayeux.event_source import EventSources
from node.bayeux.http import HttpTransports
from node.bayeux.relay import Relays
from node.bayeux.websocket import BayeuxWebSocket
from node.http import HttpSettings
from node.http.origins import Origins
from node.router import Router
from node.sse.handler import EventReaders
from wire import Client, Served, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HANDSHAKE = {
    "channel": "/meta/handshake",
    "version": "1.0",
    "supportedConnectionTypes": ["long-polling", "callback-polling", "websocket"],
}
BROWSER = ("Origin: http://x", "Sec-Fetch-Site: same-origin", "User-Agent: Mozilla/5.0")
Headers = dict[str, str]


class FrontDoor(Edge):
    """The edge, and requests to it as bytes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.served: Served
        self.origins = Origins(self.config.allowed_origins, self.stats.refused)
        self.relays = Relays(self.cluster, self.sessions, self.protocol, self.stats)  # type: ignore[arg-type]
        self.router = Router(
            self.cluster,  # type: ignore[arg-type]
            HttpTransports(
                self.protocol,
                self.sessions,
                self.relays,
                EventSources(self.sessions, self.relays),
                self.origins,
            ),
            BayeuxWebSocket(self.protocol, self.sessions, self.relays, self.stats, self.origins),
            EventReaders(
                self.sessions,
                self.relays,
                self.tags,
                self.origins,
                self.protocol.gate,
                self.stats,
            ),
            None,  # type: ignore[arg-type]
            self.sessions,
            self.relays,
            demo=False,
        )

    def connect(self) -> Visitor:
        return Visitor(self, self.served.connect())


class Visitor:
    """One connection, and what is sent on it."""

    def __init__(self, door: FrontDoor, client: Client) -> None:
        self.door = door
        self.client = client

    async def send(self, line: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{line} HTTP/1.1", "Host: x", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        await self.client.send("\r\n".join((*lines, "", "")).encode() + body)

    async def ask(self, line: str, *headers: str, body: bytes = b"") -> tuple[int, Headers, bytes]:
        """One request and its answer."""
        await self.send(line, *headers, body=body)
        with trio.fail_after(5):
            return await self.client.response()

    async def bayeux(
        self, *messages: dict[str, Any], headers: tuple[str, ...] = ()
    ) -> tuple[list[Any], Headers]:
        """POST messages; the replies and the answer's headers."""
        body = json.dumps(messages).encode()
        status, told, answer = await self.ask("POST /bayeux", *headers, body=body)
        assert status == 200, answer
        return json.loads(answer), told

    async def handshake(self, *headers: str) -> tuple[dict[str, Any], str]:
        """A new session: the reply, and the cookie that came with it."""
        (reply,), told = await self.bayeux(HANDSHAKE, headers=headers)
        assert reply["successful"], reply
        return reply, told.get("set-cookie", "").partition(";")[0]


class Events:
    """A stream of events being read: chunks in, events out."""

    def __init__(self, visitor: Visitor) -> None:
        self._client = visitor.client
        self._text = b""
        self.last_id = ""

    async def start(self) -> Headers:
        """Read the response's head."""
        with trio.fail_after(5):
            head = (await self._client.until(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200 "), head
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        return {name.lower(): value for name, _, value in lines}

    async def next(self) -> dict[str, str]:
        """The fields of the next event; also one of an id alone. Comments are skipped."""
        while True:
            while b"\n\n" not in self._text:
                await self._read()
            block, _, self._text = self._text.partition(b"\n\n")
            pairs = [line.partition(":") for line in block.decode().split("\n")]
            fields = {name: value.removeprefix(" ") for name, _, value in pairs if name}
            self.last_id = fields.get("id", self.last_id)
            if fields:
                return fields

    async def data(self) -> Any:
        """The data of the next event that has some."""
        while "data" not in (event := await self.next()):
            pass
        return json.loads(event["data"])

    async def _read(self) -> None:
        with trio.fail_after(5):
            size = int((await self._client.until(b"\r\n")).strip(), 16)
            assert size, "the stream has ended"
            self._text += (await self._client.exactly(size + 2))[:-2]


def script_query(messages: object, jsonp: str | None = "cb") -> str:
    """The query of a callback-polling request."""
    query = "message=" + quote(json.dumps(messages))
    return query if jsonp is None else f"{query}&jsonp={quote(jsonp)}"


@asynccontextmanager
async def front_door(http: HttpSettings | None = None, **settings: Any) -> AsyncIterator[FrontDoor]:
    """Serve while the block runs."""
    door = FrontDoor(**settings)
    settings_of = http or HttpSettings(mark_of=read_mark)
    async with serving(door.router, settings_of, door.sessions.hub.end_of_turn) as served:
        served.service.stats = served.reactor.stats = door.stats
        served.service.refusal_lines = door.origins.lines
        door.served = served
        door.wake = served.reactor.wake
        yield door
