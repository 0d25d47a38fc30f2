"""The parts of one engine put together, and the ways of messages and requests through them."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from dht.ids import slot_of
from pubsub.core import Core
from pubsub.edge import Edge
from pubsub.effects import Answer
from pubsub.errors import Code
from pubsub.flow import Flow
from pubsub.homes import Homes
from pubsub.inboxes import Inboxes
from pubsub.lanes import Lanes
from pubsub.messages import (
    Append,
    Appended,
    Consumed,
    Entries,
    Failed,
    Fetch,
    Fetched,
    Forward,
    Forwarded,
    HighWater,
    Join,
    Joined,
    JoinRefused,
    Leave,
    PatternAll,
    PatternAsk,
    PatternHeld,
    PatternNews,
    PatternOpen,
    PatternOpened,
    Release,
    Released,
    SessionAttach,
    SessionClose,
    SessionClosed,
    SessionDone,
    SessionMoved,
    SessionOpen,
    SessionPut,
    SessionUpdate,
    Vacated,
)
from pubsub.moves import Moves
from pubsub.patterns_parts import PatternParts
from pubsub.readers import Readers
from pubsub.registry import Registry
from pubsub.repair import Repair
from pubsub.replicas import Replicas
from pubsub.requests import Pending, Request, Requests, Response
from pubsub.slot import is_inbox
from pubsub.slot_messages import (
    Install,
    Installed,
    LaneBroken,
    Pull,
    Pulled,
    Replicate,
    Replicated,
    Reregister,
    Retirable,
    Retire,
    Seal,
    Sealed,
)
from pubsub.statistics import Statistics
from pubsub.takeover import Takeover
from pubsub.timings import Timings
from pubsub.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.limits import Limits
    from pubsub.messages import PubSubMessage
    from pubsub.requests import HomeMessage

_BY_TOPIC = attrgetter("topic")
_BY_PATTERN = attrgetter("pattern")
_BY_ADDRESS = attrgetter("address")
_BY_RECORD = attrgetter("record.address")
# Sets, because a union of types would be built anew for each message.
_WANTED = frozenset({SessionOpen, SessionAttach})
_OF_TREES = frozenset({Entries, Join, Joined})
# What a home acknowledges, and so only under its lease; reading goes on without.
_Commits = (
    Append | PatternOpen | SessionOpen | SessionUpdate | SessionAttach | SessionPut | SessionClose
)


class Assembly:
    """All parts of one engine."""

    def __init__(
        self,
        me: NodeId,
        limits: Limits,
        leased: Callable[[float], bool],
        copies_of: Callable[[str], int],
    ) -> None:
        core = self.core = Core(me, limits, leased)
        self.commits = Timings()
        requests = self.requests = Requests(core)
        lanes = self.lanes = Lanes(core, self.commits)
        homes = self.homes = Homes(core, requests, lanes, copies_of)
        replicas = self.replicas = Replicas(core, homes)
        registry = self.registry = Registry(core, requests, lanes)
        inboxes = self.inboxes = Inboxes(core, homes, registry)
        moves = self.moves = Moves(core, registry, requests)
        edge = self.edge = Edge(core, requests, registry)
        flow = self.flow = Flow(core)
        tree = self.tree = Tree(core, homes, flow)
        repair = self.repair = Repair(core, requests, flow)
        readers = self.readers = Readers(core)
        takeover = self.takeover = Takeover(core, homes, registry, lanes)
        patterns = self.patterns = PatternParts(core, homes, requests, readers, leased)

        # Some know each other both ways.
        homes.flow, homes.registry, homes.inboxes = flow, registry, inboxes
        registry.inboxes = inboxes
        lanes.after_commits = homes.after_commits
        takeover.patterns, tree.pattern_home = patterns, patterns.home
        flow.tree = repair.tree = readers.tree = takeover.tree = tree
        tree.repair = readers.repair = repair
        tree.readers = repair.readers = readers
        takeover.edge, takeover.moves, takeover.requests = edge, moves, requests
        takeover.serve, takeover.refuse = self._serve, self._refuse
        requests.serve, requests.finish = self._serve, self._finish
        requests.unclaimed = edge.unclaimed

        # What a home is asked: where the message names the topic or session, and who answers.
        self._at_home: dict[type, tuple[attrgetter[str], Any]] = {
            Append: (_BY_TOPIC, homes.receive_append),
            Fetch: (_BY_TOPIC, homes.receive_fetch),
            Join: (_BY_TOPIC, inboxes.receive_join),
            SessionOpen: (_BY_ADDRESS, registry.receive_open),
            SessionUpdate: (_BY_ADDRESS, registry.receive_update),
            SessionClose: (_BY_ADDRESS, registry.receive_close),
            SessionPut: (_BY_RECORD, registry.receive_put),
            Consumed: (_BY_ADDRESS, registry.receive_consumed),
            Vacated: (_BY_ADDRESS, registry.receive_vacated),
            SessionAttach: (_BY_ADDRESS, moves.receive_attach),
            Released: (_BY_ADDRESS, moves.receive_released),
            PatternOpen: (_BY_PATTERN, patterns.home.receive_open),
        }
        self._handlers: dict[type, Any] = {
            **dict.fromkeys(self._at_home, self._serve),
            **dict.fromkeys(
                (Appended, Failed, Fetched, PatternOpened, SessionDone, SessionClosed),
                requests.receive,
            ),
            PatternNews: patterns.news.receive_news,
            PatternHeld: patterns.home.receive_held,
            PatternAsk: patterns.news.receive_ask,
            PatternAll: patterns.news.receive_all,
            Forward: patterns.receive_forward,
            Forwarded: patterns.forwarding.receive_forwarded,
            JoinRefused: tree.receive_refused,
            Leave: tree.receive_leave,
            HighWater: flow.receive_high_water,
            Release: edge.receive_release,
            SessionMoved: edge.receive_moved,
            Replicate: replicas.receive_replicate,
            Replicated: lanes.receive_replicated,
            LaneBroken: lanes.receive_broken,
            Seal: takeover.sealing.receive_seal,
            Sealed: takeover.openings.receive_sealed,
            Install: takeover.sealing.receive_install,
            Installed: takeover.openings.receive_installed,
            Pull: takeover.pulls.receive_pull,
            Pulled: takeover.pulls.receive_pulled,
            Retire: takeover.sealing.receive_retire,
            Retirable: takeover.sealing.receive_retirable,
            Reregister: edge.receive_reregister,
        }
        # These mean one thing for a channel's tree, another for an inbox.
        self._for_channel: dict[type, Any] = {
            Join: tree.receive_join,
            Joined: tree.receive_joined,
            Entries: flow.receive_entries,
        }
        self._for_inbox: dict[type, Any] = {
            Join: self._serve,
            Joined: edge.receive_joined,
            Entries: edge.receive_entries,
        }

    # -- messages -----------------------------------------------------------------------

    def receive(
        self, sender: NodeId, message: PubSubMessage, now: float, out: list[Effect]
    ) -> None:
        """A message from another node."""
        kind = type(message)
        if kind in _OF_TREES:
            topic = cast("Entries | Join | Joined", message).topic
            table = self._for_inbox if is_inbox(topic) else self._for_channel
            table[kind](sender, message, now, out)
        else:
            self._handlers[kind](sender, message, now, out)

    def _serve(self, sender: NodeId, message: HomeMessage, now: float, out: list[Effect]) -> None:
        """Something is asked of this node as a home."""
        name_of, answer = self._at_home[type(message)]
        number = slot_of(name_of(message))
        slot = self.core.slots.get(number)
        if slot is not None and isinstance(message, _Commits) and not self.core.leased(now):
            # The ring's majority may be giving this slot to another: nothing is promised.
            self._refuse(sender, message, now, out)
        elif slot is not None:
            answer(sender, message, slot, now, out)
        elif not self.takeover.queue(number, sender, message):
            self._refuse(sender, message, now, out)

    def _refuse(self, sender: NodeId, message: HomeMessage, now: float, out: list[Effect]) -> None:
        """Not home, or too many requests wait already: who asks for an answer is told."""
        if isinstance(message, Request):
            failed = Failed(message.request, Code.UNAVAILABLE)
            self.requests.respond(sender, failed, now, out)

    # -- this node's requests --------------------------------------------------------------

    def submit(
        self, request: int, name: str, message: Request, now: float, out: list[Effect]
    ) -> None:
        """A caller's request; told at once if there are too many."""
        if type(message) in _WANTED:
            self.edge.arrivals.begin(request, name)
        if not self.requests.submit(request, name, message, now, out):
            self.edge.arrivals.end(request)
            out.append(Answer(request, Failed(request, Code.OVERLOADED)))

    def _finish(self, pending: Pending, response: Response, now: float, out: list[Effect]) -> None:
        """A request of this node is over."""
        if type(response) is Appended and type(pending.message) is Append:  # by far the most
            out.append(Answer(pending.request, response))
        else:
            self._finish_other(pending, response, now, out)

    def _finish_other(
        self, pending: Pending, response: Response, now: float, out: list[Effect]
    ) -> None:
        message = pending.message
        is_new = self.edge.arrivals.end(pending.request)
        if isinstance(response, SessionDone):
            self.edge.adopt(pending.target, response.record, now, out, is_new=is_new)
        elif isinstance(response, Failed) and response.code == Code.MOVED:
            if isinstance(message, SessionUpdate):
                self.edge.lost(message.address, message.generation, out)
            elif isinstance(message, SessionPut):
                self.edge.lost(message.record.address, message.record.generation, out)
        if isinstance(message, SessionPut):
            self.edge.putting.pop(message.record.address, None)
        if isinstance(message, PatternOpen):
            self.patterns.opened(pending.request, response, now, out)
        elif isinstance(message, Fetch) and isinstance(response, (Fetched, Failed)):
            self.repair.answered(message.topic, response, now, out)
        elif pending.request > 0 and isinstance(response, (Appended, Failed, SessionDone)):
            out.append(Answer(pending.request, response))

    # -- counts -----------------------------------------------------------------------------

    def statistics(self, now: float) -> Statistics:
        core, takeover = self.core, self.takeover
        feeds = core.feeds.values()
        strays = len(takeover.sealing.strays())
        return Statistics(
            slots={
                "home": len(core.slots),
                "replica": len(core.copies) - len(core.slots) - strays,
                "opening": len(takeover.openings),
                "parting": strays,
            },
            topics=len(core.topics),
            feeds=len(core.feeds),
            log_bytes=core.budget.used,
            log_limit=core.limits.total_log_bytes,
            tree_children=sum(len(feed.children) for feed in feeds),
            tree_depth=max((feed.depth for feed in feeds), default=0),
            records=self.registry.records,
            held=len(self.edge),
            pending=len(self.requests) + len(self.readers),
            staged=len(self.lanes),
            replica_lag=self.lanes.lag(now),
            commits=self.commits.copy(),
            takeovers=dict(takeover.openings.outcomes),
            takeover_seconds=takeover.openings.timings.copy(),
            gap_repairs=self.flow.gap_repairs + self.edge.gap_repairs,
            gaps_reported=self.tree.gaps_reported + self.edge.gaps_reported,
            refused=self.homes.refused,
            trimmed=self.homes.trimmed,
            patterns=len(self.patterns.active),
            forwarded=self.patterns.forwarding.forwarded,
            forward_lag=self.patterns.forwarding.lag,
            forward_repeats=self.patterns.receiving.repeats,
        )
