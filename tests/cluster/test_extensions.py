"""An extension from outside on a real node: found by name, and one that is not to be found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster_process import HOST, ClusterProcess, NodeProcess, free_ports, request

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

SUPPORT = Path(__file__).parent.parent / "support"


def ask(node: NodeProcess, **message: Any) -> dict[str, Any]:
    status, replies = request(node.client_port, "POST", "/bayeux", [message])
    assert status == 200, replies
    reply: dict[str, Any] = replies[0]
    return reply


def test_an_extension_of_the_application_is_loaded_and_asked(
    make_cluster: Callable[..., ClusterProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    options = ["--extensions", "ack,outside_extension:Moderator"]
    (node,) = make_cluster(1, arguments=options).nodes
    types = ["long-polling"]
    hello = ask(
        node,
        channel="/meta/handshake",
        version="1.0",
        supportedConnectionTypes=types,
        ext={"ack": True},
    )
    assert hello["ext"]["ack"] is True
    assert hello["seen"] is True
    session = hello["clientId"]
    assert ask(node, channel="/meta/subscribe", clientId=session, subscription="/a")["successful"]
    reply = ask(node, channel="/a", clientId=session, data="rude")
    assert reply["error"] == "404:/a:message_deleted"
    assert node.api("/api/publish", {"channel": "/a", "data": "secret"})[0] == 404
    assert node.api("/api/publish", {"channel": "/a", "data": "theirs"})[0] == 200
    reply = ask(node, channel="/service/mine", clientId=session, data=1)
    assert reply["successful"]
    assert reply["ext"] == {"turn": 2}
    connect = {"channel": "/meta/connect", "clientId": session, "connectionType": "long-polling"}
    status, (message, _) = request(node.client_port, "POST", "/bayeux", connect)
    assert status == 200
    assert message["data"] == "THEIRS"
    assert message["ext"] == {"signed": "/a"}


def test_one_that_cannot_be_found_stops_the_start_with_a_line() -> None:
    ports = [f"{HOST}:{free_ports(3) + index}" for index in range(3)]
    words = [sys.executable, "-m", "node.cli", "serve", "--extensions", "ack,no.such:Thing"]
    for name, port in zip(("client", "peer", "ops"), ports, strict=True):
        words += [f"--{name}", port]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "--extensions: cannot import no.such:Thing: No module named 'no'" in done.stderr
