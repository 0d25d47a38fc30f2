"""Leaving without dropping anything: what a node does from SIGTERM to its end.

1. It is not ready any more. For `drain_delay` it serves as ever, so that whoever
   balances clients over nodes has time to see it.
2. It stops accepting; whom the kernel has queued already is still served. Every
   answer is the last on its connection.
3. Its sessions' clients are sent away one by one, so that they do not all come
   down on their next nodes at once: held polls are answered (here, or on the
   node that holds the session), WebSockets and streams get an end that tells
   the client to come back. Who comes back elsewhere takes its session along.
4. Requests on their way are answered.
5. Slots go to their next homes, and the node leaves the ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
import trio

from node.bayeux.connects import AFTER_CLOSE
from node.bayeux.event_source import spread_return
from node.connection import Lingering
from node.http import HttpConnection
from node.session import Session
from node.websocket import CloseCode, WebSocketConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from node.acceptor import Acceptor
    from node.app import Node

log = structlog.get_logger()

STEP: Final = 0.01  # seconds between groups of clients that are sent away: small ones, soon served
PACE: Final = 500.0  # clients a second; more where there are so many that it would take too long
GOODBYE: Final = 1.0  # seconds for clients that are on their way out to read the last words
PATIENCE: Final = 2.0  # seconds for a moment in which nothing is on its way from a client
MOVED: Final = 1.5  # seconds for sessions to be taken over by the nodes that clients go to
CONFIRMED: Final = 3.0  # seconds more for clients to say there what they have got from here
LOOK: Final = 0.05  # seconds between looks at what is still on its way


class Drain:
    """One node's way out. `run` once; the caller bounds it in time."""

    def __init__(self, node: Node, acceptor: Acceptor, rng: Random) -> None:
        self._node = node
        self._acceptor = acceptor
        self._rng = rng
        self._patience = 0.0  # until then a WebSocket is closed at a good moment only

    async def run(self) -> None:
        node = self._node
        self._acceptor.stop()
        node.http.drain()
        node.relays.drain()
        node.sessions.drain()
        await self._send_all_away()
        await self._finish_requests()
        await self._wait_moved()
        self._tell_cursors()
        await node.cluster.leave_ring()
        await self._see_clients_off()

    async def _send_all_away(self) -> None:
        """Everybody, in no order, at `PACE` or in half of the time that there is."""
        leavers = list(self._leavers())
        self._rng.shuffle(leavers)
        pace = max(PACE, len(leavers) / (self._node.config.drain_grace / 2 or 1))
        group = max(1, int(pace * STEP))
        self._patience = trio.current_time() + len(leavers) / pace + PATIENCE
        for start in range(0, len(leavers), group):
            for leave in leavers[start : start + group]:
                leave()
            await trio.sleep(STEP)

    def _leavers(self) -> Iterator[Callable[[], None]]:
        """What makes each client go. A session may have gone when its turn comes."""
        node = self._node
        for session in node.sessions.all():
            yield lambda session=session: self._send_away(session)  # type: ignore[misc]
        yield from node.relays.held_elsewhere()
        for conn in node.reactor.all():
            if isinstance(conn, WebSocketConnection) and conn.owner is None:
                yield lambda conn=conn: self._close(conn)  # type: ignore[misc]

    def _send_away(self, session: Session) -> None:
        """Answer the session's connect, and end its stream, so that its client comes back."""
        sessions, stream = self._node.sessions, session.carrier
        if sessions.get(session.address) is not session:
            return
        sessions.put_off(session)
        if isinstance(stream, WebSocketConnection):
            self._close(stream)
        elif stream is not None:
            spread_return(stream)
            stream.close_with(CloseCode.SERVICE_RESTART, "")

    def _close(self, socket: WebSocketConnection) -> None:
        """Not while the client waits for an answer, or is about to connect: that would fail.

        What it publishes while the close frame is on its way to it is not read any more:
        it learns that it has failed, and may repeat it.
        """
        if not socket.closing:
            self._node.reactor.read_now(socket)
        now = trio.current_time()
        if now < self._patience and not (
            socket.quiet and self._pauses(socket, now) and not self._node.websockets.busy(socket)
        ):
            return  # `_finish_requests` comes back to it
        socket.part(CloseCode.SERVICE_RESTART, "this node is leaving")

    def _pauses(self, socket: WebSocketConnection, now: float) -> bool:
        """Whether the client has just been told to wait with its next connect."""
        if not isinstance(socket.owner, Session):
            return True
        told = self._node.sessions.put_off_at.get(socket.owner.address, 0.0)
        return now - told < AFTER_CLOSE / 4

    async def _finish_requests(self) -> None:
        """Until every client has its answer."""
        reactor, websockets = self._node.reactor, self._node.websockets
        while True:
            waiting = False
            for conn in reactor.all():
                if isinstance(conn, HttpConnection) and conn.outstanding:
                    waiting = True
                elif isinstance(conn, WebSocketConnection) and not conn.closing:
                    self._close(conn)
                    waiting = waiting or not conn.closing
            if not waiting and not websockets.busy(None):
                return
            await trio.sleep(LOOK)

    async def _wait_moved(self) -> None:
        """Give clients a moment to take their sessions elsewhere.

        Then this edge still learns what they have got, and their next one repeats none of it.
        """
        with trio.move_on_after(MOVED):
            while len(self._node.sessions):  # noqa: ASYNC110 - nothing tells when the last has gone
                await trio.sleep(LOOK)
        with trio.move_on_after(CONFIRMED):
            while any(  # noqa: ASYNC110
                session.acks is not None and session.acks.outstanding
                for session in self._node.sessions.all()
            ):
                await trio.sleep(LOOK)

    def _tell_cursors(self) -> None:
        """Whose client is between two requests is resumed from where it stands now."""
        node = self._node
        for session in node.sessions.all():
            cursors = node.sessions.hub.told(session)
            node.cluster.consumed(session.address, session.generation, cursors)

    async def _see_clients_off(self) -> None:
        """Wait, not long, until clients have read their last answer or close frame.

        A socket that is closed under what its client sends makes the kernel send a
        reset, which can overtake what was sent last.
        """
        with trio.move_on_after(GOODBYE):
            leaving = WebSocketConnection | Lingering
            while any(isinstance(conn, leaving) for conn in self._node.reactor.all()):  # noqa: ASYNC110
                await trio.sleep(LOOK)
