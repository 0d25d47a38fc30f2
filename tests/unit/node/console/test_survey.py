"""Asking all members, and answering: bounds, and that nobody is watched for nobody."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from console_sim import Imagined, ImaginedSight
from node.console.messages import MAX_NAMES, Survey, SurveyAsk
from node.console.survey import MAX_ASKED, UNASKED, WITHIN, Surveyor


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Sight(ImaginedSight):
    def __init__(self, cluster: Imagined) -> None:
        super().__init__(cluster)
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Desk:
    """A surveyor whose posts are kept; `hear` brings an answer in."""

    def __init__(self, nodes: int) -> None:
        self.cluster = Imagined(nodes)
        self.cluster.post = self.post  # type: ignore[method-assign]
        self.sight = Sight(self.cluster)
        stand_in: Any = self.cluster
        self.surveyor = Surveyor(stand_in, self.sight)  # type: ignore[arg-type]
        self.posted: list[tuple[bytes, Any]] = []

    def post(self, to: bytes, message: Any) -> bool:
        self.posted.append((to, message))
        return to not in self.cluster.silent

    def hear(self, sender: bytes, request: int) -> None:
        self.surveyor.receive(sender, Survey(request, None, ()))


async def test_a_round_ends_with_the_last_answer(autojump_clock: MockClock) -> None:
    desk = Desk(3)
    nodes = desk.surveyor.members()
    assert nodes[0] == desk.cluster.me
    answers: dict[bytes, Survey] = {}

    async def ask() -> None:
        answers.update(await desk.surveyor.ask(nodes, figures=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.1)
        for to, question in desk.posted:
            desk.hear(to, question.request)
    assert trio.current_time() == pytest.approx(0.1, abs=0.01)
    assert set(answers) == set(nodes)
    assert answers[desk.cluster.me].figures is not None
    assert not desk.surveyor._rounds


async def test_who_does_not_answer_is_not_waited_for(autojump_clock: MockClock) -> None:
    desk = Desk(4)
    nodes = desk.surveyor.members()
    answers = await desk.surveyor.ask(nodes)
    assert trio.current_time() == pytest.approx(WITHIN, abs=0.01)
    assert set(answers) == {desk.cluster.me}
    request = desk.posted[0][1].request
    desk.hear(nodes[1], request)  # too late
    assert not desk.surveyor._rounds


async def test_answers_of_whoever_was_not_asked_change_nothing(autojump_clock: MockClock) -> None:
    desk = Desk(4)
    nodes = desk.surveyor.members()
    answers: dict[bytes, Survey] = {}

    async def ask() -> None:
        answers.update(await desk.surveyor.ask(nodes[:2]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.1)
        request = desk.posted[0][1].request
        desk.hear(nodes[3], request)
        desk.hear(nodes[1], request + 7)
        desk.hear(nodes[1], request)
        desk.hear(nodes[1], request)
    assert set(answers) == set(nodes[:2])


async def test_a_round_is_bounded(autojump_clock: MockClock) -> None:
    desk = Desk(300)
    members = desk.surveyor.members()
    assert len(set(members)) == len(members) == MAX_ASKED
    await desk.surveyor.ask(members[:2], [f"/n/{number}" for number in range(100)])
    assert len(desk.posted[0][1].names) == MAX_NAMES
    wanted = SurveyAsk(1, figures=False, names=tuple("/chat/lobby" for _ in range(100)))
    assert len(desk.surveyor.look(wanted).branches) <= MAX_NAMES


async def test_a_node_stops_to_watch_itself_when_nobody_asks(autojump_clock: MockClock) -> None:
    desk = Desk(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.surveyor.run)
        await trio.sleep(60)
        assert not desk.sight.closed  # it never began
        for _ in range(20):
            desk.surveyor.receive(desk.surveyor.members()[1], SurveyAsk(1, True, ()))
            await trio.sleep(1)
        assert not desk.sight.closed
        await trio.sleep(UNASKED)
        assert [desk.sight.closed] == [1]
        desk.surveyor.receive(desk.surveyor.members()[1], SurveyAsk(2, True, ()))
        await trio.sleep(UNASKED + 1)
        assert [desk.sight.closed] == [2]
        nursery.cancel_scope.cancel()


async def test_asking_for_names_alone_watches_nothing(autojump_clock: MockClock) -> None:
    desk = Desk(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.surveyor.run)
        desk.surveyor.receive(desk.surveyor.members()[1], SurveyAsk(1, False, ("/chat/lobby",)))
        await trio.sleep(60)
        assert not desk.sight.closed
        nursery.cancel_scope.cancel()
