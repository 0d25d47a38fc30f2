"""Channel rules as stock clients meet them, on a ring of three; they are read again on SIGHUP."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from cluster_process import ClusterProcess, wait_until
from stock_client import StockClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = """
[[channel]]
match = "/news/**"
publish = "api"

[[channel]]
match = "/staff/**"
subscribe = "nobody"

[[channel]]
match = "/lazy/**"
lazy = true
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rules") / "rules.toml"
    file.write_text(RULES)
    return file


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory, rules: Path) -> Iterator[ClusterProcess]:
    options = ["--channels", str(rules), "--max-lazy-timeout", "2"]
    with ClusterProcess(3, tmp_path_factory.mktemp("ring"), options) as cluster:
        yield cluster


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
def test_who_may_publish_and_subscribe(ruled: ClusterProcess, transport: str) -> None:
    with StockClient(ruled.nodes[1].url, transport) as client:
        client.handshake()
        reply = client.call("subscribe", channel="/staff/room")
        assert (reply["successful"], reply["error"]) == (False, "403:/staff/room:subscribe_denied")
        reply = client.call("publish", channel="/news/today", data="mine")
        assert (reply["successful"], reply["error"]) == (False, "403:/news/today:publish_denied")
        client.must("subscribe", channel="/news/today")
        assert ruled.nodes[0].api("/api/publish", {"channel": "/news/today", "data": "theirs"})
        assert client.wait_for("/news/today", 1) == ["theirs"]


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
def test_lazy_messages_wait_for_others_and_not_for_ever(
    ruled: ClusterProcess, transport: str
) -> None:
    lazy, prompt = f"/lazy/{transport}", f"/prompt/{transport}"
    with StockClient(ruled.nodes[0].url, transport) as client:
        client.handshake()
        for channel in (lazy, prompt):
            client.must("subscribe", channel=channel)
        time.sleep(0.3)  # the poll is held by now
        for channel in (lazy, lazy, prompt):
            assert ruled.nodes[1].api("/api/publish", {"channel": channel, "data": 1})[0] == 200
        client.wait_for(lazy, 2, timeout=1.5)
        assert [m["channel"] for m in client.messages] == [prompt, lazy, lazy]
        time.sleep(0.3)
        published = time.monotonic()
        assert ruled.nodes[1].api("/api/publish", {"channel": lazy, "data": 2})[0] == 200
        assert client.wait_for(lazy, 3)[2:] == [2]
        assert 1.0 < time.monotonic() - published < 10.0


def test_new_rules_are_taken_up_and_wrong_ones_are_not(ruled: ClusterProcess, rules: Path) -> None:
    node = ruled.nodes[2]
    with StockClient(node.url, "long-polling") as client:
        client.handshake()

        def may_publish() -> bool:
            return bool(client.call("publish", channel="/news/today", data=1)["successful"])

        assert not may_publish()
        try:
            rules.write_text(RULES.replace('"api"', '"session"'))
            node.signal(signal.SIGHUP)
            wait_until(may_publish, 5, "the new rules")
            rules.write_text(RULES.replace('"api"', '"everybody"'))
            node.signal(signal.SIGHUP)
            refused = "settings_refused"
            wait_until(lambda: refused in node.log.read_text(), 5, "the refusal")
            assert may_publish()
        finally:
            rules.write_text(RULES)
