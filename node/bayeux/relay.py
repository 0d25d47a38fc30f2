"""Any request may hit any node: requests travel to the edge that holds the session.

A request for a session that is not here goes to the session's home (where most
sessions live) and, if the home names another edge, to that one: one or two
hops, and the session does not move. If the edge is dead, this node becomes it.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

import structlog
import trio

from node.bayeux.binding import admits
from node.bayeux.messages import decode_batch
from node.cluster.messages import Relay, RelayCancel, Relayed, RelayMiss
from node.errors import RemoteProtocolError
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.ids import NodeId
    from node.bayeux.callback import CallbackPoll
    from node.bayeux.protocol import Protocol
    from node.bayeux.sessions import Sessions
    from node.cluster.driver import Cluster
    from node.http import HttpConnection
    from node.session import Session

    Poll: TypeAlias = "HttpConnection | CallbackPoll | Claim"

log = structlog.get_logger()

_KNOWN_EDGES = 20_000  # remembered sessions that live elsewhere than at home
_TRIES = 6
_RETRY_SECONDS = 0.25  # between tries; together about as long as a takeover may take
_UNKNOWN = 402  # the status that says: no such session for you
_UNAVAILABLE = b'{"error":{"code":"unavailable","message":"not now, retry","retry":true}}'


def admits_to(session: Session, mark: bytes, transport: str) -> bool:
    """Whether a request with `mark` may use `session`."""
    return admits(session.binding, mark, websocket=transport == "websocket")


class Outbound:
    """A client's request waiting for another node's answer."""

    __slots__ = ("address", "body", "conn", "mark", "request", "to", "tries")

    def __init__(self, conn: Poll, address: str, body: bytes, mark: bytes) -> None:
        self.conn = conn
        self.address = address
        self.body = body
        self.mark = mark
        self.request = 0
        self.to: NodeId = b""
        self.tries = 0


class Inbound:
    """The poll sink of a request that another node relayed here."""

    __slots__ = ("_relays", "node", "request", "session", "transport")

    def __init__(self, relays: Relays, node: NodeId, relay: Relay, session: Session) -> None:
        self._relays = relays
        self.node = node
        self.request = relay.request
        self.transport = relay.transport
        self.session = session

    def respond_json(self, body: bytes) -> None:
        self._relays.answer(self, 200, body)

    def respond(self, status: int, body: bytes) -> None:
        self._relays.answer(self, status, body)


class Claim:
    """A stream opened here wants a session that lives elsewhere; stands where a client's poll does.

    Before the session is moved its edge is asked (a relayed request without a
    body) whether who opened the stream may have it: a thief of its id must not
    even disturb it.
    """

    __slots__ = ("_address", "_on_done", "_sessions", "owner", "transport")

    def __init__(
        self,
        sessions: Sessions,
        address: str,
        transport: str,
        on_done: Callable[[Session | Failed], None],
    ) -> None:
        self._sessions = sessions
        self._address = address
        self._on_done = on_done
        self.transport = transport
        self.owner: object | None = None

    def respond_json(self, body: bytes) -> None:
        """The edge agrees: the session moves."""
        del body
        self._sessions.resume(self._address, self._on_done)

    def respond(self, status: int, body: bytes) -> None:
        """The edge does not, or nobody can be asked now."""
        del body
        code = Code.UNKNOWN_SESSION if status == _UNKNOWN else Code.UNAVAILABLE
        self._on_done(Failed(0, code))

    def settle(self, session: Session | None) -> None:
        """There was nobody to ask: the session is here already, or nowhere."""
        self._on_done(session if session is not None else Failed(0, Code.UNKNOWN_SESSION))


class Relays:
    """Both ends of relayed requests."""

    def __init__(self, cluster: Cluster, sessions: Sessions, protocol: Protocol) -> None:
        self._cluster = cluster
        self._sessions = sessions
        self._protocol = protocol
        self._retries: trio.Nursery | None = None
        self._serial = itertools.count(1)
        self._outbound: dict[int, Outbound] = {}
        self._inbound: dict[tuple[NodeId, int], Inbound] = {}
        self._edges: OrderedDict[str, NodeId] = OrderedDict()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep retries until cancelled; without it a request that must wait is answered 503."""
        async with trio.open_nursery() as self._retries:
            task_status.started()
            await trio.sleep_forever()

    # -- this node has the client ---------------------------------------------

    def forward(self, conn: Poll, address: str, body: bytes, mark: bytes) -> None:
        """Have `body` handled where the session `address` lives; `mark` is what it is shown."""
        outbound = Outbound(conn, address, body, mark)
        conn.owner = outbound
        self._try(outbound)

    def _try(self, outbound: Outbound) -> None:
        address = outbound.address
        edge = self._edges.get(address)
        if edge is None:
            edge = self._find_edge(address)
        if edge is None:
            self._answer_locally(outbound, None)
        elif edge == self._cluster.me:
            self._attach(outbound)
        elif not edge or not self._post(outbound, edge):
            self._try_later(outbound)

    def _find_edge(self, address: str) -> NodeId | None:
        """Whom to ask for the session: None if it is known not to exist, b"" if not now."""
        placement, view = self._cluster.placement, self._cluster.view
        if placement is None or view is None:
            return b""
        home = placement.home_of(address)
        if home != self._cluster.me:
            return home
        record = self._cluster.record(address)
        if record is None:
            return None if self._cluster.serving_name(address) else b""
        return record.edge if record.edge in view else self._cluster.me

    def _post(self, outbound: Outbound, edge: NodeId) -> bool:
        outbound.request = next(self._serial)
        outbound.to = edge
        relay = Relay(
            outbound.request,
            outbound.address,
            outbound.body,
            outbound.mark,
            outbound.conn.transport,
        )
        if not self._cluster.post(edge, relay):
            return False
        self._outbound[outbound.request] = outbound
        return True

    def _try_later(self, outbound: Outbound) -> None:
        self._edges.pop(outbound.address, None)
        outbound.tries += 1
        if outbound.tries >= _TRIES or self._retries is None:
            self._respond(outbound, 503, _UNAVAILABLE)
        else:
            self._retries.start_soon(self._wait_and_try, outbound)

    async def _wait_and_try(self, outbound: Outbound) -> None:
        await trio.sleep(_RETRY_SECONDS)
        if outbound.conn.owner is outbound:
            self._try(outbound)

    def _attach(self, outbound: Outbound) -> None:
        def attached(result: Session | Failed) -> None:
            if outbound.conn.owner is not outbound:
                return
            if not isinstance(result, Failed):
                self._answer_locally(outbound, result)
            elif result.code == Code.UNKNOWN_SESSION:
                self._answer_locally(outbound, None)
            else:
                self._try_later(outbound)

        self._sessions.resume(outbound.address, attached)

    def _answer_locally(self, outbound: Outbound, session: Session | None) -> None:
        conn = outbound.conn
        if session is not None and not admits_to(session, outbound.mark, conn.transport):
            session = None
        conn.owner = session
        if isinstance(conn, Claim):
            conn.settle(session)
            return
        self._protocol.batch(decode_batch(outbound.body), session, poll=conn).run()

    @staticmethod
    def _respond(outbound: Outbound, status: int, body: bytes) -> None:
        outbound.conn.owner = None
        if status == 200:
            outbound.conn.respond_json(body)
        else:
            outbound.conn.respond(status, body)

    def cancel(self, outbound: Outbound) -> None:
        """The client has gone: the edge must not spend messages on its poll."""
        if self._outbound.pop(outbound.request, None) is not None:
            self._cluster.post(outbound.to, RelayCancel(outbound.request))

    # -- messages from other nodes -----------------------------------------------

    def receive(self, sender: NodeId, message: Relay | Relayed | RelayMiss | RelayCancel) -> None:
        match message:
            case Relay():
                self._serve(sender, message)
            case RelayCancel():
                inbound = self._inbound.pop((sender, message.request), None)
                if inbound is not None:
                    self._sessions.connection_lost(inbound.session, inbound)
            case Relayed() | RelayMiss():
                outbound = self._outbound.get(message.request)
                if outbound is None or outbound.to != sender:
                    return
                del self._outbound[message.request]
                if isinstance(message, Relayed):
                    self._respond(outbound, message.status, message.body)
                else:
                    self._missed(outbound, message)

    def _missed(self, outbound: Outbound, miss: RelayMiss) -> None:
        self._edges.pop(outbound.address, None)
        if miss.code == Code.UNKNOWN_SESSION:
            self._answer_locally(outbound, None)
            return
        if miss.code == Code.MOVED and outbound.tries < _TRIES:
            outbound.tries += 1
            view = self._cluster.view
            if view is None or miss.edge not in view or miss.edge == self._cluster.me:
                self._attach(outbound)
            else:
                self._edges[outbound.address] = miss.edge
                if len(self._edges) > _KNOWN_EDGES:
                    self._edges.popitem(last=False)
                self._try(outbound)
            return
        self._try_later(outbound)

    def link_lost(self, node: NodeId) -> None:
        """Requests that waited for `node` try again; its clients here have gone."""
        for outbound in [o for o in self._outbound.values() if o.to == node]:
            del self._outbound[outbound.request]
            self._try_later(outbound)
        for key in [key for key in self._inbound if key[0] == node]:
            inbound = self._inbound.pop(key)
            self._sessions.connection_lost(inbound.session, inbound)

    # -- this node has the session -------------------------------------------------

    def _serve(self, sender: NodeId, relay: Relay) -> None:
        session = self._sessions.get(relay.address)
        if session is None:
            self._cluster.post(sender, self._miss(relay))
            return
        admitted = session if admits_to(session, relay.mark, relay.transport) else None
        if not relay.body:
            status = _UNKNOWN if admitted is None else 200
            self._cluster.post(sender, Relayed(relay.request, status, b""))
            return
        inbound = Inbound(self, sender, relay, session)
        try:
            messages = decode_batch(relay.body)
        except RemoteProtocolError as error:  # the sender has decoded it: it speaks another wire
            log.warning("relayed request is no Bayeux", error=str(error))
            inbound.respond(400, b"")
            return
        self._inbound[sender, relay.request] = inbound
        self._protocol.batch(messages, admitted, poll=inbound).run()

    def _miss(self, relay: Relay) -> RelayMiss:
        record = self._cluster.record(relay.address)
        if record is not None and record.edge != self._cluster.me:
            return RelayMiss(relay.request, Code.MOVED, record.edge)
        if record is not None:  # its edge restarted or dropped it: whoever asks may take it
            return RelayMiss(relay.request, Code.MOVED, b"")
        if self._cluster.serving_name(relay.address):
            return RelayMiss(relay.request, Code.UNKNOWN_SESSION, b"")
        return RelayMiss(relay.request, Code.UNAVAILABLE, b"")

    def answer(self, inbound: Inbound, status: int, body: bytes) -> None:
        """Send an inbound request's answer back, unless it was cancelled."""
        if self._inbound.pop((inbound.node, inbound.request), None) is not None or status != 200:
            self._cluster.post(inbound.node, Relayed(inbound.request, status, body))

    def claim(
        self,
        address: str,
        mark: bytes,
        transport: str,
        on_done: Callable[[Session | Failed], None],
    ) -> None:
        """A stream opened here names a session that lives elsewhere: it moves here, if it may."""
        claim = Claim(self._sessions, address, transport, on_done)
        self.forward(claim, address, b"", mark)
