"""Tracing: the same messages on every node, and never what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from local_edge import Edge
from node.tracing import Tracer
from pubsub.errors import Code
from pubsub.messages import Append, Appended, Cursor, Entries, Entry, Failed

if TYPE_CHECKING:
    from structlog.typing import EventDict

NODE = bytes(range(20))


def entry(message_id: str) -> Entry:
    return Entry(1, 7, message_id, b'{"data":"secret words"}', 0.0, 1)


def events(logged: list[EventDict]) -> list[str]:
    return [each["event"] for each in logged]


@given(st.text())
def test_all_or_nothing(message_id: str) -> None:
    assert Tracer(1).follows(message_id)
    assert not Tracer(0).follows(message_id)


def test_a_sample_is_about_as_large_as_asked_and_the_same_everywhere() -> None:
    names = [f"m{n}" for n in range(20_000)]
    chosen = {name for name in names if Tracer(0.1).follows(name)}
    assert 1_800 < len(chosen) < 2_200
    assert chosen == {name for name in names if Tracer(0.1).follows(name)}
    assert chosen < {name for name in names if Tracer(0.2).follows(name)}


def test_off_costs_a_truth_value() -> None:
    assert not Tracer()
    assert Tracer(0.01)

    def done(_result: Appended | Failed) -> None:
        raise AssertionError

    assert Tracer().accepted("/a", "m", done) is done


@pytest.mark.parametrize(
    ("result", "event"),
    [
        (Appended(1, Cursor(3, 4), connected=False, topic="/a"), "trace_committed"),
        (Failed(1, Code.UNAVAILABLE), "trace_failed"),
    ],
)
def test_from_accepted_to_its_end(result: Appended | Failed, event: str) -> None:
    got: list[Appended | Failed] = []
    with capture_logs() as logged:
        Tracer(1).accepted("/a", "m", got.append)(result)
    assert events(logged) == ["trace_accepted", event]
    assert got == [result]
    assert all(each["message"] == "m" for each in logged)


def test_links_and_deliveries_without_what_is_said() -> None:
    tracer = Tracer(1)
    with capture_logs() as logged:
        tracer.crossed("sent", NODE, Append(1, "/a", "m", b"secret words", 0.0, 0))
        tracer.crossed("received", NODE, Entries("/a", 2, (entry("m"), entry("n"))))
        tracer.crossed("sent", NODE, Failed(1, Code.UNAVAILABLE))
        tracer.delivered([entry("m")], "/a", 5)
    assert events(logged) == [
        "trace_append_sent",
        "trace_entries_received",
        "trace_entries_received",
        "trace_delivered",
    ]
    assert logged[1]["depth"] == 2
    assert logged[3]["readers"] == 5
    assert "secret" not in str(logged)


async def test_on_a_node() -> None:
    edge = Edge(trace=1)
    reader, publisher = edge.client(), edge.client()
    reader.subscribe("/a")
    reader.poll()
    with capture_logs() as logged:
        assert publisher.ask("/a", data="secret words", id="9")["successful"]
        edge.flush()
    assert events(logged) == ["trace_accepted", "trace_committed", "trace_delivered"]
    assert len({each["message"] for each in logged}) == 1
    assert "secret" not in str(logged)
