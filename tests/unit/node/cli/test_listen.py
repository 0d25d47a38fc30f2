from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import closing
from typing import Any

import pytest

from node.cli.errors import OperationFailed
from node.cli.listen import BayeuxListener
from node.cli.main import main
from node.cli.web import parse_url
from stub_http import Answer, Asked, StubServer


class BayeuxStub:
    """Answers as a node would; `polls` says what each connect gets, in turn."""

    def __init__(self, *polls: Any) -> None:
        self.polls = deque(polls)
        self.handshakes = 0
        self.subscribed: list[str] = []
        self.connects: list[dict[str, Any]] = []
        self.disconnected = False
        self.refuse: dict[str, dict[str, Any]] = {}

    def __call__(self, asked: Asked) -> Answer | None:
        assert asked.method == "POST"
        assert asked.target == "/bayeux"
        replies: list[dict[str, Any]] = []
        cookies: tuple[tuple[str, str], ...] = ()
        for message in asked.json():
            channel = message["channel"]
            reply = {"channel": channel, "id": message["id"], "successful": True}
            if channel in self.refuse:
                replies.append(reply | {"successful": False} | self.refuse[channel])
            elif channel == "/meta/handshake":
                self.handshakes += 1
                cookies = (("Set-Cookie", "BAYEUX_BROWSER=b1; HttpOnly; SameSite=Lax"),)
                advice = {"reconnect": "retry", "interval": 0, "timeout": 5000}
                address = {"address": "tag.address"}
                client_id = f"client-{self.handshakes}"
                replies.append(reply | {"clientId": client_id, "advice": advice, "ext": address})
            else:
                assert asked.headers["cookie"] == "BAYEUX_BROWSER=b1"
                assert message["clientId"] == f"client-{self.handshakes}"
                if channel == "/meta/subscribe":
                    self.subscribed.append(message["subscription"])
                    replies.append(reply | {"subscription": message["subscription"]})
                elif channel == "/meta/disconnect":
                    self.disconnected = True
                    replies.append(reply)
                else:
                    self.connects.append(message)
                    poll = self.polls.popleft()
                    if poll is None or isinstance(poll, Answer):
                        return poll
                    replies += [*poll, reply] if isinstance(poll, list) else [reply | poll]
        return Answer(replies, headers=cookies)


def message(n: int) -> dict[str, Any]:
    return {"channel": "/chat/room", "data": {"n": n}, "id": str(n)}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def take(node: StubServer, count: int, *channels: str) -> list[int]:
    listener = BayeuxListener([parse_url(node.url)], channels or ("/chat/room",))
    with closing(listener):
        messages = listener.messages()
        return [next(messages)["data"]["n"] for _ in range(count)]


def test_messages_come_in_order_over_polls() -> None:
    bayeux = BayeuxStub([message(1), message(2)], [], [message(3)])
    with StubServer(bayeux) as node:
        assert take(node, 3, "/chat/room", "/chat/other") == [1, 2, 3]
    assert bayeux.subscribed == ["/chat/room", "/chat/other"]
    assert bayeux.handshakes == 1
    assert bayeux.disconnected
    assert bayeux.connects[0]["connectionType"] == "long-polling"


def test_a_lost_connection_resumes_the_same_session(
    capsys: pytest.CaptureFixture[str], no_waiting: list[float]
) -> None:
    bayeux = BayeuxStub([message(1)], None, None, Answer(b"", 503), [message(2)])
    with StubServer(bayeux) as node:
        assert take(node, 2) == [1, 2]
    assert bayeux.handshakes == 1
    assert no_waiting == [0.1, 0.2, 0.4]
    assert "trying again" in capsys.readouterr().err


def test_a_forgotten_session_is_opened_anew() -> None:
    forgotten = {
        "successful": False,
        "error": "402::session_unknown",
        "advice": {"reconnect": "handshake"},
    }
    bayeux = BayeuxStub([message(1)], forgotten, [message(2)])
    with StubServer(bayeux) as node:
        assert take(node, 2) == [1, 2]
    assert bayeux.handshakes == 2
    assert bayeux.subscribed == ["/chat/room", "/chat/room"]


def test_not_now_is_tried_again(no_waiting: list[float]) -> None:
    later = {"successful": False, "error": "503::not now", "advice": {"reconnect": "retry"}}
    bayeux = BayeuxStub(later, [message(1)])
    with StubServer(bayeux) as node:
        assert take(node, 1) == [1]
    assert no_waiting == [0.1]


def test_the_advised_interval_is_kept(no_waiting: list[float]) -> None:
    bayeux = BayeuxStub({"advice": {"interval": 2000}}, [message(1)])
    with StubServer(bayeux) as node:
        assert take(node, 1) == [1]
    assert no_waiting == [2.0]


def test_the_next_url_is_tried_when_a_node_is_gone() -> None:
    bayeux = BayeuxStub([message(1)])
    with StubServer(bayeux) as node:
        listener = BayeuxListener(
            [parse_url("http://127.0.0.1:1"), parse_url(node.url)], ["/chat/room"]
        )
        assert next(listener.messages())["data"] == {"n": 1}
        listener.close()


@pytest.mark.parametrize(
    ("channel", "refusal", "says"),
    [
        ("/meta/handshake", {"error": "401::no", "advice": {"reconnect": "none"}}, "401::no"),
        ("/meta/subscribe", {"error": "403:/chat/room:denied"}, "denied"),
        ("/meta/subscribe", {}, "without a reason"),
    ],
)
def test_a_refusal_for_good_ends_it(channel: str, refusal: dict[str, Any], says: str) -> None:
    bayeux = BayeuxStub()
    bayeux.refuse[channel] = refusal
    with StubServer(bayeux) as node, pytest.raises(OperationFailed, match=says):
        take(node, 1)


@pytest.mark.parametrize(
    "answer", [Answer({"not": "bayeux"}), Answer([1]), Answer(b"<html>"), Answer([], 404)]
)
def test_what_is_no_bayeux_ends_it(answer: Answer) -> None:
    with StubServer(lambda _: answer) as node, pytest.raises(OperationFailed):
        take(node, 1)


def test_no_reply_at_all_is_tried_again() -> None:
    bayeux = BayeuxStub([message(1)])
    empty = iter([Answer([])])

    def script(asked: Asked) -> Answer | None:
        return next(empty, None) or bayeux(asked)

    with StubServer(script) as node:
        assert take(node, 1) == [1]


def test_the_command_prints_lines_and_ends_after_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bayeux = BayeuxStub([message(1), message(2), message(3)])
    with StubServer(bayeux) as node:
        try:
            assert main(["listen", "/chat/room", "--count", "2", "--url", node.url]) == 0
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [message(1), message(2)]
    assert "listening to /chat/room as tag.address" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(number: int) -> None:
    held = threading.Event()
    bayeux = BayeuxStub([message(1)])

    def script(asked: Asked) -> Answer | None:
        if b"/meta/connect" in asked.body and not bayeux.polls:
            held.wait(20)
            return None
        return bayeux(asked)

    with StubServer(script) as node:
        process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "listen", "/chat/room", "--url", node.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == message(1)
        process.send_signal(number)
        _, err = process.communicate(timeout=15)
        held.set()
    assert process.returncode == 0
    assert "Traceback" not in err
    assert bayeux.disconnected
