"""Sessions whose clients say what they have got (the `ack` extension).

Such a session is sent messages only together with the reply to a connect, also
on a WebSocket: the reply names the *batch* that they belong to, the next connect
the last batch that came. All that is kept is how far the client had got before
the batch that is on its way; what it has not got is read from the log again.

    connect ack: N ──► N is the batch on its way: it has come, cursors go forward
                   └─► any other: it has not, the session goes back to before it

A batch is ``generation · 2³² + n``. All sessions of a process share the count of n,
which begins at random: a batch that another edge sent, or this one before it lost
the session or was started again, is never taken for one of ours. What has been
acknowledged is told to the session's home; a new edge goes on from there.
"""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, Final

from node.bayeux.messages import connect_reply

if TYPE_CHECKING:
    from node.session import Session
    from node.topic import Topic
    from node.websocket.connection import WebSocketConnection

_GENERATION: Final = 1 << 32
_numbers: Final = itertools.count(secrets.randbits(31))
REPLACED: Final = b',"error":"500::replaced by a newer connect"'


class Acks:
    """What one session has been sent since it last acknowledged."""

    __slots__ = ("_batch", "_confirmed", "_moved", "_sent", "socket")

    def __init__(self, moved: dict[Session, None]) -> None:
        """`moved`: sessions with cursors that their homes are still to be told."""
        self.socket: WebSocketConnection | None = None  # where its connects come from, if not HTTP
        self._moved = moved
        self._batch = 0  # the last that went out
        self._sent: dict[Topic, tuple[int, int]] = {}  # offsets before and after it
        self._confirmed: dict[Topic, int] = {}

    def sent(self, topic: Topic, after: int, upto: int) -> None:
        """The next batch has the entries of `topic` that follow `after`, up to `upto`."""
        before = self._sent.get(topic)
        self._sent[topic] = (after if before is None else before[0], upto)

    def close_batch(self, generation: int) -> int:
        """The batch goes out: its name."""
        self._batch = generation * _GENERATION + next(_numbers) % _GENERATION
        return self._batch

    def confirm(self, session: Session, batch: int | None) -> None:
        """The client comes again; `batch` is the last that it has got (None: it does not say).

        What it has not got counts as not sent.
        """
        sent, self._sent = self._sent, {}
        if batch == self._batch:
            if sent:
                self._confirmed.update({topic: upto for topic, (_, upto) in sent.items()})
                self._moved[session] = None
            return
        for topic, (after, _) in sent.items():
            if session in topic.members:
                session.fall_behind(topic, after)

    @property
    def outstanding(self) -> bool:
        """Something has been sent that the client has not said it has."""
        return bool(self._sent)

    def take_confirmed(self) -> dict[Topic, int]:
        """How far the client has got in topics where that is news to the session's home."""
        confirmed, self._confirmed = self._confirmed, {}
        return confirmed

    def position(self, topic: Topic, served: int) -> int:
        """How far the client is known to have got in `topic`, of which it was sent `served`."""
        sent = self._sent.get(topic)
        return served if sent is None else sent[0]

    def forget(self, topic: Topic) -> None:
        """Offsets of `topic` begin anew."""
        self._sent.pop(topic, None)
        self._confirmed.pop(topic, None)


class SocketPoll:
    """A connect that is held on the WebSocket of such a session; stands where an HTTP poll does."""

    __slots__ = ("_connect_id", "_socket")

    transport = "websocket"

    def __init__(self, socket: WebSocketConnection, connect_id: bytes) -> None:
        self._socket = socket
        self._connect_id = connect_id

    def respond_json(self, body: bytes) -> None:
        self._socket.send_text(body)

    def respond(self, status: int, body: bytes) -> None:
        """It is answered with an error, as a newer one has come, or the session has gone."""
        del status, body
        reply = connect_reply(self._connect_id, REPLACED, successful=False)
        self._socket.send_text(b"[%b]" % reply)
