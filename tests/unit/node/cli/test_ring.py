from __future__ import annotations

import io
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import free_port
from dht.ids import random_id, slot_of
from dht.placement import Placement
from dht.view import MemberState, View
from node.cli.health import style
from node.cli.main import main
from node.cluster.recovery import Situation, prove
from ring_views import member
from stub_http import Answer, StubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

RNG = Random(5)
MEMBERS = tuple(
    sorted((member(random_id(RNG), zone=f"z{i % 3}") for i in range(7)), key=lambda m: m.id)
)
VIEW = View(12, b"r" * 16, MEMBERS)


def described(view: View, **more: Any) -> dict[str, Any]:
    return {
        "view": view.number,
        "ring": view.ring.hex(),
        "digest": view.digest.hex(),
        "members": [
            {
                "id": m.id.hex(),
                "state": m.state.name.lower(),
                "client": m.client,
                "peer": m.peer,
                "zone": m.zone,
                "incarnation": m.incarnation,
                "share": 1 / len(view.members),
                "a field of a later version": True,
            }
            for m in view.members
        ],
    } | more


@pytest.fixture
def node() -> Iterator[StubServer]:
    with StubServer(lambda _: Answer(described(VIEW, node=MEMBERS[2].id.hex()))) as server:
        yield server


