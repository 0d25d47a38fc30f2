from __future__ import annotations

from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from dht.docket import Applicant, Docket, Proposal
from dht.effects import Send
from dht.ids import to_id
from dht.messages import Admitted
from dht.view import Member, MemberState, View
from ring_views import member, view_of

J, A, L = MemberState.JOINING, MemberState.ACTIVE, MemberState.LEAVING
LEADER = to_id(1)
NOW, LIFE = 100.0, 1.0


def view(states: dict[int, MemberState]) -> View:
    return view_of(member(to_id(number), state=state) for number, state in states.items())


def applicant(number: int, *, keeps_id: bool = False, incarnation: int = 1) -> Applicant:
    return Applicant(to_id(number), member(to_id(number), "", J, incarnation), keeps_id)


def propose(docket: Docket, before: View, *dead: int) -> Proposal | None:
    return docket.propose(before, LEADER, [to_id(number) for number in dead], (), Random(1))


def states(proposal: Proposal | None) -> dict[int, MemberState]:
    assert proposal is not None
    return {int.from_bytes(m.id, "big"): m.state for m in proposal.view.members}


def test_nothing_asked_nothing_changed() -> None:
    assert propose(Docket(9, LIFE), view({1: A, 2: A})) is None


def test_one_view_for_all_that_is_asked() -> None:
    docket = Docket(9, LIFE)
    docket.wish(to_id(2), 1, A, NOW)
    docket.wish(to_id(3), 1, L, NOW)
    docket.left(to_id(4), 1, NOW)
    docket.apply(applicant(9, keeps_id=True), NOW)
    assert docket
    before = view({1: A, 2: J, 3: A, 4: L, 5: A})
    proposal = propose(docket, before, 5)
    assert states(proposal) == {1: A, 2: A, 3: L, 9: J}
    assert proposal is not None
    assert proposal.view.number == before.number + 1
    assert proposal.view.ring == before.ring
    docket.settle(proposal.view)
    assert not docket


def test_an_applicant_is_dealt_an_id_and_told_under_its_old_one() -> None:
    docket = Docket(9, LIFE)
    docket.apply(applicant(9), NOW)
    proposal = propose(docket, view({1: A, 2: A}))
    assert proposal is not None
    (link, (you, incarnation)) = proposal.admissions.popitem()
    assert link == to_id(9)
    assert you not in (to_id(9), to_id(1), to_id(2))
    assert (proposal.view.by_id[you].peer, incarnation) == (member(to_id(9)).peer, 1)


def test_a_proposal_made_again_is_the_same() -> None:
    docket = Docket(9, LIFE)
    before = view({1: A, 2: A})
    rng = Random(1)
    proposals = []
    for _ in range(2):
        docket.apply(applicant(9), NOW)
        proposals.append(docket.propose(before, LEADER, (), (), rng))
    assert proposals[0] == proposals[1]
    docket.settle(before.successor(before.by_id))
    docket.apply(applicant(9), NOW)
    assert docket.propose(before, LEADER, (), (), rng) != proposals[0]


def test_one_that_is_in_already_is_told_again_without_a_new_view() -> None:
    docket = Docket(9, LIFE)
    before = view({1: A, 2: A})
    again = Applicant(to_id(77), member(to_id(2), "", J), keeps_id=False)
    docket.apply(again, NOW)
    proposal = propose(docket, before)
    assert proposal is not None
    assert proposal.view is before
    assert proposal.admissions == {to_id(77): (to_id(2), 1)}
    assert proposal.welcome() == [Send(to_id(77), Admitted(to_id(2), 1, before))]


def test_a_new_incarnation_replaces_the_old() -> None:
    docket = Docket(9, LIFE)
    docket.apply(applicant(2, keeps_id=True, incarnation=5), NOW)
    proposal = propose(docket, view({1: A, 2: A}))
    assert states(proposal) == {1: A, 2: J}
    assert proposal is not None
    assert proposal.view.by_id[to_id(2)].incarnation == 5


def test_another_process_at_the_same_address_replaces_it_too() -> None:
    docket = Docket(9, LIFE)
    new = msgspec.structs.replace(member(to_id(9), "", J, 5), peer=member(to_id(2)).peer)
    docket.apply(Applicant(to_id(9), new, keeps_id=False), NOW)
    proposal = propose(docket, view({1: A, 2: A}))
    assert proposal is not None
    assert to_id(2) not in proposal.view
    assert len(proposal.view.members) == 2


def test_what_an_earlier_incarnation_asked_is_void() -> None:
    docket = Docket(9, LIFE)
    docket.apply(applicant(2, keeps_id=True, incarnation=5), NOW)
    newer = msgspec.structs.replace(member(to_id(2)), incarnation=6)
    before = view({1: A, 2: A}).successor({LEADER: member(LEADER), newer.id: newer})
    assert propose(docket, before) is None


