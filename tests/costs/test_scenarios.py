"""The larger scenarios at a size that costs a second each: they run, count and report."""

from __future__ import annotations

import pytest

from loadtest.scenarios import chat, cluster, growth, liberator, plurk, proxy
from programs import require_program


def silent(_text: str) -> None:
    pass


def test_a_load_in_batches_is_delivered_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liberator, "_WARM_UP", 0.5)
    report = liberator.run(liberator.Liberator(clients=20, seconds=1.0, rounds=1), silent)
    delivered = report.find("messages delivered a second")
    assert delivered.median == pytest.approx(2_000, rel=0.3)
    assert report.find("sent to received: p99").median > 0


def test_rooms_deliver_to_who_is_in_them() -> None:
    settings = chat.Chat(clients=20, rooms=10, rooms_each=4, rates=("50",), seconds=1.0)
    report = chat.run(settings, silent)
    assert report.find("50 published a second: delivered").median == pytest.approx(400, rel=0.3)


def test_polls_on_several_nodes_all_hear_a_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plurk, "_SETTLE", 0.2)
    monkeypatch.setattr(plurk, "_WARM_UP", 10)
    report = plurk.run(plurk.Plurk(clients=60, nodes=2, seconds=0.5), silent)
    assert report.met
    assert len(report.find("a publish until all clients had it").rounds) == 2


def test_a_ring_and_a_proxy_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = cluster.ClusterShape(nodes=2, subscribers=60, messages=2, rounds=1, rest=0.5)
    report = cluster.run(settings, silent)
    assert len(report.find("added by the ring").rounds) == 1
    assert len(report.find("added by 2 nodes apart").rounds) == 1
    require_program("haproxy")
    monkeypatch.setattr(proxy, "_REST", 0.5)
    report = proxy.run(proxy.Proxy(nodes=2, clients=20, messages=2, rounds=1), silent)
    assert report.find("cost without stickiness").median > 0


@pytest.mark.nightly  # it starts nine nodes
def test_growth_draws_its_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_REST", 0.3)
    monkeypatch.setattr(growth, "_WARM_UP", 10)
    monkeypatch.setattr(growth, "_SESSIONS_OF_CHANNELS", 50)
    monkeypatch.setattr(growth, "_SUBSCRIBERS_OF_NODES", 50)
    settings = growth.Growth(
        sessions=("50", "100"),
        channels=("1", "30"),
        nodes=("1", "2"),
        rest=0.3,
        messages=2,
        rounds=1,
    )
    report = growth.run(settings, silent)
    titles = {plot.title: len(plot.series["node"]) for plot in report.plots}
    assert titles["Memory a session"] == titles["CPU a delivery, all nodes"] == 2
    assert any("linear" in remark for remark in report.remarks)
