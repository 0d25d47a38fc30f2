"""The edge of a ring of one, without sockets: real engine, real hub, fake connections.

`Edge` must be made inside a trio run. Nothing waits: requests are answered in
the call, and `Edge.flush` stands for the end of the reactor's turn.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from dht.placement import Placement
from node.bayeux.extensions.loading import load_pipeline
from node.bayeux.http import named_session
from node.bayeux.messages import decode_batch
from node.bayeux.protocol import Protocol
from node.bayeux.sessions import Sessions
from node.cluster.effects import EffectQueue
from node.cluster.requests import Requests
from node.config import load_config
from node.rules import Rules
from node.rules_file import parse_rules
from node.stats import Stats
from node.tags import TagPool
from node.tracing import Tracer
from node.websocket import CloseCode
from pubsub.effects import Answer, Deliver, ReleaseSession, Reset, SessionLost
from pubsub.engine import PubSubEngine
from ring_views import member, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import msgspec

    from dht.effects import Effect
    from dht.ids import NodeId
    from node.topic import Wire

ME = bytes(range(20))


class LocalCluster(Requests):
    """`node.cluster.driver.Cluster` for a ring of one."""

    def __init__(self) -> None:
        super().__init__()
        self.me = ME
        self.incarnation = 1
        self.view = view_of([member(ME)])
        self.placement = Placement(self.view)
        self.sessions: Sessions | None = None
        self._pubsub = PubSubEngine(ME)
        self._effects = EffectQueue(
            {
                Answer: lambda e: self._answer(e.request, e.result),
                Deliver: lambda e: self._edge.on_deliver(e.feed, e.depth),
                Reset: lambda e: self._edge.hub.reset(e.feed),
                ReleaseSession: lambda e: self._edge.release(e.address, e.generation),
                SessionLost: lambda e: self._edge.lost(e.address),
            }
        )
        now = trio.current_time()
        self._act_pubsub(self._pubsub.install_view(self.view, self.placement, now))

    @property
    def _edge(self) -> Sessions:
        assert self.sessions is not None
        return self.sessions

    def _act_pubsub(self, effects: list[Effect]) -> None:
        self._effects.perform(effects)

    def _post(self, to: NodeId, message: msgspec.Struct) -> bool:
        raise AssertionError(f"nobody to post {message} to")


class FakePoll:
    """A held or answered HTTP request."""

    transport = "long-polling"

    def __init__(self) -> None:
        self.status: int | None = None
        self.body: Any = None

    def respond_json(self, body: bytes) -> None:
        assert self.status is None, "answered twice"
        self.status = 200
        self.body = json.loads(body)

    def respond(self, status: int, body: bytes) -> None:
        assert self.status is None, "answered twice"
        self.status = status
        self.body = json.loads(body) if body[:1] == b"[" else body


class FakeSocket:
    """A WebSocket whose kernel buffer can be full."""

    transport = "websocket"

    def __init__(self) -> None:
        self.owner: object | None = None
        self.writable = True
        self.closed = False
        self.close_code: int | None = None
        self.messages: list[dict[str, Any]] = []

    def send_text(self, text: bytes) -> bool:
        if not self.closed:
            self.messages.extend(json.loads(text))
        return self.writable

    def send_frame(self, frame: bytes) -> bool:
        head = 2 if frame[1] < 126 else 4 if frame[1] == 126 else 10
        return self.send_text(frame[head:])

    def offer(self, wire: Wire) -> bool:
        if self.writable:
            self.send_frame(wire.frame)
            return True
        return False

    def close_with(self, code: int, reason: str = "") -> None:
        self.closed, self.writable, self.close_code = (
            True,
            False,
            CloseCode(code) if code < 4000 else code,
        )


class Client:
    """What a Bayeux client does, over polls and at most one WebSocket."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.id = ""
        self.address = ""
        self.ext: dict[str, Any] = {}  # of the handshake's reply

    def handshake(
        self, socket: FakeSocket | None = None, ext: dict[str, Any] | None = None
    ) -> Client:
        (reply,) = self.edge.request(
            {
                "channel": "/meta/handshake",
                "version": "1.0",
                "supportedConnectionTypes": ["long-polling", "websocket"],
                **({"ext": ext} if ext is not None else {}),
            },
            socket=socket,
        )
        assert reply["successful"], reply
        self.ext = reply["ext"]
        self.id, self.address = reply["clientId"], reply["ext"]["address"]
        session = self.edge.sessions.get(self.address)
        assert session is not None
        session.met = True  # as after a first connect, which is never held
        return self

    def ask(self, channel: str, socket: FakeSocket | None = None, **fields: Any) -> dict[str, Any]:
        """One message, answered at once."""
        message = {"channel": channel, "clientId": self.id, **fields}
        reply: dict[str, Any]
        (reply,) = self.edge.request(message, socket=socket)
        return reply

    def subscribe(self, channel: str) -> None:
        assert self.ask("/meta/subscribe", subscription=channel)["successful"]

    def poll(self, timeout: int | None = None) -> FakePoll:
        message = self.connect_message("long-polling", timeout)
        return self.edge.post([message])

    def connect_message(self, kind: str, timeout: int | None = None) -> dict[str, Any]:
        advice = {} if timeout is None else {"advice": {"timeout": timeout}}
        return {
            "channel": "/meta/connect",
            "clientId": self.id,
            "connectionType": kind,
            "id": "c",
            **advice,
        }

    def fetch(self) -> list[dict[str, Any]]:
        """What a poll that does not wait brings, without its connect reply."""
        self.edge.flush()
        poll = self.poll(timeout=0)
        assert poll.status == 200, poll.status
        return [message for message in poll.body if message["channel"] != "/meta/connect"]


