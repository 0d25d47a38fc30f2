"""All scenarios: their names, their settings, and how `all` and `all --quick` run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from loadtest.scenarios import (
    broadcast,
    chat,
    cluster,
    connect,
    direct,
    failover,
    growth,
    guard,
    hops,
    idle,
    liberator,
    longpoll,
    mixed,
    peers,
    plurk,
    proxy,
    replicas,
)

if TYPE_CHECKING:
    from types import ModuleType

    from loadtest.report import Report
    from loadtest.settings import Progress


@dataclass(frozen=True, slots=True)
class Scenario:
    """A module with `run(settings, progress)`, and the settings it is run with.

    `whole` and `quick` are those of `all` and `all --quick`; None: not run there.
    """

    name: str
    module: ModuleType
    settings: type[Any]
    whole: Any
    quick: Any

    def run(self, settings: Any, progress: Progress) -> Report:  # noqa: ANN401 - its own
        report: Report = self.module.run(settings, progress)
        return report


SCENARIOS: Final = (
    Scenario(
        "broadcast",
        broadcast,
        broadcast.Broadcast,
        broadcast.Broadcast(),
        broadcast.Broadcast(subscribers=3_000, messages=10, rounds=3),
    ),
    Scenario(
        "longpoll",
        longpoll,
        longpoll.LongPoll,
        longpoll.LongPoll(seconds=3.0, rounds=4),
        longpoll.LongPoll(subscribers=3_000, messages=10, seconds=2.0, rounds=3),
    ),
    Scenario("connect", connect, connect.Connect, None, None),
    Scenario(
        "liberator",
        liberator,
        liberator.Liberator,
        liberator.Liberator(),
        liberator.Liberator(clients=3_000, seconds=4.0),
    ),
    Scenario(
        "direct",
        direct,
        direct.Direct,
        direct.Direct(),
        direct.Direct(seconds=2.0),
    ),
    Scenario(
        "cluster",
        cluster,
        cluster.ClusterShape,
        cluster.ClusterShape(),
        cluster.ClusterShape(subscribers=3_000, messages=20, rounds=3, rest=25.0),
    ),
    Scenario(
        "chat",
        chat,
        chat.Chat,
        chat.Chat(),
        chat.Chat(clients=300, rates=("500", "1000"), seconds=3.0),
    ),
    Scenario(
        "idle",
        idle,
        idle.Idle,
        idle.Idle(),
        idle.Idle(sessions=3_000, settle=3.0, rounds=1, seconds=10.0),
    ),
    Scenario(
        "proxy",
        proxy,
        proxy.Proxy,
        proxy.Proxy(),
        proxy.Proxy(clients=500, messages=5, rounds=2),
    ),
    Scenario(
        "replicas",
        replicas,
        replicas.Replicas,
        replicas.Replicas(),
        replicas.Replicas(seconds=2.0, rounds=2),
    ),
    Scenario("mixed", mixed, mixed.Mixed, None, None),
    Scenario("guard", guard, guard.Guard, None, None),
    Scenario("hops", hops, hops.Hops, hops.Hops(), hops.Hops()),
    Scenario(
        "failover",
        failover,
        failover.Failover,
        failover.Failover(),
        failover.Failover(kills=2),
    ),
    Scenario(
        "growth",
        growth,
        growth.Growth,
        growth.Growth(rounds=2),
        growth.Growth(
            sessions=("500", "2000"), channels=("1", "1000"), nodes=("1", "3"), rest=5.0, rounds=2
        ),
    ),
    Scenario(
        "plurk",
        plurk,
        plurk.Plurk,
        plurk.Plurk(),
        plurk.Plurk(clients=6_000, nodes=3, seconds=5.0),
    ),
    Scenario(
        "peers",
        peers,
        peers.Peers,
        peers.Peers(messages=6, rounds=2),
        peers.Peers(subscribers=2_000, messages=5, rounds=2, held=2_000),
    ),
)
