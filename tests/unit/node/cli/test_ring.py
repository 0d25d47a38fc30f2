from __future__ import annotations

import io
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from dht.ids import random_id, slot_of
from dht.placement import Placement
from dht.view import MemberState, View
from node.cli.main import main
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
    head, titles, *rows = capsys.readouterr().out.splitlines()
    assert "view 12" in head
    assert "7 members" in head
    assert titles.split() == ["node", "state", "client", "peer", "zone", "share"]
    assert [row.split()[0] for row in rows] == [m.id.hex()[:8] for m in MEMBERS]
    assert rows[2].split()[1] == "*"
    assert "14.3%" in rows[0]


def test_status_as_json(node: StubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ring", "status", "--json", "--ops", node.url]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["view"] == 12
    assert [m["id"] for m in told["members"]] == [m.id.hex() for m in MEMBERS]


def test_ill_health_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    suspect = MEMBERS[1].id.hex()
    with StubServer(lambda _: Answer(described(VIEW, suspected=[suspect]))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    out = capsys.readouterr().out
    assert "1 suspected" in out
    assert "active (suspected)" in out
    with StubServer(lambda _: Answer(described(VIEW, frozen=True))) as node:
        assert main(["ring", "status", "--ops", node.url]) == 0
    assert "frozen" in capsys.readouterr().out


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
