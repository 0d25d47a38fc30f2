"""Changes of a slot that are not committed yet, and who waits for them.

A change is staged at its home, goes to the other holders in a lane, and is
committed when all of them have it. If the home's reign ends before, it fails:
who waits is told to try again, which does no harm if the next home has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pubsub.effects import Answer
from pubsub.errors import Code
from pubsub.messages import Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.homes import Homes
    from pubsub.messages import Append, Cursor, Entry
    from pubsub.requests import Requests, Response
    from pubsub.slot import Slot, Topic
    from pubsub.slot_messages import Operation

Then: TypeAlias = "Callable[[float, list[Effect]], None]"
ENVELOPE = 200  # bytes that a change costs besides its payload, roughly


class Staged:
    """One change on its way. Nobody waits for this kind."""

    __slots__ = ("op", "size", "slot")

    def __init__(self, slot: Slot, op: Operation, size: int = ENVELOPE) -> None:
        self.slot = slot
        self.op = op
        self.size = size

    def commit(self, held: bool, now: float, out: list[Effect]) -> None:
        """All holders have it. `held`: this node may acknowledge."""

    def fail(self, now: float, out: list[Effect]) -> None:
        """The reign has ended before that. Called once at most, and then no `commit`."""

    def expire(self, now: float, out: list[Effect]) -> None:
        """It takes too long for a publisher on this node to wait."""


class StagedAnswer(Staged):
    """A change that somebody asked for: answered once it is committed."""

    __slots__ = ("_requests", "_response", "_then", "_to")

    def __init__(
        self,
        slot: Slot,
        op: Operation,
        requests: Requests,
        answer: tuple[NodeId, Response] | None,
        then: Then | None = None,
    ) -> None:
        super().__init__(slot, op)
        self._requests = requests
        self._to: NodeId = answer[0] if answer is not None else b""
        self._response = answer[1] if answer is not None else None
        self._then = then

    def commit(self, held: bool, now: float, out: list[Effect]) -> None:
        if self._response is not None:
            response = self._response if held else self._refusal(self._response)
            self._requests.respond(self._to, response, now, out)
        if self._then is not None:
            self._then(now, out)

    def fail(self, now: float, out: list[Effect]) -> None:
        if self._response is not None:
            self._requests.respond(self._to, self._refusal(self._response), now, out)

    @staticmethod
    def _refusal(response: Response) -> Failed:
        return Failed(response.request, Code.UNAVAILABLE)


class StagedEntry(Staged):
    """An entry that has its position. `sender` is b"" for a caller of this very node."""

    __slots__ = ("cursor", "entry", "homes", "message", "others", "sender", "topic")

    def __init__(
        self, homes: Homes, topic: Topic, entry: Entry, cursor: Cursor, op: Operation
    ) -> None:
        super().__init__(topic.slot, op, ENVELOPE + len(entry.payload))
        self.homes = homes
        self.topic = topic
        self.entry = entry
        self.cursor = cursor
        self.sender: NodeId | None = None
        self.message: Append | None = None
        self.others: list[tuple[NodeId, Append]] | None = None

    def wait(self, sender: NodeId, message: Append) -> None:
        """`sender` is to be told; the same publisher may have asked before."""
        if self.sender is None:
            self.sender, self.message = sender, message
        else:
            self.others = [*(self.others or ()), (sender, message)]

    def commit(self, held: bool, now: float, out: list[Effect]) -> None:
        homes = self.homes
        homes.committed(self)
        if self.sender is None:
            return
        for sender, message in self._take():
            if not held:
                homes.refuse(sender, message, now, out)
            elif sender:
                appended = homes.appended(message, self.topic, self.cursor)
                homes.requests.respond(sender, appended, now, out)
            else:
                appended = homes.appended(message, self.topic, self.cursor)
                out.append(Answer(message.request, appended))

    def _take(self) -> list[tuple[NodeId, Append]]:
        if self.sender is None or self.message is None:
            return []
        waiting = [(self.sender, self.message), *(self.others or ())]
        self.sender = self.message = self.others = None
        return waiting

    def fail(self, now: float, out: list[Effect]) -> None:
        for sender, message in self._take():
            self.homes.refuse(sender, message, now, out)

    def expire(self, now: float, out: list[Effect]) -> None:
        del now
        waiting = self._take()
        for sender, message in waiting:
            if sender:
                self.wait(sender, message)
            else:
                out.append(Answer(message.request, Failed(message.request, Code.UNAVAILABLE)))
