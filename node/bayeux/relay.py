"""Any request may hit any node: requests travel to the edge that holds the session.

A request for a session that is not here goes to the session's home (where most
sessions live) and, if the home names another edge, to that one: one or two
hops, and the session does not move. If the edge is dead, this node becomes it.
While nobody can be asked, because a home is being taken over, the request is
held and tried again; only a serving home may call a session unknown.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
import trio

from node.bayeux.binding import admits
from node.bayeux.extensions.ack import acknowledged
from node.bayeux.messages import decode_batch
from node.bayeux.relayed import UNKNOWN, Claim, Inbound, Outbound
from node.cluster.messages import Relay, RelayCancel, Relayed, RelayMiss, RelayRelease
from node.errors import RemoteProtocolError
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dht.ids import NodeId
    from dht.view import View
    from node.bayeux.protocol import Protocol
    from node.bayeux.relayed import Poll
    from node.bayeux.sessions import Sessions
    from node.cluster.driver import Cluster
    from node.cluster.messages import NodeMessage
    from node.session import Session
    from node.stats import Stats

log = structlog.get_logger()

_KNOWN_EDGES = 20_000  # remembered sessions that live elsewhere than at home
_HOPS = 6  # nodes that a request is sent on to before it waits for the ring to settle
_RETRY_SECONDS = 0.1  # between tries, where no new view comes first
HOLD_SECONDS = 6.0  # a takeover and some; less than the 10 s that stock clients wait for an answer
_UNAVAILABLE = b'{"error":{"code":"unavailable","message":"not now, retry","retry":true}}'


def admits_to(session: Session, mark: bytes, transport: str) -> bool:
    """Whether a request with `mark` may use `session`."""
    return admits(session.binding, mark, websocket=transport == "websocket")


def _says_it_has(relay: Relay) -> int:
    """The last batch that a request's client says it has got; 0: it does not say."""
    return acknowledged(decode_batch(relay.body)) if relay.body else relay.ack


def _keeps_back(relay: Relay, session: Session) -> bool:
    """Whether a request leaves open what the client has got, or is about to get, from here.

    Its next connect says so. To a new edge that would mean nothing: it would send it again.
    """
    acks = session.acks
    if acks is None or not relay.body or not (acks.outstanding or session.poll is not None):
        return False
    return not _says_it_has(relay)


