"""A real node that speaks TLS: stock HTTP clients, SIGHUP, and what a plain client is told."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import pytest

from cluster_process import API_KEY, HOST, NodeProcess, request, wait_until
from tls_rig import Issued
from ws_bytes import TEXT, frame, handshake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster_process import ClusterProcess


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Issued(tmp_path / "tls")


@pytest.fixture
def node(issued: Issued, make_cluster: Callable[..., ClusterProcess]) -> NodeProcess:
    return make_cluster(1, arguments=issued.options).nodes[0]


class Secure:
    """One keep-alive connection over TLS."""

    def __init__(self, node: NodeProcess, issued: Issued) -> None:
        context = issued.client_context()
        context.set_alpn_protocols(["http/1.1"])
        self.http = http.client.HTTPSConnection(HOST, node.client_port, timeout=10, context=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def post(self, target: str, body: object) -> Any:
        headers = {"Content-Type": "application/json", "X-API-Key": API_KEY}
        self.http.request("POST", target, json.dumps(body), headers)
        response = self.http.getresponse()
        assert response.status == 200
        return json.loads(response.read())

    def bayeux(self, **message: Any) -> dict[str, Any]:
        reply: dict[str, Any] = self.post("/bayeux", message)[-1]
        assert reply["successful"], reply
        return reply

    def handshake(self) -> str:
        session: str = self.bayeux(
            channel="/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"]
        )["clientId"]
        return session

    def certificate(self) -> bytes:
        sock = self.http.sock
        assert isinstance(sock, ssl.SSLSocket)
        return sock.getpeercert(binary_form=True) or b""


def reloads(node: NodeProcess, outcome: str) -> float:
    return node.metrics().get(f'cometring_tls_reloads_total{{outcome="{outcome}"}}', 0.0)


def test_long_polling(node: NodeProcess, issued: Issued) -> None:
    with Secure(node, issued) as client, Secure(node, issued) as application:
        session = client.handshake()
        client.bayeux(channel="/meta/subscribe", clientId=session, subscription="/chat/room")
        poll = {"channel": "/meta/connect", "clientId": session, "connectionType": "long-polling"}
        client.post("/bayeux", poll | {"advice": {"timeout": 0}})
        client.http.request("POST", "/bayeux", json.dumps(poll))  # held
        for size in (1, 20_000, 300_000):  # in one record, in two, more than the kernel takes
            application.post("/api/publish", {"channel": "/chat/room", "data": "x" * size})
            messages = json.loads(client.http.getresponse().read())
            assert messages[0]["data"] == "x" * size
            client.http.request("POST", "/bayeux", json.dumps(poll))


def test_events(node: NodeProcess, issued: Issued) -> None:
    with Secure(node, issued) as reader, Secure(node, issued) as application:
        reader.http.request("GET", "/sse?channel=/chat/events")
        stream = reader.http.getresponse()
        assert stream.status == 200
        while not stream.readline().startswith(b"data:"):
            pass
        for size in (10, 200_000):
            application.post("/api/publish", {"channel": "/chat/events", "data": "x" * size})
            line = b""
            while b"/chat/events" not in line:
                line = stream.readline()
            assert json.loads(line.removeprefix(b"data:"))["data"] == "x" * size


def test_a_browsers_cookie_stays_encrypted(node: NodeProcess, issued: Issued) -> None:
    shake = {
        "channel": "/meta/handshake",
        "version": "1.0",
        "supportedConnectionTypes": ["long-polling"],
    }
    with Secure(node, issued) as client:
        headers = {"Content-Type": "application/json", "User-Agent": "Mozilla/5.0"}
        client.http.request("POST", "/bayeux", json.dumps(shake), headers)
        response = client.http.getresponse()
        assert response.read()
        assert "; Secure" in (response.headers["Set-Cookie"] or "")


def test_a_websocket(node: NodeProcess, issued: Issued) -> None:
    with socket.create_connection((HOST, node.client_port), timeout=10) as plain:
        sock = issued.client_context().wrap_socket(plain, server_hostname=HOST)
        assert sock.selected_alpn_protocol() == "http/1.1"
        sock.sendall(handshake())
        assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
        shake = {
            "channel": "/meta/handshake",
            "version": "1.0",
            "supportedConnectionTypes": ["websocket"],
        }
        sock.sendall(frame(TEXT, json.dumps([shake]).encode()))
        assert b'"successful":true' in sock.recv(65536)
        sock.close()


def test_sighup_renews_the_certificate_and_drops_nobody(node: NodeProcess, issued: Issued) -> None:
    with Secure(node, issued) as old, Secure(node, issued) as new, Secure(node, issued) as third:
        session = old.handshake()
        before = old.certificate()
        renewed = issued.issue()
        node.signal(signal.SIGHUP)
        wait_until(lambda: reloads(node, "ok") == 1, 10, "a reload")
        new.handshake()
        assert new.certificate() == renewed != before
        old.bayeux(channel="/meta/subscribe", clientId=session, subscription="/chat/room")
        assert old.certificate() == before  # the same connection as ever

        issued.key.write_text("nonsense")
        node.signal(signal.SIGHUP)
        wait_until(lambda: reloads(node, "refused") == 1, 10, "a refusal")
        assert "certificate_refused" in node.log.read_text()
        third.handshake()
        assert third.certificate() == renewed


def test_a_plain_client_is_told_and_counted(node: NodeProcess) -> None:
    status, answer = request(node.client_port, "POST", "/bayeux", [])
    assert status == 400
    assert "https" in answer["error"]["message"]
    metrics = node.metrics()
    assert metrics['cometring_tls_handshakes_total{outcome="plain"}'] == 1
    assert metrics['cometring_connections{transport="tls-handshake"}'] == 0


def test_callback_polling(node: NodeProcess, issued: Issued) -> None:
    """The scripts of pages: a session, a held poll, a message."""
    with Secure(node, issued) as client, Secure(node, issued) as application:

        def get(*messages: dict[str, Any]) -> None:
            client.http.request("GET", "/bayeux?jsonp=cb&message=" + quote(json.dumps(messages)))

        def read() -> Any:
            text = client.http.getresponse().read().decode()
            return json.loads(text.removeprefix("/**/cb(").removesuffix(");"))

        kinds = {"version": "1.0", "supportedConnectionTypes": ["callback-polling"]}
        get({"channel": "/meta/handshake"} | kinds)
        session = {"clientId": read()[0]["clientId"]}
        get(session | {"channel": "/meta/subscribe", "subscription": "/chat/scripts"})
        assert read()[0]["successful"]
        poll = session | {"channel": "/meta/connect", "connectionType": "callback-polling"}
        get(poll)
        read()  # the first is not held
        get(poll)
        application.post("/api/publish", {"channel": "/chat/scripts", "data": "x" * 20_000})
        assert read()[0]["data"] == "x" * 20_000