def test_a_copied_id_is_not_taken_from_its_holder() -> None:
    docket = Docket(9, LIFE)
    twin = msgspec.structs.replace(member(to_id(2), "", J, 1), peer="elsewhere:7400")
    docket.apply(Applicant(to_id(2), twin, keeps_id=True), NOW)
    proposal = propose(docket, view({1: A, 2: A}))
    assert proposal is not None
    assert proposal.view.by_id[to_id(2)].peer == member(to_id(2)).peer
    assert len(proposal.view.members) == 3


def test_wishes_against_a_members_life_are_void() -> None:
    docket = Docket(9, LIFE)
    before = view({1: A, 2: L, 3: A})
    docket.wish(to_id(2), 1, A, NOW)
    docket.wish(to_id(3), 8, L, NOW)  # another incarnation
    docket.wish(to_id(9), 1, A, NOW)  # no member
    docket.left(to_id(3), 8, NOW)
    assert propose(docket, before) is None
    docket.settle(before)
    assert not docket


def test_the_last_active_member_stays() -> None:
    docket = Docket(9, LIFE)
    docket.wish(to_id(1), 1, L, NOW)
    docket.wish(to_id(2), 1, L, NOW)
    assert states(propose(docket, view({1: A, 2: A}))) == {1: A, 2: L}


def test_a_joiner_that_has_to_lead_becomes_active() -> None:
    assert states(propose(Docket(9, LIFE), view({1: J, 2: A}), 2)) == {1: A}


def test_nobody_takes_the_place_of_the_leader() -> None:
    docket = Docket(9, LIFE)
    docket.apply(applicant(1, keeps_id=True, incarnation=9), NOW)
    assert propose(docket, view({1: A, 2: A})) is None
    same_address = msgspec.structs.replace(member(to_id(7), "", J, 9), peer=member(LEADER).peer)
    docket.apply(Applicant(to_id(7), same_address, keeps_id=True), NOW)
    assert propose(docket, view({1: A, 2: A})) is None


def test_applicants_are_bounded_and_may_ask_again() -> None:
    docket = Docket(2, LIFE)
    for number in (11, 12, 13, 12):
        docket.apply(applicant(number), NOW)
    proposal = propose(docket, view({1: A}))
    assert proposal is not None
    assert set(proposal.admissions) == {to_id(11), to_id(12)}


def test_a_request_that_is_not_repeated_lapses() -> None:
    docket = Docket(9, LIFE)
    docket.wish(to_id(2), 1, L, NOW)
    docket.left(to_id(3), 1, NOW)
    docket.apply(applicant(9), NOW + 0.5)
    docket.expire(NOW + 1.0)
    assert states(propose(docket, view({1: A, 2: A, 3: L}))).keys() > {1, 2, 3}
    docket.expire(NOW + 1.5)
    assert not docket


def test_who_is_listed_has_been_answered() -> None:
    docket = Docket(9, LIFE)
    docket.apply(applicant(2), NOW)
    docket.settle(view({1: A, 2: J}))
    assert not docket


def test_without_another_the_leader_stays_active_though_it_wants_to_go() -> None:
    docket = Docket(9, LIFE)
    docket.apply(applicant(2, keeps_id=True, incarnation=5), NOW)
    assert states(propose(docket, view({1: L, 2: A}))) == {1: A, 2: J}
    docket.left(LEADER, 1, NOW)
    assert states(propose(docket, view({1: L, 2: J}))) == {2: A}
    docket.left(LEADER, 1, NOW)
    assert propose(docket, view({1: L, 2: A}), 2) is not None
    assert states(propose(docket, view({1: L, 2: A}), 2)) == {1: A}


numbers = st.integers(1, 12)
asked = st.one_of(
    st.tuples(st.just("wish"), numbers, st.sampled_from(MemberState)),
    st.tuples(st.just("left"), numbers, st.none()),
    st.tuples(st.just("apply"), st.integers(1, 30), st.booleans()),
)


@given(
    st.dictionaries(numbers, st.sampled_from(MemberState), max_size=8),
    st.lists(asked, max_size=20),
    st.sets(st.integers(2, 12)),
)
@settings(deadline=None, max_examples=300)
def test_whatever_is_asked_the_view_is_sound(
    others: dict[int, MemberState], requests: list[tuple[str, int, object]], dead: set[int]
) -> None:
    before = view({**others, 1: A})
    docket = Docket(16, LIFE)
    for kind, number, extra in requests:
        if kind == "wish" and isinstance(extra, MemberState):
            docket.wish(to_id(number), 1, extra, NOW)
        elif kind == "left":
            docket.left(to_id(number), 1, NOW)
        else:
            docket.apply(applicant(number, keeps_id=bool(extra), incarnation=2), NOW)
    proposal = propose(docket, before, *dead)
    if proposal is None or proposal.view is before:
        return
    after: View = proposal.view
    everyone: list[Member] = list(after.members)
    assert [m.id for m in everyone] == sorted({m.id for m in everyone})
    assert len({m.peer for m in everyone}) == len(everyone)
    assert set(after.voters) <= {m.id for m in after.active}
    assert after.active
    assert after.voters
    for node, incarnation in proposal.admissions.values():
        assert after.by_id[node].incarnation == incarnation
