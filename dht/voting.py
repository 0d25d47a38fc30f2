"""Voting on the next view: one single-register Paxos for each view number.

The voters of view v are the acceptors for number v + 1. Whoever proposes takes
a ballot of its own, asks a majority to promise (phase 1), adopts the value of
the greatest ballot that any of them has accepted, or else its own, and asks a
majority to accept it (phase 2). What a majority has accepted is chosen, for
good: whoever proposes later finds it and proposes the same. So one number means
one view, whoever is cut off or dies in the middle.

An acceptor forgets nothing within `since`: the incarnation from which on its
memory is whole. With a state directory that is the first incarnation ever,
since every answer waits until what it promises is on disk; without one, a
restarted voter does not vote until a view names its new incarnation.

Sources: Lamport, "Paxos made simple" (2001); Rystsov, "CASPaxos" (2018).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from dht.ballots import NO_BALLOT, Memory, electorate_of
from dht.effects import Keep, Send
from dht.messages import Accept, Accepted, Prepare, Promise, Refused

if TYPE_CHECKING:
    from dht.ballots import Ballot, Electorate
    from dht.delta import Delta
    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import Member, View


class Acceptor:
    """A voter's memory, and its answers. `durable`: they wait until it is kept.

    It outlives memberships: a process that has been struck off, or restarted,
    and comes back is bound by what it said before.
    """

    def __init__(self, me: Member, memory: Memory | None, *, durable: bool) -> None:
        if memory is None or memory.id != me.id:
            memory = Memory(id=me.id, since=me.incarnation)
        self.memory = memory
        self._introduced = memory.ring  # the ring of which there is something on the disk
        self.advanced_at = float("-inf")  # when it first heard of the number it votes on
        self.accepted_at = float("-inf")  # when it first accepted a value for it
        self._durable = durable
        self._serial = 0
        self._kept = 0
        self._answers: deque[tuple[int, Send]] = deque()

    def rename(self, me: Member) -> None:
        """Go on as `me`, under another id: who had that before may have said anything."""
        self._introduced = b""
        self.memory = Memory(id=me.id, since=me.incarnation)
        self._answers.clear()

    def forget(self, me: Member) -> list[Effect]:
        """An operator says that the ring it remembers is no more."""
        self._introduced = b""
        self.memory = Memory(id=me.id, since=me.incarnation)
        self._answers.clear()
        return self._keep()

    def install(self, view: View, me: Member, now: float) -> list[Effect]:
        """`view` is decided: the next number is voted on."""
        electorate = electorate_of(view)
        known = self.memory.electorate
        if known.ring != view.ring:
            self.advanced_at = now
            self.memory = Memory(id=me.id, since=me.incarnation, electorate=electorate)
            self._answers.clear()
        elif electorate.number > known.number:
            self.advance(electorate, now)
        if self._introduced != view.ring:
            self._introduced = view.ring
            return self._keep(first=True)
        if electorate.voters != known.voters and electorate.incarnation_of(me.id) is not None:
            return self._keep()  # so that it knows after a restart whose word is needed
        return []

    def is_asked_rightly(self, electorate: Electorate) -> bool:
        """Whether this acceptor is a voter that is meant, with its memory whole."""
        memory = self.memory
        incarnation = electorate.incarnation_of(memory.id)
        return bool(memory.ring) and (
            electorate.ring == memory.ring
            and incarnation is not None
            and incarnation >= memory.since
        )

    @property
    def has_accepted(self) -> bool:
        """Whether there is a value for the number that is voted on."""
        return self.memory.accepted != NO_BALLOT

    def prepare(self, sender: NodeId, message: Prepare, now: float) -> list[Effect]:
        """Promise to accept nothing below the ballot; tell what has been accepted."""
        if message.electorate.number > self.memory.number:
            self.advance(message.electorate, now)
        memory = self.memory
        if message.electorate.number < memory.number:
            return []
        if message.ballot < memory.promised:
            return [Send(sender, Refused(memory.number, message.ballot, memory.promised))]
        changed = message.ballot != memory.promised
        self.memory = msgspec.structs.replace(memory, promised=message.ballot)
        answer = Promise(memory.number, message.ballot, memory.accepted, memory.delta)
        return self._answer(Send(sender, answer), changed=changed)

    def accept(self, sender: NodeId, message: Accept, now: float) -> list[Effect]:
        """Accept the value, unless a greater ballot has been promised."""
        number = message.delta.number
        if number > self.memory.number:
            self.advance(message.electorate, now)
        memory = self.memory
        if number < memory.number:
            return []
        if message.ballot < memory.promised:
            return [Send(sender, Refused(memory.number, message.ballot, memory.promised))]
        if not self.has_accepted:
            self.accepted_at = now
        changed = message.ballot != memory.accepted
        self.memory = msgspec.structs.replace(
            memory, promised=message.ballot, accepted=message.ballot, delta=message.delta
        )
        return self._answer(Send(sender, Accepted(number, message.ballot)), changed=changed)

    def kept(self, serial: int) -> list[Effect]:
        """What ``Keep`` number `serial` asked for is on disk, and all before it."""
        self._kept = max(self._kept, serial)
        ready: list[Effect] = []
        while self._answers and self._answers[0][0] <= self._kept:
            ready.append(self._answers.popleft()[1])
        return ready

    def advance(self, electorate: Electorate, now: float) -> None:
        """Vote on a later number: all below is decided, what was said of it matters no longer."""
        self.memory = Memory(self.memory.id, self.memory.since, electorate)
        self.advanced_at = now

    def _answer(self, answer: Send, *, changed: bool) -> list[Effect]:
        effects = self._keep() if changed else []
        if self._kept < self._serial:
            self._answers.append((self._serial, answer))
            return effects
        return [answer]

    def _keep(self, *, first: bool = False) -> list[Effect]:
        if not self._durable:
            return []
        self._serial += 1
        return [Keep(self._serial, self.memory, first)]


class Candidate:
    """One ballot of this node's: it gathers promises, then acceptances, of an electorate.

    `wish` is what it would have chosen; None: it only means to finish what
    another has begun. It is void after `deadline`.
    """

    def __init__(
        self, ballot: Ballot, electorate: Electorate, wish: Delta | None, deadline: float
    ) -> None:
        self.ballot = ballot
        self.electorate = electorate
        self.wish = wish
        self.deadline = deadline
        self.value: Delta | None = None  # from phase 2 on
        self._promises: dict[NodeId, Promise] = {}
        self._accepted: set[NodeId] = set()

    @property
    def is_chosen(self) -> bool:
        """Whether the value has been chosen."""
        return len(self._accepted) >= self.electorate.majority

    @property
    def is_void(self) -> bool:
        """A majority has accepted nothing before, and there is nothing to propose."""
        return len(self._promises) >= self.electorate.majority and self.value is None

    def ask(self) -> list[Effect]:
        """Ask the voters that have not answered yet (again)."""
        answered = self._accepted if self.value is not None else self._promises
        question: Prepare | Accept
        if self.value is not None:
            question = Accept(self.electorate, self.ballot, self.value)
        else:
            question = Prepare(self.electorate, self.ballot)
        return [Send(node, question) for node, _ in self.electorate.voters if node not in answered]

    def promised(self, voter: NodeId, promise: Promise) -> list[Effect]:
        """A voter has promised; with the majority's word phase 2 begins."""
        if self.value is not None or not self._is_mine(voter, promise.number, promise.ballot):
            return []
        self._promises[voter] = promise
        if len(self._promises) < self.electorate.majority:
            return []
        best = max(self._promises.values(), key=lambda each: each.accepted)
        self.value = self.wish if best.accepted == NO_BALLOT else best.delta
        return self.ask() if self.value is not None else []

    def accepted(self, voter: NodeId, answer: Accepted) -> None:
        """A voter has accepted the value."""
        if self.value is not None and self._is_mine(voter, answer.number, answer.ballot):
            self._accepted.add(voter)

    def _is_mine(self, voter: NodeId, number: int, ballot: Ballot) -> bool:
        electorate = self.electorate
        has_vote = electorate.incarnation_of(voter) is not None
        return has_vote and number == electorate.number and ballot == self.ballot
