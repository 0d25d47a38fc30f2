"""The stock CometD client over TLS and with compressed frames, on a ring of two."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from http.client import HTTPSConnection
from typing import TYPE_CHECKING

import pytest

from cluster_process import API_KEY, HOST, ClusterProcess, NodeProcess
from stock_client import StockClient
from tls_rig import Issued

if TYPE_CHECKING:
    from collections.abc import Iterator

TRANSPORTS = ["long-polling", "websocket"]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return Issued(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, issued: Issued) -> Iterator[ClusterProcess]:
    options = [*issued.options, "--websocket-deflate"]
    with ClusterProcess(2, tmp_path_factory.mktemp("pair"), options) as cluster:
        yield cluster


def client_of(node: NodeProcess, transport: str, issued: Issued) -> StockClient:
    return StockClient(f"https://{HOST}:{node.client_port}", transport, issued.authority_file)


def publish(node: NodeProcess, issued: Issued, channel: str, data: object) -> None:
    context = issued.client_context()
    context.set_alpn_protocols(["http/1.1"])
    http = HTTPSConnection(HOST, node.client_port, timeout=10, context=context)
    with closing(http):
        body = json.dumps({"channel": channel, "data": data})
        http.request("POST", "/api/publish", body, {"X-API-Key": API_KEY})
        response = http.getresponse()
        assert response.status == 200, response.read()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_messages_of_every_size_between_nodes(
    pair: ClusterProcess, issued: Issued, transport: str
) -> None:
    room = f"/chat/sizes-{transport}"
    with client_of(pair.nodes[1], transport, issued) as client:
        client.handshake()
        client.must("subscribe", channel=room)
        client.must("publish", channel=room, data="its own, " * 500)
        texts = ["its own, " * 500, "small", "§ " * 2_000, "0123456789" * 60_000]
        for number, text in enumerate(texts[1:], 2):
            publish(pair.nodes[0], issued, room, text)
            assert client.wait_for(room, number) == texts[:number]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_new_certificate_drops_nobody(
    pair: ClusterProcess, issued: Issued, transport: str
) -> None:
    room = f"/chat/renewed-{transport}"
    with client_of(pair.nodes[0], transport, issued) as client:
        client.handshake()
        client.must("subscribe", channel=room)
        issued.issue()
        pair.nodes[0].signal(signal.SIGHUP)
        client.must("publish", channel=room, data=1)
        with client_of(pair.nodes[0], transport, issued) as late:
            late.handshake()
            late.must("publish", channel=room, data=2)
        assert client.wait_for(room, 2) == [1, 2]
        assert [connect["successful"] for connect in client.connects] == [True]
