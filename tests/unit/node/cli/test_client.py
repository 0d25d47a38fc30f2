from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from node.cli.main import main
from stub_http import Answer, Asked, StubServer


def test_publish_posts_and_prints_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    place = {"channel": "/chat/room", "epoch": 1, "offset": 7}
    with StubServer(lambda _: Answer(place)) as node:
        words = ["publish", "/chat/room", '{"text": "hi"}', "--url", node.url, "--api-key", "k"]
        assert main([*words, "--id", "m1"]) == 0
    (asked,) = node.asked
    assert (asked.method, asked.target) == ("POST", "/api/publish")
    assert asked.headers["authorization"] == "Bearer k"
    assert asked.json() == {"channel": "/chat/room", "data": {"text": "hi"}, "id": "m1"}
    assert capsys.readouterr().out == '{"channel": "/chat/room", "epoch": 1, "offset": 7}\n'


def test_send_names_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    with StubServer(lambda _: Answer({})) as node:
        monkeypatch.setenv("COMETRING_URL", node.url)
        monkeypatch.setenv("COMETRING_API_KEY", "from-the-environment")
        assert main(["send", "tag.address", "1", "--channel", "/service/x"]) == 0
    (asked,) = node.asked
    assert asked.target == "/api/send"
    assert asked.headers["authorization"] == "Bearer from-the-environment"
    assert asked.json() == {"session": "tag.address", "data": 1, "channel": "/service/x"}


def test_data_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b' "piped"\n')))
    with StubServer(lambda _: Answer({})) as node:
        assert main(["publish", "/a", "-", "--url", node.url]) == 0
    assert node.asked[0].json()["data"] == "piped"


@pytest.mark.parametrize(
    ("answer", "key", "says"),
    [
        (Answer({"error": {"code": "unauthorized", "message": "no"}}, 401), None, "--api-key"),
        (
            Answer({"error": {"code": "unauthorized", "message": "wrong key"}}, 401),
            "k",
            "refused with unauthorized: wrong key",
        ),
        (
            Answer({"error": {"code": "unavailable", "message": "no home", "retry": True}}, 503),
            "k",
            "unavailable: no home; try again",
        ),
        (Answer(b"<html>", 502), "k", "refused with status 502"),
        (Answer(["odd"], 500), "k", "refused with status 500"),
        (None, "k", "nothing answers"),
    ],
)
def test_refusals(
    answer: Answer | None, key: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(_: Asked) -> Answer | None:
        return answer

    with StubServer(script) as node:
        words = ["publish", "/a", "1", "--url", node.url]
        assert main(words + ([] if key is None else ["--api-key", key])) == 1
    assert says in capsys.readouterr().err