def test_status_as_a_table(node: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ring", "status", "--ops", f"127.0.0.1:{node.port}"]) == 0
    assert node.asked[0].target == "/ring"
    head, _, _, _, titles, *rows = capsys.readouterr().out.splitlines()
    assert "view 12" in head
    assert "7 members" in head
    assert titles.split() == ["node", "state", "role", "client", "peer", "zone", "share", "link"]
    assert [row.split()[0] for row in rows] == [m.id.hex()[:8] for m in MEMBERS]
    assert rows[2].split()[1] == "*"
    assert "14.3%" in rows[0]


def test_a_row_tells_the_role_of_a_member_and_how_far_away_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ids = [m.id.hex() for m in MEMBERS]
    more = {
        "node": ids[2],
        "leader": ids[0],
        "voters": [ids[0], ids[1]],
        "links": [{"node": ids[0], "rtt": 0.0123}, {"node": ids[1], "rtt": None}],
    }
    with StubServer(lambda _: Answer(described(VIEW, **more))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    *_, first, second, third, fourth, _, _, _ = capsys.readouterr().out.splitlines()
    assert "leads" in first
    assert first.endswith("12.3 ms")
    assert "votes" in second
    assert second.endswith("open")
    assert third.rstrip().endswith("14.3%"), "the node that was asked"
    assert fourth.endswith("none")


def test_nodes_that_do_not_answer_are_named(
    node: StubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    down = f"127.0.0.1:{free_port()}"
    assert main(["ring", "status", "--ops", f"{down},{node.url}"]) == 0
    out = capsys.readouterr().out
    assert "healthy" in out
    assert "no answer" in out
    assert down in out
    assert main(["ring", "status", "--ops", f"{down},{down}"]) == 1


def test_of_who_is_silent_nobody_claims_to_know_the_view(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = [m.id.hex() for m in MEMBERS[3:]]
    more = {"suspected": lost, "heard": 2, "frozen": True, "leader": MEMBERS[0].id.hex()}
    with StubServer(lambda _: Answer(described(VIEW, **more))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    out = capsys.readouterr().out
    assert "the 2 members heard are on 12; nobody knows of the others" in out
    assert "leads" not in out


def test_a_verdict_has_a_colour() -> None:
    assert "green" in style("healthy")
    assert "yellow" in style("2 suspected")
    assert "red" in style("FROZEN: no majority of voters")
    assert "red" in style("TWO RINGS")


def test_status_as_json(node: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ring", "status", "--json", "--ops", node.url]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["view"] == 12
    assert [m["id"] for m in told["members"]] == [m.id.hex() for m in MEMBERS]


def test_ill_health_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    suspect, voter, other = (MEMBERS[i].id.hex() for i in (1, 2, 3))
    ill = {
        "suspected": [suspect],
        "node": voter,
        "accused": [{"node": suspect, "by": [voter, other]}],
        "voters": [voter, other, suspect],
        "missing_voters": [other, suspect],
        "behind": [other],
        "heard": 6,
        "leased": False,
        "balance": 5.0,
    }
    with StubServer(lambda _: Answer(described(VIEW, **ill))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    out = capsys.readouterr().out
    assert "1 suspected" in out
    assert "active (suspected)" in out
    observers = sorted((voter, other))
    assert f"{suspect[:8]} by {observers[0][:8]}, {observers[1][:8]}" in out
    assert "1 of 3 heard, missing" in out
    assert "no lease just now" in out
    assert f"of 6 members heard, not on 12: {other[:8]}" in out
    assert "5.00 times the mean, too much" in out
    with StubServer(lambda _: Answer(described(VIEW, frozen=True))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    out = capsys.readouterr().out
    assert "FROZEN" in out
    assert "NO MAJORITY ANSWERS" in out
    with StubServer(lambda _: Answer(described(VIEW, foreign=["ab" * 16]))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    out = capsys.readouterr().out
    assert "TWO RINGS" in out
    assert "another was met: abababab" in out


def test_several_nodes_are_compared(node: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ring", "status", "--ops", f"{node.url},{node.url}"]) == 0
    out = capsys.readouterr().out
    assert "healthy" in out
    assert "one: all 2 nodes asked are on 12" in out
    later = View(13, VIEW.ring, MEMBERS[1:])
    with StubServer(lambda _: Answer(described(later))) as other:
        assert main(["ring", "status", "--ops", f"{node.url},{other.url}"]) == 0
        out = capsys.readouterr().out
        assert "views differ" in out
        assert "2 among the nodes asked" in out
        assert main(["ring", "status", "--json", "--ops", f"{node.url},{other.url}"]) == 0
        assert [each["view"] for each in json.loads(capsys.readouterr().out)] == [12, 13]
    assert main(["ring", "status", "--ops", ","]) == 2


def test_a_node_that_waits_for_its_ring_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = {"node": "aa", "incarnation": 3, "waits_for": "cd" * 16}
    with StubServer(lambda _: Answer(waiting, 503)) as node:
        assert main(["ring", "status", "--ops", node.url]) == 1
    error = capsys.readouterr().err
    assert "waits for the voters of ring cdcdcdcd" in error
    assert "ring recover" in error


class TestRecover:
    SECRET = "s" * 32

    def recover(self, node: StubServer, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
        monkeypatch.setenv("COMETRING_CLUSTER_SECRET", self.SECRET)
        return main(["ring", "recover", "--ops", node.url, *words])

    def test_it_proves_that_it_knows_the_secret(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        me = MEMBERS[2].id.hex()
        with StubServer(
            lambda _: Answer(described(VIEW, node=me, incarnation=9, frozen=True))
        ) as node:
            assert self.recover(node, monkeypatch, "--yes") == 0
        asked = node.asked[-1]
        assert (asked.method, asked.target) == ("POST", "/ring/recover")
        situation = Situation(me, 9, VIEW.ring.hex(), 12, VIEW.digest.hex())
        proof = prove(self.SECRET.encode(), situation)
        assert asked.headers["authorization"] == f"Bearer {proof}"
        assert self.SECRET not in str(asked)
        assert "recovering" in capsys.readouterr().out

    def test_a_node_that_waits_is_told_to_forget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waiting = {"node": "aa", "incarnation": 3, "waits_for": "cd" * 16}
        with StubServer(lambda _: Answer(waiting, 503)) as node:
            assert self.recover(node, monkeypatch, "--yes") == 0
        proof = prove(self.SECRET.encode(), Situation("aa", 3, "cd" * 16, 0, ""))
        assert node.asked[-1].headers["authorization"] == f"Bearer {proof}"

    def test_it_is_not_done_by_mistake(
        self, node: StubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.recover(node, monkeypatch) == 2
        assert "--yes" in capsys.readouterr().err
        assert [each.method for each in node.asked] == ["GET"]
        monkeypatch.delenv("COMETRING_CLUSTER_SECRET")
        assert main(["ring", "recover", "--ops", node.url, "--yes"]) == 2
        assert "secret" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (
                Answer({"error": {"code": "not_needed", "message": "all is well"}}, 409),
                "all is well",
            ),
            (Answer(b"<html>", 400), "status 400"),
        ],
    )
    def test_a_refusal_is_told(
        self,
        answer: Answer,
        says: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        page = Answer(described(VIEW, node="aa"))
        with StubServer(lambda asked: page if asked.method == "GET" else answer) as node:
            assert self.recover(node, monkeypatch, "--yes") == 1
        assert says in capsys.readouterr().err


def test_locate_agrees_with_placement(
    node: StubServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"/chat/{i}" for i in range(500)] + ["abc.secret", "abc.address"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(keys)))
    assert main(["ring", "locate", "-", "--json", "--ops", node.url]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    placement = Placement(VIEW)
    assert [a["key"] for a in answers] == keys
    for key, answer in zip(keys, answers, strict=True):
        assert answer["slot"] == slot_of(key)
        assert answer["view"] == 12
        assert answer["node"]["id"] == placement.home_of(key).hex()
        replicas = [n.hex() for n in placement.replicas(slot_of(key))]
        assert [n["id"] for n in answer["replicas"]] == replicas
    assert answers[-1]["node"] == answers[-2]["node"]


def test_locate_for_people(node: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ring", "locate", "/chat/room", "--ops", node.url]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"/chat/room  slot {slot_of('/chat/room')}  home ")
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer({}, 503), "in no ring yet"),
        (Answer({"view": 1}), "is that its ops listener"),
        (Answer(b"<html>"), "is that its ops listener"),
        (Answer(described(VIEW) | {"members": []}), "no active member"),
    ],
)
def test_what_cannot_be_located(
    answer: Answer, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with StubServer(lambda _: answer) as node:
        assert main(["ring", "locate", "/a", "--ops", node.url]) == 1
    assert says in capsys.readouterr().err


def test_a_state_of_another_version(capsys: pytest.CaptureFixture[str]) -> None:
    told = described(VIEW)
    told["members"][0]["state"] = "dreaming"
    with StubServer(lambda _: Answer(told)) as node:
        assert main(["ring", "locate", "/a", "--ops", node.url]) == 1
    assert "another version" in capsys.readouterr().err


def test_members_that_leave_are_no_home(capsys: pytest.CaptureFixture[str]) -> None:
    leaving = tuple(m.with_state(MemberState.LEAVING) for m in MEMBERS[1:])
    view = View(13, b"r" * 16, (MEMBERS[0], *leaving))
    with StubServer(lambda _: Answer(described(view))) as node:
        assert main(["ring", "locate", "/a", "/b", "--json", "--ops", node.url]) == 0
    homes = {json.loads(line)["node"]["id"] for line in capsys.readouterr().out.splitlines()}
    assert homes == {MEMBERS[0].id.hex()}