class Relays:
    """Both ends of relayed requests."""

    def __init__(
        self, cluster: Cluster, sessions: Sessions, protocol: Protocol, stats: Stats
    ) -> None:
        self._cluster = cluster
        self._sessions = sessions
        self._protocol = protocol
        self._stats = stats
        self._running = False
        self._draining = False
        self._held: dict[Outbound, None] = {}
        self._held_some = trio.Event()
        self._serial = itertools.count(1)
        self._outbound: dict[int, Outbound] = {}
        self._inbound: dict[tuple[NodeId, int], Inbound] = {}
        self._edges: OrderedDict[str, NodeId] = OrderedDict()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Try held requests again until cancelled; without it they are answered 503 at once."""
        self._running = True
        task_status.started()
        while True:
            await self._held_some.wait()
            await trio.sleep(_RETRY_SECONDS)
            self.try_again()

    def try_again(self) -> None:
        """The ring has changed, or time has passed: whoever is held may be served now."""
        held, self._held = self._held, {}
        if self._held_some.is_set():  # (one that is not may be waited for)
            self._held_some = trio.Event()
        for outbound in held:
            if outbound.conn.owner is outbound:
                self._try(outbound)

    def install_view(self, view: View) -> None:
        """Who was asked and is a member no more will not answer."""
        for node in {o.to for o in self._outbound.values()}:
            if node not in view:
                self._hold_all(node)
        self.try_again()

    # -- leaving ----------------------------------------------------------------

    def drain(self) -> None:
        """From now on sessions that live here go to whoever is asked for them."""
        self._draining = True

    def held_elsewhere(self) -> Iterator[Callable[[], None]]:
        """What makes other nodes answer the polls of clients here, one by one."""
        for outbound in self._outbound.values():
            yield partial(self._release, outbound)

    def _release(self, outbound: Outbound) -> None:
        self._cluster.post(outbound.to, RelayRelease(outbound.request))

    # -- this node has the client ---------------------------------------------

    def forward(self, conn: Poll, address: str, body: bytes, mark: bytes) -> None:
        """Have `body` handled where the session `address` lives; `mark` is what it is shown."""
        outbound = Outbound(conn, address, body, mark, self._protocol.message_id())
        conn.owner = outbound
        self._try(outbound)

    def _try(self, outbound: Outbound) -> None:
        outbound.hops = 0
        edge = self._edges.get(outbound.address) or self._find_edge(outbound.address)
        self._go_on(outbound, edge)

    def _go_on(self, outbound: Outbound, edge: NodeId) -> None:
        if edge == self._cluster.me:
            self._attach(outbound, edge)
        elif not edge or not self._post(outbound, edge):
            self._hold(outbound)

    def _find_edge(self, address: str) -> NodeId:
        """Whom to ask for the session; empty: nobody just now, this node: attach it here."""
        placement, view = self._cluster.placement, self._cluster.view
        if placement is None or view is None:
            return b""
        home = placement.home_of(address)
        if home != self._cluster.me:
            return home
        record = self._cluster.record(address)
        if record is None:  # attaching finds out whether there is none, or none yet
            return home if self._cluster.serving_name(address) else b""
        return record.edge if record.edge in view else home

    def _post(self, outbound: Outbound, edge: NodeId) -> bool:
        outbound.request = next(self._serial)
        outbound.to = edge
        relay = Relay(
            outbound.request,
            outbound.address,
            outbound.body,
            outbound.mark,
            outbound.conn.transport,
            outbound.name,
            outbound.ack,
        )
        if not self._cluster.post(edge, relay):
            return False
        self._outbound[outbound.request] = outbound
        if self._draining:
            self._release(outbound)
        return True

    def _hold(self, outbound: Outbound) -> None:
        """Nobody can serve it now: again when the ring has changed, or soon; 503 in the end."""
        self._edges.pop(outbound.address, None)
        now = trio.current_time()
        outbound.deadline = outbound.deadline or now + HOLD_SECONDS
        if now >= outbound.deadline or not self._running:
            self._stats.relays_refused += 1
            self._respond(outbound, 503, _UNAVAILABLE)
        else:
            self._held[outbound] = None
            self._held_some.set()

    def _attach(self, outbound: Outbound, edge: NodeId) -> None:
        """Become the edge in place of `edge`, which does not hold the session, or lets go."""

        def attached(result: Session | Failed) -> None:
            if outbound.conn.owner is not outbound:
                return
            if not isinstance(result, Failed):
                self._answer_locally(outbound, result)
            elif result.code == Code.UNKNOWN_SESSION:
                self._answer_locally(outbound, None)
            else:
                self._hold(outbound)

        self._sessions.resume(outbound.address, attached, edge)

    def _answer_locally(self, outbound: Outbound, session: Session | None) -> None:
        conn = outbound.conn
        if session is not None and not admits_to(session, outbound.mark, conn.transport):
            session = None
        conn.owner = session
        if isinstance(conn, Claim):
            conn.settle(session)
            return
        messages = decode_batch(outbound.body)
        self._protocol.batch(messages, session, poll=conn, name=outbound.name).run()

    @staticmethod
    def _respond(outbound: Outbound, status: int, body: bytes) -> None:
        conn = outbound.conn
        conn.owner = None
        if status == HTTPStatus.OK and not isinstance(conn, Claim):
            conn.respond_json(body)
        else:
            conn.respond(status, body)

    def cancel(self, outbound: Outbound) -> None:
        """The client has gone: the edge must not spend messages on its poll."""
        if self._outbound.pop(outbound.request, None) is not None:
            self._cluster.post(outbound.to, RelayCancel(outbound.request))

    # -- messages from other nodes -----------------------------------------------

    def receive(self, sender: NodeId, message: NodeMessage) -> None:
        match message:
            case Relay():
                self._serve(sender, message)
            case RelayCancel():
                inbound = self._inbound.pop((sender, message.request), None)
                if inbound is not None:
                    self._sessions.connection_lost(inbound.session, inbound)
            case RelayRelease():
                inbound = self._inbound.get((sender, message.request))
                if inbound is not None and inbound.session.poll is inbound:
                    self._sessions.hub.release_poll(inbound.session)
            case Relayed() | RelayMiss():
                outbound = self._outbound.get(message.request)
                if outbound is None or outbound.to != sender:
                    return
                del self._outbound[message.request]
                if isinstance(message, RelayMiss):
                    self._missed(outbound, message)
                elif isinstance(outbound.conn, Claim) and message.status == HTTPStatus.OK:
                    self._attach(outbound, sender)
                else:
                    self._respond(outbound, message.status, message.body)

    def _missed(self, outbound: Outbound, miss: RelayMiss) -> None:
        """Whoever was asked does not hold the session: on to where it says, or to the home."""
        asked = outbound.to
        named = outbound.hops > 0  # by the home, just now
        self._edges.pop(outbound.address, None)
        outbound.hops += 1
        placement, view = self._cluster.placement, self._cluster.view
        at_home = placement is not None and placement.home_of(outbound.address) == asked
        if view is None or outbound.hops > _HOPS:
            self._hold(outbound)
        elif miss.code == Code.MOVED and miss.edge in view and miss.edge != asked:
            self._edges[outbound.address] = miss.edge
            if len(self._edges) > _KNOWN_EDGES:
                self._edges.popitem(last=False)
            self._go_on(outbound, miss.edge)
        elif miss.code == Code.MOVED or (named and not at_home):
            self._attach(outbound, asked)  # nobody has it
        elif at_home:
            self._hold(outbound)  # its slot is being taken over
        else:
            self._go_on(outbound, self._find_edge(outbound.address))

    def link_lost(self, node: NodeId) -> None:
        """Requests that waited for `node` try again; its clients here have gone."""
        self._hold_all(node)
        for key in [key for key in self._inbound if key[0] == node]:
            inbound = self._inbound.pop(key)
            self._sessions.connection_lost(inbound.session, inbound)

    def _hold_all(self, node: NodeId) -> None:
        for outbound in [o for o in self._outbound.values() if o.to == node]:
            del self._outbound[outbound.request]
            self._hold(outbound)

    # -- this node has the session -------------------------------------------------

    def _serve(self, sender: NodeId, relay: Relay) -> None:
        session = self._sessions.get(relay.address)
        if session is not None and self._draining and not _keeps_back(relay, session):
            self._cluster.post(sender, self._let_go(relay, session))
        elif session is not None:
            self._serve_for(sender, relay, session)
        elif self._sessions.resuming(relay.address):  # on its way here, for another request
            self._sessions.resume(relay.address, partial(self._resumed, sender, relay))
        else:
            self._cluster.post(sender, self._miss(relay))

    def _resumed(self, sender: NodeId, relay: Relay, result: Session | Failed) -> None:
        if isinstance(result, Failed):
            self._cluster.post(sender, self._miss(relay))
        else:
            self._serve_for(sender, relay, result)

    def _serve_for(self, sender: NodeId, relay: Relay, session: Session) -> None:
        admitted = session if admits_to(session, relay.mark, relay.transport) else None
        if not relay.body:
            if admitted is not None and admitted.acks is not None and relay.ack:
                admitted.acks.confirm(admitted, relay.ack)
            status = UNKNOWN if admitted is None else 200
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
        self._protocol.batch(messages, admitted, poll=inbound, name=relay.name).run()

    @staticmethod
    def _let_go(relay: Relay, session: Session) -> Relayed | RelayMiss:
        """The node is leaving: who asks for the session may have it, if its client may.

        What the client says that it has got is taken in first: its new edge would repeat it.
        """
        if not admits_to(session, relay.mark, relay.transport):
            return Relayed(relay.request, UNKNOWN, b"")
        if session.acks is not None:
            batch = _says_it_has(relay)
            if batch:
                session.acks.confirm(session, batch)
        return RelayMiss(relay.request, Code.MOVED, b"")

    def _miss(self, relay: Relay) -> RelayMiss:
        record = self._cluster.record(relay.address)
        if record is not None and record.edge != self._cluster.me:
            return RelayMiss(relay.request, Code.MOVED, record.edge)
        if record is not None or self._cluster.serving_name(relay.address):
            # Its edge restarted or dropped it, or there is no such session (or none yet):
            # whoever asks may take it, and is told what this home knows.
            return RelayMiss(relay.request, Code.MOVED, b"")
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
        ack: int = 0,
    ) -> None:
        """A stream opened here names a session that lives elsewhere: it moves here, if it may.

        `ack`: the last batch that its client has got; who lets go of it need not repeat that.
        """
        claim = Claim(transport, on_done, ack)
        self.forward(claim, address, b"", mark)
