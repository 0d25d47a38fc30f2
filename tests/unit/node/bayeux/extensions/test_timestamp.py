"""`timestamp`: on everything that leaves, in Bayeux's form."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from local_edge import Edge
from node.bayeux.extensions.timestamp import timestamp

FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d")


def test_the_form_is_that_of_the_specification() -> None:
    assert timestamp(0.0) == "1970-01-01T00:00:00.00"
    assert timestamp(1_700_000_000.129) == "2023-11-14T22:13:20.12"


async def test_replies_and_deliveries_have_it() -> None:
    edge = Edge(extensions="ack,timestamp")
    reader, sender = edge.client(), edge.client()
    # As the client's own extension sends it; nothing depends on what it says.
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    reply = reader.ask("/meta/subscribe", subscription="/a", timestamp=now)
    assert FORM.fullmatch(reply["timestamp"])
    assert FORM.fullmatch(sender.ask("/a", data=1, timestamp=now)["timestamp"])
    edge.flush()
    poll = reader.poll(timeout=0)
    message, connect = poll.body
    assert message["data"] == 1
    assert FORM.fullmatch(message["timestamp"])
    assert message["timestamp"] != now
    assert FORM.fullmatch(connect["timestamp"])


@pytest.mark.parametrize("timestamp", ["now", 1, None, [], "x" * 10_000])
async def test_by_default_there_is_none_and_a_client_s_is_ignored(timestamp: object) -> None:
    client = Edge().client()
    reply = client.ask("/meta/subscribe", subscription="/a", timestamp=timestamp)
    assert reply["successful"] is True
    assert "timestamp" not in reply
