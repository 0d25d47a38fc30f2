"""One register: acceptors that keep their word, candidates that count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.ballots import NO_BALLOT, Ballot, Electorate, Memory, electorate_of
from dht.delta import Delta, between
from dht.effects import Effect, Keep, Send
from dht.ids import to_id
from dht.messages import Accept, Accepted, Prepare, Promise, Refused
from dht.voting import Acceptor, Candidate
from ring_views import member, view_of

if TYPE_CHECKING:
    from dht.view import Member, View

P, S = to_id(101), to_id(102)
VOTERS = [to_id(number) for number in range(1, 6)]
NOW = 50.0


def view(number: int = 1, *, zone: str = "") -> View:
    ring = view_of((member(node, zone) for node in VOTERS), number)
    return msgspec.structs.replace(ring, voters=tuple(VOTERS))


def to(name: str) -> Delta:
    return between(view(), view(2, zone=name))


def ballot(number: int, node: bytes = P) -> Ballot:
    return Ballot(number, 1, node)


ELECTORATE = electorate_of(view())


def acceptor(
    incarnation: int = 1, memory: Memory | None = None, *, durable: bool = False
) -> Acceptor:
    me: Member = member(VOTERS[0], incarnation=incarnation)
    it = Acceptor(me, memory, durable=durable)
    if memory is None:
        it.install(view(), me, NOW)
    return it


def answer(effects: list[Effect]) -> object:
    (send,) = (each for each in effects if isinstance(each, Send))
    return send.message


class TestAcceptor:
    def test_it_promises_and_tells_what_it_has_accepted(self) -> None:
        it = acceptor()
        told = answer(it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW))
        assert told == Promise(2, ballot(1), NO_BALLOT, None)
        assert answer(it.accept(P, Accept(ELECTORATE, ballot(1), to("p")), NOW)) == Accepted(
            2, ballot(1)
        )
        told = answer(it.prepare(S, Prepare(ELECTORATE, ballot(1, S)), NOW))
        assert told == Promise(2, ballot(1, S), ballot(1), to("p"))

    def test_it_keeps_its_word(self) -> None:
        it = acceptor()
        it.prepare(S, Prepare(ELECTORATE, ballot(2, S)), NOW)
        refused = Refused(2, ballot(1), ballot(2, S))
        assert answer(it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW)) == refused
        assert answer(it.accept(P, Accept(ELECTORATE, ballot(1), to("p")), NOW)) == refused
        assert not it.has_accepted

    def test_asked_again_it_says_the_same(self) -> None:
        it = acceptor()
        first = it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW)
        assert it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW) == first

    def test_a_later_number_is_another_matter_and_an_earlier_one_is_none(self) -> None:
        it = acceptor()
        it.accept(P, Accept(ELECTORATE, ballot(1), to("p")), NOW)
        later = Electorate(ELECTORATE.ring, 5, ELECTORATE.voters)
        told = answer(it.prepare(S, Prepare(later, ballot(1, S)), NOW + 1))
        assert told == Promise(5, ballot(1, S), NO_BALLOT, None)
        assert it.advanced_at == NOW + 1
        assert it.prepare(P, Prepare(ELECTORATE, ballot(9)), NOW) == []
        assert it.accept(P, Accept(ELECTORATE, ballot(9), to("p")), NOW) == []

    def test_only_the_voter_that_is_meant_answers(self) -> None:
        it = acceptor(incarnation=3)
        assert not it.is_asked_rightly(ELECTORATE)  # its first incarnation, long forgotten
        now = Electorate(ELECTORATE.ring, 2, ((VOTERS[0], 3),))
        assert it.is_asked_rightly(now)
        assert not it.is_asked_rightly(msgspec.structs.replace(now, ring=b"x" * 16))
        assert not it.is_asked_rightly(msgspec.structs.replace(now, voters=((VOTERS[1], 3),)))
        fresh = Acceptor(member(VOTERS[0]), None, durable=False)
        assert not fresh.is_asked_rightly(ELECTORATE)

    def test_with_its_memory_it_votes_as_before(self) -> None:
        before = acceptor()
        before.accept(P, Accept(ELECTORATE, ballot(1), to("p")), NOW)
        after = acceptor(incarnation=7, memory=before.memory)
        assert after.is_asked_rightly(ELECTORATE)
        told = answer(after.prepare(S, Prepare(ELECTORATE, ballot(1, S)), NOW))
        assert told == Promise(2, ballot(1, S), ballot(1), to("p"))

    def test_the_memory_of_another_id_is_none(self) -> None:
        other = Memory(VOTERS[1], 1, ELECTORATE, ballot(9))
        it = Acceptor(member(VOTERS[0], incarnation=7), other, durable=False)
        assert it.memory == Memory(VOTERS[0], 7)
        it.rename(member(VOTERS[2], incarnation=8))
        assert it.memory == Memory(VOTERS[2], 8)

    def test_another_ring_begins_anew(self) -> None:
        it = acceptor()
        it.accept(P, Accept(ELECTORATE, ballot(1), to("p")), NOW)
        foreign = msgspec.structs.replace(view(), ring=b"x" * 16)
        it.install(foreign, member(VOTERS[0], incarnation=4), NOW)
        assert (it.memory.since, it.memory.ring, it.has_accepted) == (4, b"x" * 16, False)

    def test_an_answer_waits_until_it_is_kept(self) -> None:
        it = acceptor(durable=True)
        assert it.kept(1) == []  # of the ring itself
        (keep,) = it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW)
        assert isinstance(keep, Keep)
        assert keep.memory.promised == ballot(1)
        assert it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW) == []  # still being written
        told = it.kept(keep.serial)
        assert [answer([each]) for each in told] == 2 * [Promise(2, ballot(1), NO_BALLOT, None)]
        assert answer(it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW)) is not None

    def test_what_is_not_kept_is_never_said(self) -> None:
        it = acceptor(durable=True)
        it.prepare(P, Prepare(ELECTORATE, ballot(1)), NOW)
        assert it.kept(1) == []

    def test_who_votes_is_kept_when_it_changes(self) -> None:
        it = acceptor(durable=True)
        assert it.install(view(2), member(VOTERS[0]), NOW) == []
        fewer = msgspec.structs.replace(view(3), voters=tuple(VOTERS[:3]))
        (keep,) = it.install(fewer, member(VOTERS[0]), NOW)
        assert isinstance(keep, Keep)
        assert keep.memory.electorate == electorate_of(fewer)

    def test_an_operator_can_make_it_forget(self) -> None:
        it = acceptor(durable=True)
        (keep,) = it.forget(member(VOTERS[0], incarnation=5))
        assert isinstance(keep, Keep)
        assert keep.memory == Memory(VOTERS[0], 5)


class TestCandidate:
    def candidate(self, wish: Delta | None) -> Candidate:
        return Candidate(ballot(1), ELECTORATE, wish, NOW)

    @staticmethod
    def promise(accepted: Ballot = NO_BALLOT, delta: Delta | None = None) -> Promise:
        return Promise(2, ballot(1), accepted, delta)

    def test_a_majority_of_promises_then_of_acceptances(self) -> None:
        it = self.candidate(to("p"))
        assert {e.to for e in it.ask() if isinstance(e, Send)} == set(VOTERS)
        assert it.promised(VOTERS[0], self.promise()) == []
        assert it.promised(VOTERS[0], self.promise()) == []
        assert it.promised(VOTERS[1], self.promise()) == []
        asked = it.promised(VOTERS[2], self.promise())
        assert answer(asked[:1]) == Accept(ELECTORATE, ballot(1), to("p"))
        assert len(asked) == 5
        assert it.promised(VOTERS[3], self.promise()) == []
        for voter in (VOTERS[0], VOTERS[1], VOTERS[1], P):
            it.accepted(voter, Accepted(2, ballot(1)))
        assert not it.is_chosen
        assert len(it.ask()) == 3
        it.accepted(VOTERS[4], Accepted(2, ballot(1)))
        assert it.is_chosen

    def test_what_was_accepted_last_is_proposed_instead(self) -> None:
        it = self.candidate(to("p"))
        it.promised(VOTERS[0], self.promise(ballot(1, S), to("old")))
        it.promised(VOTERS[1], self.promise())
        it.promised(VOTERS[2], self.promise(ballot(3, S), to("newer")))
        assert it.value == to("newer")

    def test_without_a_wish_and_with_nothing_begun_it_is_void(self) -> None:
        it = self.candidate(None)
        for voter in VOTERS[:3]:
            assert it.promised(voter, self.promise()) == []
        assert it.is_void

    def test_other_ballots_numbers_and_nodes_do_not_count(self) -> None:
        it = self.candidate(to("p"))
        it.promised(P, self.promise())
        it.promised(VOTERS[1], Promise(2, ballot(2), NO_BALLOT, None))
        it.promised(VOTERS[2], Promise(3, ballot(1), NO_BALLOT, None))
        it.promised(VOTERS[3], self.promise())
        it.promised(VOTERS[4], self.promise())
        assert it.value is None


steps = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from(["ask", "restart"])),
    max_size=120,
)


def put(it: Candidate, voter: Acceptor) -> None:
    """Have one voter answer what the candidate asks it, if it asks it anything."""
    node = voter.memory.id
    questions = [each.message for each in it.ask() if isinstance(each, Send) and each.to == node]
    for question in questions:
        if isinstance(question, Prepare):
            promise = answer(voter.prepare(P, question, NOW))
            if isinstance(promise, Promise):
                it.promised(node, promise)
        elif isinstance(question, Accept):
            accepted = answer(voter.accept(P, question, NOW))
            if isinstance(accepted, Accepted):
                it.accepted(node, accepted)


@given(steps)
@settings(deadline=None, max_examples=300)
def test_never_two_values(schedule: list[tuple[int, int, str]]) -> None:
    """Three proposers, five voters, messages in any order, restarts with memory in between."""
    voters = {node: Acceptor(member(node), None, durable=False) for node in VOTERS}
    for node, each in voters.items():
        each.install(view(), member(node), NOW)
    rounds = dict.fromkeys(range(3), 0)
    candidates: dict[int, Candidate] = {}
    chosen = set[str]()
    for proposer, number, what in schedule:
        node = VOTERS[number]
        if what == "restart":
            voters[node] = Acceptor(member(node, incarnation=9), voters[node].memory, durable=False)
            continue
        if proposer not in candidates or number == 4:
            rounds[proposer] += 1
            mine = ballot(rounds[proposer], to_id(101 + proposer))
            candidates[proposer] = Candidate(mine, ELECTORATE, to(str(proposer)), NOW)
        it = candidates[proposer]
        put(it, voters[node])
        if it.is_chosen and it.value is not None:
            chosen.add(it.value.digest.hex())
    assert len(chosen) <= 1
