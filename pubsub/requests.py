"""Requests of this node to homes: sent, retried, answered, given up.

A request goes to the home of its topic in the present view. It is sent again
when the home says that it cannot serve, when the link to it is lost, or when
it leaves the view; not merely because the view has changed, since an old home
that is alive answers everything that reached it. One without an answer for
long is sent again too: homes recognise repeats.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, TypeAlias

from dht.effects import Send
from pubsub.errors import Code
from pubsub.messages import (
    Append,
    Appended,
    Consumed,
    Failed,
    Fetch,
    Fetched,
    Join,
    PatternOpen,
    PatternOpened,
    Released,
    SessionAttach,
    SessionClose,
    SessionClosed,
    SessionDone,
    SessionOpen,
    SessionPut,
    SessionUpdate,
    Vacated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core

Request: TypeAlias = (
    Append
    | Fetch
    | PatternOpen
    | SessionOpen
    | SessionUpdate
    | SessionAttach
    | SessionClose
    | SessionPut
)
# What only the home of the topic or session that it names can answer.
HomeMessage: TypeAlias = Request | Join | Consumed | Released | Vacated
Response: TypeAlias = Appended | Failed | Fetched | PatternOpened | SessionDone | SessionClosed
ENVELOPE = 200  # bytes that a request costs besides its payload, roughly


class Pending:
    """One request without an answer. `target` is None while it waits for its next try."""

    __slots__ = (
        "deadline",
        "elsewhere",
        "message",
        "name",
        "request",
        "retry_at",
        "size",
        "target",
        "tries",
    )

    def __init__(self, request: int, name: str, message: Request, deadline: float) -> None:
        self.request = request
        self.name = name
        self.message = message
        self.deadline = deadline
        self.target: NodeId | None = None
        self.retry_at = 0.0
        self.tries = 0
        self.elsewhere = False  # another node has been asked
        self.size = ENVELOPE + (len(message.payload) if isinstance(message, Append) else 0)


class Requests:
    """The pending requests of one node.

    The engine sets `serve` (this node is the home) and `finish` (an answer, or
    a failure, for good). Callers choose positive numbers, `internal` gives
    negative ones.
    """

    serve: Callable[[NodeId, HomeMessage, float, list[Effect]], None]
    finish: Callable[[Pending, Response, float, list[Effect]], None]
    unclaimed: Callable[[NodeId, SessionDone, float, list[Effect]], None]

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pending: dict[int, Pending] = {}
        self._waiting: dict[int, Pending] = {}
        self._retry_at = inf
        self._bytes = 0
        self._internal = 0
        self._expiry = inf  # no deadline is earlier

    def __len__(self) -> int:
        return len(self._pending)

    def internal(self) -> int:
        """A request number that no caller uses."""
        self._internal -= 1
        return self._internal

    def submit(
        self,
        request: int,
        name: str,
        message: Request,
        now: float,
        out: list[Effect],
        seconds: float | None = None,
    ) -> bool:
        """Send a request to the home of `name`; False (and nothing done) if too many wait."""
        limits = self._core.limits
        deadline = now + (limits.request_seconds if seconds is None else seconds)
        pending = Pending(request, name, message, deadline)
        if len(self._pending) >= limits.pending or self._bytes + pending.size > (
            limits.pending_bytes
        ):
            return False
        self._pending[request] = pending
        self._bytes += pending.size
        self._expiry = min(self._expiry, deadline)
        self._dispatch(pending, now, out)
        return True

    def waits_for(self, message: HomeMessage) -> bool:
        """Whether anybody here still wants what was asked of this very node."""
        return not isinstance(message, Request) or message.request in self._pending

    def asked_elsewhere(self, request: int) -> bool:
        """Whether another node may have served this request of mine."""
        pending = self._pending.get(request)
        return pending is None or pending.elsewhere

    def respond(self, to: NodeId, message: Response, now: float, out: list[Effect]) -> None:
        """A home's answer, to another node or to this one."""
        if to == self._core.me:
            self.receive(to, message, now, out)
        else:
            out.append(Send(to, message))

    def receive(self, sender: NodeId, message: Response, now: float, out: list[Effect]) -> None:
        """An answer has come."""
        pending = self._pending.get(message.request)
        if pending is None:
            if type(message) is SessionDone:
                self.unclaimed(sender, message, now, out)
            return
        if type(message) is Failed:
            if pending.target != sender:
                return  # about an earlier try: the present one is with another home
            if message.code == Code.UNAVAILABLE:
                self._postpone(pending, now)
                return
        self._drop(pending)
        pending.target = sender  # perhaps one that was asked before
        self.finish(pending, message, now, out)

    def install_view(self, now: float, out: list[Effect]) -> None:
        members = self._core.members
        for pending in list(self._pending.values()):
            if pending.request not in self._pending:
                continue  # answered meanwhile
            if pending.target is None or pending.target not in members:
                self._dispatch(pending, now, out)

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        for pending in list(self._waiting.values()):
            if pending.request in self._waiting and self._core.home_of(pending.name) == node:
                self._dispatch(pending, now, out)

    def link_closed(self, node: NodeId, now: float) -> None:
        for pending in self._pending.values():
            if pending.target == node:
                self._postpone(pending, now)

    def next_deadline(self) -> float:
        return min(self._retry_at, self._expiry)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        if now >= self._retry_at:
            self._retry_at = inf
            for pending in list(self._pending.values()):
                if pending.request not in self._pending:
                    continue  # answered meanwhile
                if pending.target == self._core.me:
                    continue  # it waits for a slot of mine: nothing was lost
                if pending.retry_at <= now:
                    self._dispatch(pending, now, out)
                else:
                    self._retry_at = min(self._retry_at, pending.retry_at)
        if now >= self._expiry:
            self._expire(now, out)

    def _expire(self, now: float, out: list[Effect]) -> None:
        late = [pending for pending in self._pending.values() if pending.deadline <= now]
        for pending in late:
            self._drop(pending)
            self.finish(pending, Failed(pending.request, Code.UNAVAILABLE), now, out)
        self._expiry = min((p.deadline for p in self._pending.values()), default=inf)

    def _dispatch(self, pending: Pending, now: float, out: list[Effect]) -> None:
        home = self._core.home_of(pending.name)
        if home is None:
            self._postpone(pending, now)
            return
        pending.target = home
        self._waiting.pop(pending.request, None)
        if home == self._core.me:
            self.serve(home, pending.message, now, out)
        else:
            pending.elsewhere = True
            pending.retry_at = now + self._core.limits.resend_seconds
            self._retry_at = min(self._retry_at, pending.retry_at)
            out.append(Send(home, pending.message))

    def _postpone(self, pending: Pending, now: float) -> None:
        limits = self._core.limits
        pending.target = None
        delay = min(limits.retry_cap_seconds, limits.retry_seconds * (1 << min(pending.tries, 10)))
        pending.tries += 1
        pending.retry_at = now + delay
        self._waiting[pending.request] = pending
        self._retry_at = min(self._retry_at, pending.retry_at)

    def _drop(self, pending: Pending) -> None:
        del self._pending[pending.request]
        self._waiting.pop(pending.request, None)
        self._bytes -= pending.size
        if not self._pending:
            self._retry_at = self._expiry = inf
