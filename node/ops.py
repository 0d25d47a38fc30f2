"""The ops listener: metrics, health, the ring and the console, for operators, not for the public.

All of it is to be read, but for ``ring recover``, which takes a proof that the
caller knows the cluster secret (`node.cluster.recovery`).

One task a connection and h11 throughout: a handful of scrapers, not clients.
What a stranger on this port can cost is bounded all the same: connections, the
size of a head, and the time that each step may take.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import parse_qs

import h11
import msgspec
import structlog
import trio

from node.cluster.recovery import RecoveryRefused
from node.console.console import POLICY, asset
from node.endpoint import Endpoint
from node.http import error_body
from node.metrics import Exposition
from node.ops_pages import ring_page, waiting_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from prometheus_client.registry import Collector

    from node.console.console import Console
    from node.metrics import StatusSource
    from node.stats import Stats

    class OpsSource(StatusSource, Protocol):
        """`node.cluster.driver.Cluster`, as far as this listener needs it."""

        def recover(self, proof: str) -> None: ...


log = structlog.get_logger()

MAX_CONNECTIONS: Final = 64
MAX_HEAD: Final = 8_192
"""Bytes of a request's head."""
MAX_BODY: Final = 65_536
"""Bytes of a body that are read and thrown away, so that a client gets its answer."""
REQUEST_WITHIN: Final = 10.0
"""Seconds from the first wait for a request to its end; an idle connection is closed then."""
ANSWER_WITHIN: Final = 10.0
READ_BYTES: Final = 16_384
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json;charset=UTF-8"
METHODS: Final = frozenset({b"GET", b"HEAD"})
RECOVER: Final = "/ring/recover"
FIND: Final = "/console/find"
FEED: Final = "/console/feed"
EVENTS: Final = "text/event-stream"
VERSIONS: Final = frozenset({b"1.0", b"1.1"})  # h11 takes any that looks like one


class Answer(msgspec.Struct, frozen=True):
    """Status, body, and what sort of thing the body is."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class EventFeed:
    """An answer that goes on: server-sent events, until the client has gone."""


_Reply: TypeAlias = "Answer | EventFeed | Callable[[], Awaitable[Answer]]"


class OpsServer:
    """Serves one `Endpoint`. `run` it in a nursery."""

    def __init__(
        self,
        endpoint: Endpoint,
        cluster: OpsSource,
        stats: Stats,
        max_connections: int = MAX_CONNECTIONS,
        collectors: Sequence[Collector] = (),
        console: Console | None = None,
    ) -> None:
        """`collectors`: what ``/metrics`` shows besides. Without `console` there is none."""
        self.endpoint = endpoint
        """Where it listens; port 0 becomes the real one when `run` has started."""
        self._cluster = cluster
        self._exposition = Exposition(stats, cluster, collectors)
        self.console = console
        self._max_connections = max_connections
        self._connections = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. Raises OSError if the address cannot be bound."""
        listeners = await trio.open_tcp_listeners(self.endpoint.port, host=self.endpoint.host)
        bound: int = listeners[0].socket.getsockname()[1]
        self.endpoint = Endpoint(self.endpoint.host, bound)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._serve, listeners)
            task_status.started()

    # -- pages ---------------------------------------------------------------------------

    def answer(self, path: str, accept: str = "") -> Answer:
        """What GET `path` gets."""
        match path:
            case "/metrics":
                body, content_type = self._exposition.render(accept)
                return Answer(200, body, content_type)
            case "/healthz":
                return Answer(200, b"ok\n", TEXT)
            case "/readyz":
                return self._ready()
            case "/ring":
                return self._ring()
            case _:
                found = asset(path) if self.console is not None else None
                if found is not None:
                    headers = (("Content-Security-Policy", POLICY),)
                    return Answer(200, found[1], found[0], headers)
                text = "here are /metrics, /healthz, /readyz, /ring and /console"
                return Answer(404, error_body("not_found", text))

    def feed(self, *, head_only: bool) -> Answer | EventFeed:
        """What GET ``/console/feed`` gets."""
        if self.console is None:
            return self.answer(FEED)
        if self.console.feed.full:
            text = "this node serves as many consoles as it may: close one, or ask another node"
            return Answer(503, error_body("unavailable", text, retry=True))
        return Answer(200, b"", EVENTS) if head_only else EventFeed()

    async def find(self, name: str) -> Answer:
        """What GET ``/console/find`` gets."""
        if self.console is None:
            return self.answer(FIND)
        status, body = await self.console.find(name)
        return Answer(status, body)

    def _ready(self) -> Answer:
        status = self._cluster.status()
        if status.ready:
            return Answer(200, b"ready\n", TEXT)
        return Answer(503, b"draining\n" if status.draining else b"not in the ring\n", TEXT)

    def _ring(self) -> Answer:
        status = self._cluster.status()
        page = ring_page(status)
        if page is None:
            return Answer(503, msgspec.json.encode(waiting_page(status)))
        return Answer(200, msgspec.json.encode(page))

    def recover(self, authorization: str) -> Answer:
        """What POST /ring/recover gets."""
        scheme, _, proof = authorization.partition(" ")
        try:
            self._cluster.recover(proof.strip() if scheme.lower() == "bearer" else "")
        except RecoveryRefused as refused:
            return Answer(refused.status, error_body(refused.code, str(refused)))
        return self._ring()

    # -- connections ---------------------------------------------------------------------

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self._connections >= self._max_connections:
            return  # closes it
        self._connections += 1
        try:
            await _Conversation(stream, self).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client has gone, or is as good as gone
        finally:
            self._connections -= 1


