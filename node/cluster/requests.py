"""What the edge asks of the cluster: publish, read, keep session records.

Each call becomes one call of the pubsub engine; where there is an outcome to
wait for, the callback is kept under a request number until the engine's
`Answer`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from dht.ids import slot_of
from node.tracing import Tracer
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import msgspec

    from dht.effects import Effect
    from dht.ids import NodeId
    from node.cluster.messages import NodeMessage
    from pubsub.engine import PubSubEngine
    from pubsub.feed import Feed
    from pubsub.messages import Appended, Cursor, Joined, Record, SessionDone
    from pubsub.slot import Topic

    Cursors: TypeAlias = tuple[tuple[str, Cursor], ...]
    Result: TypeAlias = Appended | Joined | SessionDone | Failed


class Requests(ABC):
    """The half of `Cluster` that faces the edge.

    Methods that take `on_done` call it exactly once, in the trio thread: before
    they return where the answer is here, or later. Without a ring the answer is
    ``Failed(UNAVAILABLE)``, and notifications are dropped.
    """

    def __init__(self) -> None:
        self._pubsub: PubSubEngine | None = None
        self._numbers = count(1)
        self._callbacks: dict[int, Callable[[Any], None]] = {}
        self.tracer = Tracer()

    @abstractmethod
    def _act_pubsub(self, effects: list[Effect]) -> None: ...

    @abstractmethod
    def _post(self, to: NodeId, message: msgspec.Struct) -> bool: ...

    def _ask(self, on_done: Callable[[Any], None]) -> int:
        number = next(self._numbers)
        self._callbacks[number] = on_done
        return number

    def _answer(self, request: int, result: Result) -> None:
        self._callbacks.pop(request)(result)

    # -- publishing and reading -------------------------------------------------------

    def append(
        self,
        topic: str,
        payload: bytes,
        message_id: str,
        on_done: Callable[[Appended | Failed], None],
        client_id: bool = False,
    ) -> None:
        """Publish. `payload` is the client-facing JSON object.

        `client_id`: the application chose `message_id`; a repeat is answered
        with the first one's position for two minutes.
        """
        if self._pubsub is None:
            on_done(_UNAVAILABLE)
            return
        request = self._ask(self.tracer.accepted(topic, message_id, on_done))
        self._act_pubsub(
            self._pubsub.append(
                request, topic, payload, message_id, time.time(), trio.current_time(), client_id
            )
        )

    def join(
        self, topic: str, cursor: Cursor | None, on_done: Callable[[Joined | Failed], None]
    ) -> None:
        """Read `topic` after `cursor`, or from now on; entries come as `on_deliver`."""
        if self._pubsub is None:
            on_done(_UNAVAILABLE)
            return
        request = self._ask(on_done)
        self._act_pubsub(self._pubsub.join(request, topic, cursor, trio.current_time()))

    def leave(self, topic: str) -> None:
        """The last local reader of `topic` has gone."""
        if self._pubsub is not None:
            self._act_pubsub(self._pubsub.leave(topic, trio.current_time()))

    def feed(self, topic: str) -> Feed | None:
        """What this node holds of `topic`, if it is in its tree."""
        return self._pubsub.feed(topic) if self._pubsub is not None else None

    def topic(self, name: str) -> Topic | None:
        """The log of a channel or an inbox, if this node is its serving home and it has one."""
        return self._pubsub.topic(name) if self._pubsub is not None else None

    # -- session records -----------------------------------------------------------------

    def open_session(
        self, address: str, extra: bytes, on_done: Callable[[SessionDone | Failed], None]
    ) -> None:
        """Commit the record of a new session, with this node as its edge."""
        if self._pubsub is None:
            on_done(_UNAVAILABLE)
            return
        request = self._ask(on_done)
        self._act_pubsub(self._pubsub.open_session(request, address, extra, trio.current_time()))

    def update_session(
        self,
        address: str,
        generation: int,
        subscribe: Cursors,
        unsubscribe: tuple[str, ...],
        on_done: Callable[[SessionDone | Failed], None],
    ) -> None:
        """Commit subscriptions (each with the cursor it starts at) and their ends."""
        if self._pubsub is None:
            on_done(_UNAVAILABLE)
            return
        request = self._ask(on_done)
        self._act_pubsub(
            self._pubsub.update_session(
                request, address, generation, subscribe, unsubscribe, trio.current_time()
            )
        )

    def attach_session(
        self, address: str, on_done: Callable[[SessionDone | Failed], None], edge: NodeId = b""
    ) -> None:
        """Make this node the edge of a session; commits the next generation.

        `edge`: who has let go of it; if another has it by now, this fails. Empty: whoever has it.
        """
        if self._pubsub is None:
            on_done(_UNAVAILABLE)
            return
        request = self._ask(on_done)
        self._act_pubsub(self._pubsub.attach_session(request, address, trio.current_time(), edge))

    def close_session(self, address: str, generation: int) -> None:
        """The session is over."""
        if self._pubsub is not None:
            now = trio.current_time()
            self._act_pubsub(self._pubsub.close_session(address, generation, now))

    def consumed(self, address: str, generation: int, cursors: Cursors) -> None:
        """The client has been served up to these cursors."""
        if self._pubsub is not None:
            now = trio.current_time()
            self._act_pubsub(self._pubsub.consumed(address, generation, cursors, now))

    def consumed_alike(self, readers: Iterable[tuple[str, int]], cursors: Cursors) -> None:
        """As `consumed`, of sessions (address, generation) that all stand at the same `cursors`."""
        if self._pubsub is not None:
            now = trio.current_time()
            self._act_pubsub(self._pubsub.consumed_alike(readers, cursors, now))

    def released(self, address: str, generation: int, cursors: Cursors) -> None:
        """Let go of the session, which moves to another edge; these are its final cursors."""
        if self._pubsub is not None:
            now = trio.current_time()
            self._act_pubsub(self._pubsub.released(address, generation, cursors, now))

    def record(self, address: str) -> Record | None:
        """The session's record, if this node is its serving home."""
        return self._pubsub.record(address) if self._pubsub is not None else None

    def serving(self, slot: int) -> bool:
        """Whether this node is home to `slot`, and open."""
        return self._pubsub is not None and self._pubsub.serving(slot)

    def serving_name(self, name: str) -> bool:
        """Whether this node is the serving home of a channel, session id or address."""
        return self.serving(slot_of(name))

    # -- other nodes' edges -----------------------------------------------------------------

    def post(self, to: NodeId, message: NodeMessage) -> bool:
        """Send `message` to another edge. False: it is not to be had now.

        True is no promise; if the message may be lost, `on_link_lost` follows.
        """
        return self._post(to, message)


_UNAVAILABLE = Failed(0, Code.UNAVAILABLE)
