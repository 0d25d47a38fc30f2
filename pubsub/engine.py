"""The pubsub engine of one node: homes, trees and sessions over one view.

Sans-IO: every method takes ``now`` (monotonic seconds) and returns effects, to
be performed in order. Requests carry numbers that the caller chooses (positive,
unique among those outstanding); each has exactly one `Answer`, which may be
among the effects that the call returns.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dht.ids import slot_of
from dht.view import MemberState
from pubsub.assembly import Assembly
from pubsub.effects import Answer
from pubsub.errors import Code
from pubsub.limits import Limits
from pubsub.messages import (
    Append,
    Cursor,
    Failed,
    SessionAttach,
    SessionOpen,
    SessionUpdate,
)
from pubsub.sessions import address_for
from pubsub.slot import is_inbox
from pubsub.wildcards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import View
    from pubsub.feed import Feed
    from pubsub.messages import PubSubMessage, Record
    from pubsub.records import Cursors
    from pubsub.slot import Topic
    from pubsub.statistics import Statistics

_DEFAULTS: Final = Limits()


class PubSubEngine:
    """Logs, trees and sessions as one node has them."""

    def __init__(
        self,
        me: NodeId,
        limits: Limits = _DEFAULTS,
        leased: Callable[[float], bool] = lambda _: True,
        copies_of: Callable[[str], int] = lambda _: 0,
    ) -> None:
        """`leased`: whether this node may acknowledge as a home at a time (`dht.leases`).

        `copies_of`: how many nodes are to have a channel's messages before they are
        acknowledged; 0 for as many as there are to a slot. It must say the same on
        every node.
        """
        self.me = me
        self._leased = leased
        self._parts = Assembly(me, limits, leased, copies_of)

    # -- the ring ---------------------------------------------------------------------

    def install_view(self, view: View, placement: Placement, now: float) -> list[Effect]:
        """The ring has agreed on `view`. One that is not newer changes nothing."""
        out: list[Effect] = []
        self._parts.takeover.install_view(view, placement, now, out)
        return out

    def link_opened(self, node: NodeId, now: float) -> list[Effect]:
        """There is a new link to `node`; call `link_closed` for the old one before."""
        out: list[Effect] = []
        self._parts.tree.link_opened(node, now, out)
        self._parts.inboxes.link_opened(node, out)
        self._parts.moves.link_opened(node, out)
        self._parts.takeover.link_opened(node, now, out)
        self._parts.lanes.link_opened(node, now, out)
        self._parts.patterns.link_opened(node, now, out)
        self._parts.requests.link_opened(node, now, out)
        return out

    def link_closed(self, node: NodeId, now: float) -> list[Effect]:
        """The link to `node` is lost, or something sent to it could not be: assume all was."""
        out: list[Effect] = []
        self._parts.tree.link_closed(node, now, out)
        self._parts.requests.link_closed(node, now)
        self._parts.lanes.link_closed(node, now)
        self._parts.replicas.link_closed(node)
        return out

    def process_ended(self, node: NodeId, incarnation: int, now: float) -> list[Effect]:
        """It is proven that this process of a node is no more: what it held is lost."""
        out: list[Effect] = []
        self._parts.takeover.died(node, incarnation, now, out)
        return out

    def dial_failed(self, address: str, refused: bool, now: float) -> list[Effect]:
        """What a `Dial` has come to. `refused`: nobody listens there any more."""
        out: list[Effect] = []
        if refused:
            self._parts.takeover.openings.address_dead(address)
            self._parts.takeover.openings.handle_timer(now, out)
        return out

    @property
    def unflushed(self) -> bool:
        """Whether `flush` has anything to send."""
        return self._parts.lanes.unflushed or self._parts.replicas.unflushed

    def flush(self, now: float) -> list[Effect]:
        """Send what has gathered for other holders of slots: call at the end of each turn.

        What is sent in one go is one message a peer, and one acknowledgement. A
        driver that does not call it is woken for it by the timer.
        """
        out: list[Effect] = []
        self._parts.lanes.flush(now, out)
        self._parts.replicas.flush(out)
        return out

    def receive(self, sender: NodeId, message: PubSubMessage, now: float) -> list[Effect]:
        """A message from an authenticated link."""
        out: list[Effect] = []
        self._parts.receive(sender, message, now, out)
        return out

    def drain(self, now: float) -> list[Effect]:
        """The node is about to leave: nothing to do before the view says so."""
        del now
        return []

    def drained(self) -> bool:
        """Whether everything that this node was home to is in other hands."""
        view = self._parts.core.view
        member = None if view is None else view.get(self.me)
        active = member is not None and member.state is MemberState.ACTIVE
        return not active and self._parts.takeover.drained()

    # -- topics -----------------------------------------------------------------------

    def append(
        self,
        request: int,
        topic: str,
        payload: bytes,
        message_id: str,
        at: float,
        now: float,
        client_id: bool = False,
    ) -> list[Effect]:
        """Publish `payload` (client-facing JSON) to a channel or to a session's inbox.

        `topic` is a channel, an address or a session id. `at` is the unix time
        of acceptance. A `message_id` is unique by itself, or, with `client_id`,
        the application's own and unique within the topic: repeats within two
        minutes are answered with the first one's position. Answer: Appended
        with the topic that it really went to, or Failed.
        """
        out: list[Effect] = []
        known = self._parts.core.topics.get(topic)
        may = self._parts.patterns.active.ready and self._leased(now)
        if known is not None and may:  # the hot path: this is its open home
            message = Append(request, topic, message_id, payload, at, 0, client_id)
            result = self._parts.homes.append(b"", message, known.slot, now, out)
            if result is not None:
                out.append(Answer(request, result))
            return out
        name: str | None = address_for(topic) if is_inbox(topic) else topic
        if name is None:
            out.append(Answer(request, Failed(request, Code.UNKNOWN_SESSION)))
            return out
        message = Append(request, name, message_id, payload, at, 1, client_id)
        self._parts.submit(request, name, message, now, out)
        return out

    def join(self, request: int, topic: str, cursor: Cursor | None, now: float) -> list[Effect]:
        """A local reader of a channel, from `cursor` on (None: from now on).

        Answer: Joined, whose cursor is where the reader stands in the feed's
        log (`gap`: later than it asked for, what lies between is lost), or
        Failed. Entries that the log has already are the caller's to flush.
        """
        out: list[Effect] = []
        if is_pattern(topic):
            self._parts.patterns.join(request, topic, cursor, now, out)
        else:
            self._parts.readers.join(request, topic, cursor, now, out)
        return out

    def leave(self, topic: str, now: float) -> list[Effect]:
        """The last local reader of a channel has gone."""
        del now
        out: list[Effect] = []
        self._parts.readers.leave(topic, out)
        return out

    def feed(self, topic: str) -> Feed | None:
        """What this node holds of a channel that it reads or forwards, or of an unread inbox."""
        return self._parts.core.feeds.get(topic) or self._parts.core.inboxes.get(topic)

    def topic(self, name: str) -> Topic | None:
        """The log of a channel or an inbox, if this node is its serving home and it has one."""
        return self._parts.core.topics.get(name)

    # -- sessions -----------------------------------------------------------------------

    def open_session(self, request: int, address: str, extra: bytes, now: float) -> list[Effect]:
        """A new session, held here (generation 1). Answer: SessionDone or Failed."""
        out: list[Effect] = []
        self._parts.submit(request, address, SessionOpen(request, address, extra), now, out)
        return out

    def update_session(
        self,
        request: int,
        address: str,
        generation: int,
        subscribe: Cursors,
        unsubscribe: tuple[str, ...],
        now: float,
    ) -> list[Effect]:
        """Subscriptions added at their cursors, or dropped. Answer: SessionDone or Failed."""
        out: list[Effect] = []
        message = SessionUpdate(request, address, generation, subscribe, unsubscribe)
        self._parts.submit(request, address, message, now, out)
        return out

    def attach_session(
        self, request: int, address: str, now: float, edge: NodeId = b""
    ) -> list[Effect]:
        """Make this node the session's edge. Answer: SessionDone (its new generation) or Failed.

        `edge` as in `SessionAttach`.

        Unread inbox entries follow as `Deliver`.
        """
        out: list[Effect] = []
        self._parts.submit(request, address, SessionAttach(request, address, edge), now, out)
        return out

    def close_session(self, address: str, generation: int, now: float) -> list[Effect]:
        """The session is over. There is no answer; its home is told until it confirms."""
        out: list[Effect] = []
        self._parts.edge.close(address, generation, now, out)
        return out

    def consumed(self, address: str, generation: int, cursors: Cursors, now: float) -> list[Effect]:
        """The client has been served up to `cursors` (the inbox under the address itself)."""
        out: list[Effect] = []
        self._parts.edge.consumed(address, generation, cursors, now, out)
        return out

    def consumed_alike(
        self, readers: Iterable[tuple[str, int]], cursors: Cursors, now: float
    ) -> list[Effect]:
        """As `consumed`, of sessions (address, generation) that all stand at the same `cursors`."""
        out: list[Effect] = []
        for address, generation in readers:
            self._parts.edge.consumed(address, generation, cursors, now, out)
        return out

    def released(self, address: str, generation: int, cursors: Cursors, now: float) -> list[Effect]:
        """The answer to `ReleaseSession`, also for a session that is not here (no cursors)."""
        out: list[Effect] = []
        self._parts.edge.released(address, generation, cursors, now, out)
        return out

    def record(self, address: str) -> Record | None:
        """The record of a session whose serving home this node is."""
        slot = self._parts.core.slots.get(slot_of(address))
        record = None if slot is None else slot.record(address)
        return None if record is None else record.to_wire()

    def serving(self, slot: int) -> bool:
        """Whether this node is home to `slot`, and open."""
        return slot in self._parts.core.slots

    def statistics(self, now: float = 0.0) -> Statistics:
        """Counts of everything. `now` (monotonic seconds) is for what has an age."""
        return self._parts.statistics(now)

    # -- time ---------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` is due (monotonic seconds), if ever."""
        deadline = min(
            self._parts.requests.next_deadline(),
            self._parts.flow.next_deadline(),
            self._parts.tree.next_deadline(),
            self._parts.readers.next_deadline(),
            self._parts.homes.ids.next_deadline(),
            self._parts.registry.next_deadline(),
            self._parts.moves.next_deadline(),
            self._parts.patterns.next_deadline(),
            self._parts.takeover.next_deadline(),
            self._parts.lanes.next_deadline(),
        )
        if self.unflushed:
            return 0.0  # monotonic time is later than that: it is due
        return None if deadline == inf else deadline

    def handle_timer(self, now: float) -> list[Effect]:
        """Whatever is due by `now`."""
        out: list[Effect] = []
        self._parts.flow.handle_timer(now, out)
        self._parts.takeover.handle_timer(now, out)
        self._parts.tree.handle_timer(now, out)
        self._parts.moves.handle_timer(now, out)
        self._parts.patterns.handle_timer(now, out)
        self._parts.requests.handle_timer(now, out)
        self._parts.readers.handle_timer(now, out)
        self._parts.registry.handle_timer(now, out)
        self._parts.homes.ids.handle_timer(now)
        self._parts.lanes.handle_timer(now, out)
        self._parts.replicas.flush(out)
        return out