def _header(request: h11.Request, wanted: bytes) -> str:
    return b",".join(value for name, value in request.headers if name == wanted).decode("latin-1")


def _not_allowed(methods: str) -> Answer:
    text = f"use {methods.partition(',')[0]}"
    return Answer(405, error_body("bad_request", text), headers=(("Allow", methods),))


class _Conversation:
    """One connection: requests in, answers out, until either side has had enough."""

    def __init__(self, stream: trio.SocketStream, server: OpsServer) -> None:
        self._socket = stream
        self._server = server
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def run(self) -> None:
        http = self._http
        while True:
            try:
                with trio.fail_after(REQUEST_WITHIN):
                    reply, head_only = await self._read_request()
            except h11.RemoteProtocolError as error:
                status = error.error_status_hint
                reply, head_only = Answer(status, error_body("bad_request", "not HTTP")), False
            if reply is None:
                return
            if isinstance(reply, EventFeed):
                await self._stream()
                return
            answer = reply if isinstance(reply, Answer) else await reply()
            if http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
                return
            with trio.fail_after(ANSWER_WITHIN):
                await self._write(answer, head_only=head_only)
            if {http.our_state, http.their_state} != {h11.DONE}:
                await self._linger()
                return
            http.start_next_cycle()

    async def _read_request(self) -> tuple[_Reply | None, bool]:
        """The answer to the next request, and whether it goes without its body (HEAD)."""
        answer: _Reply | None = None
        head_only = False
        body = 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    return Answer(417, error_body("bad_request", "no bodies here")), head_only
                self._http.receive_data(await self._socket.receive_some(READ_BYTES))
            elif isinstance(event, h11.Request):
                head_only = event.method == b"HEAD"
                answer = self._answer(event)
            elif isinstance(event, h11.Data):
                body += len(event.data)
                if body > MAX_BODY:
                    return Answer(413, error_body("too_large", "no bodies here")), head_only
            else:  # EndOfMessage, ConnectionClosed, PAUSED
                return answer, head_only

    def _answer(self, request: h11.Request) -> _Reply:
        if request.http_version not in VERSIONS:
            return Answer(505, error_body("bad_request", "speak HTTP/1.1"))
        path, _, query = request.target.decode("latin-1").partition("?")
        if path == RECOVER:
            if request.method != b"POST":
                return _not_allowed("POST")
            return self._server.recover(_header(request, b"authorization"))
        if request.method not in METHODS:
            return _not_allowed("GET, HEAD")
        if path in {FEED, FIND}:
            if _header(request, b"sec-fetch-site") in {"cross-site", "same-site"}:
                return Answer(403, error_body("forbidden", "only this listener's own pages may"))
            if path == FEED:
                return self._server.feed(head_only=request.method == b"HEAD")
            # An id is a secret: it comes as a header, because proxies log what is asked for.
            given = _header(request, b"x-session") or parse_qs(query).get("name", [""])[0]
            return partial(self._server.find, given)
        return self._server.answer(path, _header(request, b"accept"))

    async def _write(self, answer: Answer, *, head_only: bool) -> None:
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            *answer.headers,
        ]
        if self._http.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(answer.status).phrase
        head = h11.Response(status_code=answer.status, headers=headers, reason=reason)
        data = self._http.send(head) or b""
        if not head_only:
            data += self._http.send(h11.Data(data=answer.body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        await self._socket.send_all(data)

    async def _stream(self) -> None:
        """Send events until the client has gone, or takes none for `ANSWER_WITHIN` seconds."""
        console, http = self._server.console, self._http
        if console is None or console.feed.full:  # (another was quicker)
            return
        headers = [
            ("Content-Type", EVENTS),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Accel-Buffering", "no"),  # a proxy is not to gather events
            ("Connection", "close"),
        ]
        head = h11.Response(status_code=200, headers=headers, reason="OK")
        await self._send(http.send(head) or b"")
        await console.feed.follow(lambda data: self._send(http.send(h11.Data(data=data)) or b""))

    async def _send(self, data: bytes) -> None:
        with trio.fail_after(ANSWER_WITHIN):
            await self._socket.send_all(data)

    async def _linger(self) -> None:
        """Let the client read the answer before what it still sends makes the kernel reset."""
        await self._socket.send_eof()
        left = MAX_BODY
        with trio.move_on_after(1.0):
            while left > 0 and (data := await self._socket.receive_some(READ_BYTES)):
                left -= len(data)
