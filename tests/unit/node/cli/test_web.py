from __future__ import annotations

import socket
import threading

import pytest

from node.cli.errors import OperationFailed, UsageFailed
from node.cli.web import fetch, open_connection, parse_url
from stub_http import Answer, StubServer


def test_a_bare_host_and_port_is_http() -> None:
    assert parse_url("127.0.0.1:8080").geturl() == "http://127.0.0.1:8080"


@pytest.mark.parametrize("text", ["", "http://", "ws://a", "http://a:b", "http://a:0"])
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(UsageFailed, match="not a URL"):
        parse_url(text)


def test_https_is_spoken_as_such() -> None:
    connection = open_connection(parse_url("https://127.0.0.1"), 1.0)
    assert connection.default_port == 443


def test_a_path_in_the_url_is_kept() -> None:
    with StubServer(lambda _: Answer({"a": 1})) as node:
        assert fetch(f"{node.url}/below/", "/x").json() == {"a": 1}
    assert node.asked[0].target == "/below/x"


def test_an_answer_that_is_not_json() -> None:
    with StubServer(lambda _: Answer(b"hello")) as node:
        reply = fetch(node.url, "/")
    with pytest.raises(OperationFailed, match="not JSON"):
        reply.json()


def test_silence_and_nonsense_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(OperationFailed, match=r"within 0\.05 s"):
            fetch(url, "/", timeout=0.05)

        def talk_nonsense() -> None:
            for _ in range(2):  # the silent request's connection waits before ours
                connection, _address = listener.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-nonsense\r\n\r\n")

        thread = threading.Thread(target=talk_nonsense)
        thread.start()
        with pytest.raises(OperationFailed, match="does not speak HTTP"):
            fetch(url, "/", timeout=5)
        thread.join()
