"""What the ring does at a size, measured on real engines under virtual time.

Seconds are virtual: they hold what the protocol waits for and what the network
takes, not the processor's time (installing a view of 10,000 takes some 10 ms a hop).
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

import msgspec

from dht.ids import SLOTS
from ring_sim import RingSim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ring_process import SimNode

LATENCY: Final = 0.001
_LARGE: Final = 1_000
NEVER: Final = 99.0  # stands for a survivor that has not agreed in time
STALL: Final = 0.1
STALL_EVERY: Final = 5.0  # seconds between two stalls of one node, on average


class Agreement(msgspec.Struct, frozen=True):
    """How long, in seconds, until the survivors knew the new home; all rounds together."""

    nodes: int
    fault: str
    rounds: int
    p50: float
    p99: float
    most: float
    views: int  # the most that one round took


class Load(msgspec.Struct, frozen=True):
    """Messages of a ring in peace, a node and second."""

    nodes: int
    sent: float  # on average
    most_sent: float
    most_received: float
    leased: float  # the share of nodes that hold a lease


class Calm(msgspec.Struct, frozen=True):
    """A ring whose nodes stall and whose packets are lost, for some time."""

    nodes: int
    seconds: float
    stalls: int
    evictions: int
    views: int
    leased: float  # the share of looks at a node at which it held its lease


class Mass(msgspec.Struct, frozen=True):
    """A tenth dies at once."""

    nodes: int
    dead: int
    views: int
    seconds: float  # until all survivors were on a view without the dead


class Storm(msgspec.Struct, frozen=True):
    """Many join a ring of few at once."""

    before: int
    joined: int
    seconds: float
    views: int
    share: float  # the largest share of the keys over the mean


def established(count: int, seed: int, loss: float = 0.0) -> tuple[RingSim, list[SimNode]]:
    """A ring that has opened its links."""
    sim = RingSim(seed, latency=LATENCY, loss=loss, codec=False)
    nodes = sim.establish(count)
    sim.run(2.5)
    if count >= _LARGE:
        gc.freeze()  # ten thousand engines need not be looked through again and again
    return sim, nodes


def agreement(
    count: int, fault: str, rounds: int, seed: int = 1, patience: float = 3.0
) -> Agreement:
    """Time after time one node is killed, hangs, or is cut off from all others."""
    sim, nodes = established(count, seed)
    times: list[float] = []
    views = 0
    for _ in range(rounds):
        sim.run(sim.rng.uniform(1.0, 1.5))  # no lease of the last round is in the way
        victim = sim.rng.choice(nodes)
        rest = [node for node in nodes if node is not victim]
        began, number = sim.now, max(_number(node) for node in rest)
        mend = _befall(sim, victim, rest, fault)
        sim.run(patience)
        times += (_settled(node, victim, began) for node in rest)
        views = max(views, max(_number(node) for node in rest) - number)
        nodes = [*rest, mend()]
        _run_until_one_ring(sim, nodes)
    times.sort()
    return Agreement(count, fault, rounds, _at(times, 0.5), _at(times, 0.99), times[-1], views)


def load(count: int, seconds: float = 4.0, seed: int = 1) -> Load:
    """A ring in peace."""
    sim, nodes = established(count, seed)
    before = [(node.sent, node.received) for node in nodes]
    sim.run(seconds)
    sent = [(node.sent - old[0]) / seconds for node, old in zip(nodes, before, strict=True)]
    received = [(node.received - old[1]) / seconds for node, old in zip(nodes, before, strict=True)]
    leased = sum(node.engine.holds_lease(sim.now) for node in nodes) / count
    return Load(count, sum(sent) / count, max(sent), max(received), leased)


def calm(count: int, seconds: float, seed: int = 1, loss: float = 0.01) -> Calm:
    """Every node stalls for 100 ms now and then, and one packet in a hundred is lost."""
    sim, nodes = established(count, seed, loss)
    evictions = stalls = leased = looks = 0

    def watch(node: SimNode, view: object) -> None:
        nonlocal evictions
        evictions += node.engine.me.id not in view  # type: ignore[operator]

    def stall() -> None:
        nonlocal stalls
        node = sim.rng.choice(nodes)
        if not node.hung:
            stalls += 1
            node.hang()
            sim.at(STALL, node.resume)
        sim.at(sim.rng.expovariate(count / STALL_EVERY), stall)

    sim.watches.append(watch)
    first = max(_number(node) for node in nodes)
    stall()
    for _ in range(max(1, int(seconds))):
        sim.run(seconds / max(1, int(seconds)))
        for node in sim.rng.sample(nodes, min(count, 100)):
            looks += 1
            leased += node.engine.holds_lease(sim.now)
        for node in nodes:
            del node.views[1:]
    views = max(_number(node) for node in nodes) - first
    return Calm(count, seconds, stalls, evictions, views, leased / looks)


def mass_crash(count: int, seed: int = 1) -> Mass:
    """A tenth is killed in the same moment."""
    sim, nodes = established(count, seed)
    sim.run(1.0)
    dead = sim.rng.sample(nodes, max(1, count // 10))
    gone = {node.engine.me.id for node in dead}
    rest = [node for node in nodes if node not in set(dead)]
    number, began = _number(rest[0]), sim.now
    for node in dead:
        node.die()

    def settled() -> bool:
        first = rest[0].engine.view
        if first is None or not gone.isdisjoint(first.by_id):
            return False
        return all(node.engine.view is not None and _same(node, rest[0]) for node in rest)

    while not settled():
        sim.run(0.05)
        assert sim.now < began + 20, sim.describe()[:2000]
    return Mass(count, len(dead), _number(rest[0]) - number, sim.now - began)


def join_storm(before: int, joining: int, seed: int = 1) -> Storm:
    """`joining` nodes start at the same moment; all know one seed."""
    sim = RingSim(seed, latency=LATENCY, codec=False)
    nodes = [sim.start(f"n{index}", ["n0"], before) for index in range(before)]
    sim.run_until(lambda: sim.one_ring(nodes), 10)
    sim.run(1.0)
    number, began = _number(nodes[0]), sim.now
    nodes += [sim.start(f"j{index}", ["n0"], before) for index in range(joining)]
    _run_until_one_ring(sim, nodes)
    taken = sim.now - began
    return Storm(before, joining, taken, _number(nodes[0]) - number, uneven(nodes))


def uneven(nodes: Iterable[SimNode]) -> float:
    """The largest share of the keys that a node is home to, over the mean."""
    placements = [node.engine.placement for node in nodes]
    first = placements[0]
    assert first is not None
    slots = [len(first.slots_of(member.id)) for member in first.view.active]
    return max(slots) * len(slots) / SLOTS


def _befall(
    sim: RingSim, victim: SimNode, rest: list[SimNode], fault: str
) -> Callable[[], SimNode]:
    """Do it; the answer undoes it, and is the process that is there then."""
    if fault == "kill":
        victim.die()
    elif fault == "hang":
        victim.hang()
    else:
        assert fault == "cut"
        sim.cut([victim], rest)

    def mend() -> SimNode:
        sim.heal()
        if victim.hung:
            victim.resume()
        if victim.alive:
            return victim
        name = victim.address.partition(":")[0]
        seeds = ["n0", "n1", "n2"]
        return sim.start(name, seeds, 3, node=victim.engine.me.id)

    return mend


def _run_until_one_ring(sim: RingSim, nodes: list[SimNode]) -> None:
    began = sim.now
    while not sim.one_ring(nodes):
        sim.run(0.05)
        assert sim.now < began + 60, sim.describe()[:2000]


def _settled(node: SimNode, victim: SimNode, began: float) -> float:
    """When `node` learned of the first view without `victim`'s process, after `began`."""
    me = victim.engine.me
    for at, view in node.views:
        if at >= began:
            member = view.get(me.id)
            if member is None or member.incarnation != me.incarnation:
                return at - began
    return NEVER


def _number(node: SimNode) -> int:
    return node.engine.view.number if node.engine.view is not None else 0


def _same(one: SimNode, two: SimNode) -> bool:
    a, b = one.engine.view, two.engine.view
    return a is b or (a is not None and b is not None and a.digest == b.digest)


def _at(times: list[float], share: float) -> float:
    return times[min(len(times) - 1, int(len(times) * share))]


def table(rows: Iterable[msgspec.Struct]) -> Iterator[str]:
    """Lines of a table; a heading before each kind of row."""
    kind: type | None = None
    for row in rows:
        fields = msgspec.structs.asdict(row)
        if type(row) is not kind:
            kind = type(row)
            yield f"\n{kind.__name__}: {(kind.__doc__ or '').strip()}"
            yield "  ".join(f"{name:>13}" for name in fields)
        yield "  ".join(
            f"{value:13.3f}" if isinstance(value, float) else f"{value!s:>13}"
            for value in fields.values()
        )
