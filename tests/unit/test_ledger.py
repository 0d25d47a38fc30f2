"""The books that a soak compares: what must be found is found."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import INBOX, audit, without_repeats

ROOM = "/room/0"


def member(name: str, received: list[str], **changes: Any) -> dict[str, Any]:
    """A member of a crowd who got these ids in its room, each under a message id of its own."""
    return {
        "name": name,
        "transport": "websocket",
        "address": f"t.{name}",
        "rooms": [ROOM],
        "handshakes": 1,
        "lost": 0,
        "gaps": [],
        "worst": {"pause": 100, "at": 5_000},
        "received": {ROOM: [[each, f"id-{each}"] for each in received]},
        **changes,
    }


def book(*members: dict[str, Any], acknowledged: str = "abc", **changes: Any) -> dict[str, Any]:
    return {
        "acknowledged": [[ROOM, each] for each in acknowledged],
        "members": list(members),
        "outstanding": 0,
        **changes,
    }


def test_a_clean_run() -> None:
    verdict = audit([book(member("one", [*"abc"]), member("two", [*"abc"]))])
    assert not verdict.faults
    assert (verdict.acknowledged, verdict.deliveries, verdict.duplicates) == (3, 6, 0)
    assert verdict.worst_pause == 0.1
    assert any("no fault" in line for line in verdict.lines())


def test_what_is_missing() -> None:
    (fault,) = audit([book(member("one", [*"abc"]), member("two", [*"ac"]))]).faults
    assert fault == "two (websocket) lacks 1 of 3 on /room/0: b"


def test_what_the_application_published_counts_too() -> None:
    assert audit([book(member("one", [*"abc"]))], [(ROOM, "d")]).faults


def test_what_was_not_acknowledged_may_come_or_not() -> None:
    verdict = audit([book(member("one", [*"abcd"]), member("two", [*"abc"]))])
    assert not verdict.faults


def test_another_order() -> None:
    (fault,) = audit([book(member("one", [*"abc"]), member("two", [*"acb"]))]).faults
    assert fault == "two saw /room/0 in another order, at b"


def test_repeats_are_counted_where_their_id_tells_them() -> None:
    verdict = audit([book(member("one", [*"abbc"]), member("two", [*"abcab"]))])
    assert verdict.duplicates == 3
    assert not verdict.faults


def test_repeats_are_told_with_their_times() -> None:
    verdict = audit([book(member("one", [*"abb"], repeats=[[ROOM, "b", 1_500, 2_250]]))])
    assert "again: b on /room/0 to one (websocket), at 1.500 and 2.250" in verdict.lines()


def test_and_are_a_fault_where_it_does_not() -> None:
    twice = member("one", [*"abc"])
    twice["received"][ROOM].append(["a", "another"])
    (fault,) = audit([book(twice)]).faults
    assert fault == "one got a on /room/0 under two message ids"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"handshakes": 2}, "one shook hands 2 times"),
        ({"gaps": [ROOM]}, "one was told of gaps in ['/room/0']"),
    ],
)
def test_what_no_client_should_have_to_see(changes: dict[str, Any], told: str) -> None:
    assert audit([book(member("one", [*"abc"], **changes))]).faults == [told]


def test_a_gap_that_was_told_excuses_what_is_missing() -> None:
    books = [book(member("one", [*"ac"], gaps=[ROOM]))]
    assert not audit(books, allow_gaps=True).faults
    assert audit([book(member("one", [*"ac"]))], allow_gaps=True).faults


def test_direct_messages() -> None:
    one = member("one", [*"abc"])
    one["received"][INBOX] = [["d1", "x"]]
    assert not audit([book(one)], [("t.one", "d1")]).faults
    assert audit([book(one)], [("t.one", "d1"), ("t.one", "d2")]).faults


def test_a_publish_without_an_end() -> None:
    (fault,) = audit([book(member("one", [*"abc"]), outstanding=2)]).faults
    assert fault == "2 publishes were never acknowledged"


def test_order_of_what_came_first() -> None:
    assert without_repeats([("a", "1"), ("b", "2"), ("a", "1"), ("b", "9")]) == (
        ["a", "b"],
        2,
        ["b"],
    )
