"""`timesync`, from what CometD's client for JavaScript sends and how it reckons with the answer."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from local_edge import Client, Edge, FakeSocket
from node.bayeux.extensions import timesync


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Our clock in milliseconds, settable."""
    now = [1_700_000_000_000]
    monkeypatch.setattr(timesync, "_milliseconds", lambda: now[0])
    return now


@pytest.fixture
async def edge() -> Edge:
    return Edge()


def ask(client: Client, channel: str, **sync: Any) -> dict[str, Any] | None:
    reply = client.ask(channel, subscription="/a", ext={"timesync": sync})
    told: dict[str, Any] | None = reply.get("ext", {}).get("timesync")
    return told


async def test_a_first_request_is_answered_and_gives_the_client_our_time(
    edge: Edge, clock: list[int]
) -> None:
    # The client is 5 s behind; the request took 40 ms, as will the answer.
    sent = clock[0] - 5_000 - 40
    client = Client(edge).handshake(ext={"timesync": {"tc": sent, "l": 0, "o": 0}})
    told = client.ext["timesync"]
    assert told == {"tc": sent, "ts": clock[0], "p": 0, "a": -5_040}
    came = sent + 80
    lag = (came - told["tc"] - told["p"]) / 2
    assert lag == 40
    assert told["ts"] - told["tc"] - lag == 5_000


async def test_who_is_exact_is_left_alone_and_who_drifts_is_not(
    edge: Edge, clock: list[int]
) -> None:
    client = edge.client()
    exact = {"tc": clock[0] - 5_040, "l": 40, "o": 5_000}
    assert ask(client, "/meta/subscribe", **exact) is None
    assert ask(client, "/meta/subscribe", **{**exact, "o": 5_024}) is None
    told = ask(client, "/meta/subscribe", **{**exact, "o": 5_025})
    assert told is not None
    assert told["a"] == 25
    assert ask(client, "/meta/subscribe", **{**exact, "l": 0, "o": 5_040}) is not None


async def test_the_time_that_a_connect_was_held_is_told(edge: Edge, clock: list[int]) -> None:
    client = edge.client()
    client.subscribe("/a")
    ext = {"timesync": {"tc": clock[0] - 10, "l": 0, "o": 0}}
    poll = edge.post([{**client.connect_message("long-polling"), "ext": ext}])
    assert poll.status is None
    received = clock[0]
    clock[0] += 1_234
    edge.publish("/a", 1)
    edge.flush()
    message, reply = poll.body
    assert "ext" not in message
    assert reply["ext"]["timesync"] == {"tc": received - 10, "ts": received, "p": 1_234, "a": -10}


async def test_also_on_a_websocket_and_each_connect_has_its_own(
    edge: Edge, clock: list[int]
) -> None:
    client, socket = edge.client(), FakeSocket()
    for sent, timeout in ((clock[0] - 1, None), (clock[0] - 2, 0)):
        ext = {"timesync": {"tc": sent, "l": 0, "o": 0}}
        message = {**client.connect_message("websocket", timeout), "ext": ext}
        edge.post([message], socket)
    replaced, reply = socket.messages
    assert "ext" not in replaced
    assert reply["ext"]["timesync"]["tc"] == clock[0] - 2
    edge.post([client.connect_message("websocket", 0)], socket)
    assert "ext" not in socket.messages[-1]


async def test_the_old_form_without_lag_gets_the_old_answer(edge: Edge, clock: list[int]) -> None:
    told = ask(edge.client(), "/meta/subscribe", tc=5)
    assert told == {"tc": 5, "ts": clock[0], "p": 0}


@pytest.mark.parametrize(
    "sync", [None, 1, [], {}, {"tc": "1"}, {"tc": True}, {"tc": None}, {"tc": 1e300}]
)
async def test_what_makes_no_sense_is_not_answered(edge: Edge, sync: Any) -> None:
    reply = edge.client().ask("/meta/subscribe", subscription="/a", ext={"timesync": sync})
    assert reply["successful"] is True
    assert "ext" not in reply


async def test_only_meta_messages_are_answered(edge: Edge) -> None:
    reply = edge.client().ask("/a", data=1, ext={"timesync": {"tc": 1, "l": 0, "o": 0}})
    assert "ext" not in reply


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
anything = st.none() | numbers | st.text(max_size=3) | st.booleans()


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["tc", "l", "o"]), anything))
def test_nothing_that_a_client_says_breaks_it(sync: dict[str, Any]) -> None:
    async def play() -> None:
        reply = Edge().client().ask("/meta/subscribe", subscription="/a", ext={"timesync": sync})
        assert reply["successful"] is True

    trio.run(play)
