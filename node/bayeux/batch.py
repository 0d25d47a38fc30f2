"""One client request: its messages handled in order, its replies gathered.

Replies may come later (a publish waits for its commit), in any order. Messages
that change the session (handshake, subscribe, …) are barriers: what follows
them waits, because a client may rely on their effect in the same batch.
Publishes run side by side.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from node.bayeux.messages import array

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.bayeux.extensions import Exchange
    from node.bayeux.messages import ClientMessage
    from node.session import PollSink, Session
    from node.websocket.connection import WebSocketConnection


_ANY = -1
NOTHING: dict[int, Exchange] = {}  # (shared, and never written)


class Batch:
    """Drives `dispatch(batch, index, message)` over the messages of one request.

    `dispatch` must lead to exactly one `reply` or `skip` for each index, now or
    later; after `block(index)` nothing more is dispatched until that happens.
    """

    __slots__ = (
        "_at_once",
        "_barrier",
        "_complete",
        "_dispatch",
        "_finished",
        "_next",
        "_pending",
        "_running",
        "binding",
        "client_id",
        "exchanges",
        "held",
        "messages",
        "name",
        "origin",
        "poll",
        "replies",
        "session",
        "status",
        "stream",
    )

    def __init__(
        self,
        messages: list[ClientMessage],
        session: Session | None,
        dispatch: Callable[[Batch, int, ClientMessage], None],
        *,
        poll: PollSink | None = None,
        stream: WebSocketConnection | None = None,
        binding: bytes = b"",
        name: str = "",
        at_once: Callable[[Session, str], bytes] = lambda _session, _transport: b"",
    ) -> None:
        """`binding`: what a session that is made in this batch is bound to.

        `name`: the request's own, where it may be handled again (`node.bayeux.naming`).

        `at_once(session, transport)`: what is owed to a session that gets a
        response anyhow (JSON objects, comma-separated).
        """
        self.messages = messages
        self.session = session
        self.poll = poll
        self.stream = stream
        self.binding = binding
        self.name = name
        self.client_id = ""  # the secret by which `session` was found, where that was here
        self.origin = ""  # under what its client's address is counted (`node.identity.gate`)
        self.replies: list[bytes | None] = [None] * len(messages)
        self.exchanges: dict[int, Exchange] = NOTHING  # by index, where extensions take part
        self.status = 200  # of the HTTP response
        self.held = False  # the request became a held poll: somebody else answers it
        self._complete: Callable[[Exchange, bytes], bytes] | None = None
        self._dispatch = dispatch
        self._at_once = at_once
        self._next = 0
        self._pending = 0
        self._barrier: int | None = None  # index whose reply is awaited, or _ANY
        self._running = False
        self._finished = False

    @property
    def done(self) -> bool:
        """The request has had its answer, or is a held poll."""
        return self._finished or self.held

    @property
    def alone(self) -> bool:
        """The request is one message: only then may a long poll be held."""
        return len(self.messages) == 1

    @property
    def waiting(self) -> bool:
        """Replies to earlier messages are still to come."""
        return self._pending > 1

    def run(self) -> None:
        """Dispatch as far as barriers allow; answer once all replies are in."""
        self._running = True
        while self._next < len(self.messages) and self._barrier is None:
            index = self._next
            self._next += 1
            self._pending += 1
            self._dispatch(self, index, self.messages[index])
        self._running = False
        if not self._pending and self._next == len(self.messages) and not self._finished:
            self._finished = True
            self._answer()

    def block(self, index: int) -> None:
        """Hold back what follows until message `index` has its reply."""
        self._barrier = index

    def postpone(self) -> None:
        """Take the message just dispatched again once earlier replies are in."""
        self._next -= 1
        self._pending -= 1
        self._barrier = _ANY

    def show(
        self, index: int, exchange: Exchange, complete: Callable[[Exchange, bytes], bytes]
    ) -> None:
        """Extensions take part in the answer to message `index`: `complete` adds what they add."""
        if self.exchanges is NOTHING:
            self.exchanges = {}
        self.exchanges[index] = exchange
        self._complete = complete

    def take(self, index: int) -> Exchange | None:
        """What extensions know of message `index`; the caller sees to its reply."""
        return self.exchanges.pop(index, None) if self.exchanges else None

    def reply(self, index: int, data: bytes) -> None:
        """Give the reply to message `index` (a JSON object)."""
        if self.exchanges:
            exchange = self.exchanges.pop(index, None)
            if exchange is not None and self._complete is not None:
                data = self._complete(exchange, data)
        self.replies[index] = data
        self.skip(index)

    def skip(self, index: int) -> None:
        """Message `index` gets no reply here: its poll is held."""
        self._pending -= 1
        if self._barrier in {index, _ANY}:
            self._barrier = None
        if not self._running:
            self.run()

    def _answer(self) -> None:
        replies = [data for data in self.replies if data is not None]
        if self.stream is not None:
            if replies:
                self.stream.send_text(array(replies))
        elif self.poll is not None and not self.held:
            session = self.session
            if session is not None and session.stream is None and session.acks is None:
                joined = self._at_once(session, self.poll.transport)
                if joined:
                    replies.append(joined)
            if self.status == HTTPStatus.OK:
                self.poll.respond_json(array(replies))
            else:
                self.poll.respond(self.status, array(replies))
