"""Which handler takes a client's request. The one place that knows all paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux.callback import CallbackPoll
from node.bayeux.relayed import Outbound
from node.demo import asset
from node.http import error_body
from node.session import Session

if TYPE_CHECKING:
    from node.api.application import Application
    from node.bayeux.http import HttpTransports
    from node.bayeux.relay import Relays
    from node.bayeux.sessions import Sessions
    from node.bayeux.websocket import BayeuxWebSocket
    from node.cluster.driver import Cluster
    from node.http import Head, HttpConnection
    from node.sse.handler import EventReaders

_MOUNTS = ("/bayeux", "/cometd")
_EVENTS = "/sse"
_NOT_IN_RING = error_body("unavailable", "this node has no ring yet, retry", retry=True)
_CSP = (
    "default-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none';"
    " frame-ancestors 'none'; form-action 'none'"
)
_PAGE_HEADERS = (
    ("Content-Security-Policy", _CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
)


def route_of(path: str) -> str:
    """The label under which requests to `path` are counted: few, whatever clients ask for."""
    first, _, rest = path[1:].partition("/")
    if first in {"bayeux", "cometd"}:
        return "bayeux"
    if path == _EVENTS:
        return "sse"
    if first == "api":
        return f"api/{rest}" if rest in {"publish", "send", "batch", "locate", "ring"} else "other"
    return "page" if asset(path) is not None else "other"


class Router:
    """Implements `node.http.HttpHandler`."""

    def __init__(
        self,
        cluster: Cluster,
        http: HttpTransports,
        websocket: BayeuxWebSocket,
        readers: EventReaders,
        application: Application,
        sessions: Sessions,
        relays: Relays,
        *,
        demo: bool,
    ) -> None:
        self._cluster = cluster
        self._http = http
        self._websocket = websocket
        self._readers = readers
        self._application = application
        self._sessions = sessions
        self._relays = relays
        self._demo = demo

    def handle_request(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        path = head.path
        if path.startswith(_MOUNTS) and (len(path) == len(_MOUNTS[0]) or path[7] == "/"):
            if self._cluster.view is None:
                self._put_off(conn)
            elif head.upgrade == "websocket":
                self._websocket.open(conn, head)
            else:
                self._http.handle(conn, head, body)
        elif path == _EVENTS:
            if self._cluster.view is None:
                self._put_off(conn)
            else:
                self._readers.handle(conn, head)
        elif path.startswith("/api/"):
            self._application.handle(conn, head, body)
        else:
            self._page(conn, head)

    @staticmethod
    def _put_off(conn: HttpConnection) -> None:
        conn.respond(503, _NOT_IN_RING)

    def _page(self, conn: HttpConnection, head: Head) -> None:
        found = asset(head.path) if self._demo else None
        if found is None:
            conn.respond(404, error_body("not_found", f"nothing at {head.path[:128]}"))
        elif head.method not in {"GET", "HEAD"}:
            conn.respond(
                405, error_body("bad_request", "use GET"), headers=(("Allow", "GET, HEAD"),)
            )
        else:
            content_type, content = found
            conn.respond(200, content, content_type, headers=_PAGE_HEADERS)

    def connection_lost(self, conn: HttpConnection) -> None:
        poll: HttpConnection | CallbackPoll = conn
        if isinstance(conn.owner, CallbackPoll):
            poll, conn.owner = conn.owner, None
        owner, poll.owner = poll.owner, None
        if isinstance(owner, Session):
            self._sessions.connection_lost(owner, poll)
        elif isinstance(owner, Outbound):
            self._relays.cancel(owner)