class Edge:
    """Protocol, sessions and hub over a `LocalCluster`."""

    def __init__(self, rules: str = "", **settings: Any) -> None:
        """`rules`: what stands in the channel-rules file."""
        self.config = load_config({"demo": True, **settings})
        self.rules = Rules(parse_rules(rules), demo=self.config.demo)
        self.stats = Stats()
        self.cluster = LocalCluster()
        self.cluster.tracer = Tracer(self.config.trace)
        self.pipeline = load_pipeline(self.config)
        self.sessions = Sessions(
            self.cluster,  # type: ignore[arg-type]
            self.config,
            self.stats,
            self.rules,
            self.pipeline.finish,
        )
        self.cluster.sessions = self.sessions
        self.tags = TagPool(self.cluster.serving)
        self.binding = b""  # the mark of whoever sends the next batch
        self.wake: Callable[[], None] = lambda: None
        self.protocol = Protocol(
            self.cluster,  # type: ignore[arg-type]
            self.sessions,
            self.tags,
            self.config,
            self.stats,
            self.pipeline,
        )

    def client(self) -> Client:
        return Client(self).handshake()

    def post(
        self,
        messages: list[dict[str, Any]],
        socket: FakeSocket | None = None,
        origin: str = "",
    ) -> FakePoll:
        """Bring a batch in, as a transport does."""
        poll = FakePoll()
        batch = decode_batch(json.dumps(messages).encode())
        address = named_session(batch)
        session = self.sessions.get(address) if address is not None else None
        if socket is None:
            self.protocol.batch(
                batch, session, poll=poll, binding=self.binding, origin=origin
            ).run()
        else:
            self.protocol.batch(batch, session, stream=socket).run()  # type: ignore[arg-type]
        return poll

    def request(self, *messages: dict[str, Any], socket: FakeSocket | None = None) -> Any:
        """The replies to a batch that is answered at once."""
        before = len(socket.messages) if socket is not None else 0
        poll = self.post(list(messages), socket)
        if socket is not None:
            return socket.messages[before:]
        assert poll.status in {200, 503}, poll.status
        return poll.body

    def move(self, client: Client) -> None:
        """The session's edge is gone; this node becomes the next one."""
        self.sessions.lost(client.address)
        self.sessions.resume(client.address, lambda result: None)

    def publish(self, channel: str, data: Any) -> None:
        """The application publishes."""
        name = self.protocol.message_id()
        payload = json.dumps({"channel": channel, "data": data, "id": name}).encode()
        self.cluster.append(channel, payload, name, lambda result: None)
        self.wake()

    def flush(self) -> None:
        """The end of the reactor's turn."""
        while self.sessions.hub.end_of_turn():
            pass
