"""A channel under test: its nodes, its subscribers, and what was published to them."""

from __future__ import annotations

from time import monotonic, monotonic_ns, sleep
from typing import TYPE_CHECKING, Final

from loadtest.latency import Latency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.server import Node
    from loadtest.swarm.control import Swarm

_US: Final = 1e6
_QUIET: Final = 0.5  # seconds until the last polls have been taken in
_TEXT: Final = "the quick brown fox"


class Room:
    """Publishes on the first of `nodes`; its cost is that of all of them.

    Or on all `publishers`, where these are no ring.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        swarm: Swarm,
        channel: str,
        publishers: Sequence[Node] = (),
    ) -> None:
        self.nodes = nodes
        self.swarm = swarm
        self.published = 0
        self._channel = channel
        self._publishers = publishers or nodes[:1]
        self.idle = 0.0  # cores, while nothing is published

    def publish(self, messages: int) -> None:
        """Publish one after the other, each when the last has reached everyone."""
        for _ in range(messages):
            self.published += 1
            self.swarm.expect(self.published)
            data = {"n": self.published, "sent_ns": monotonic_ns(), "text": _TEXT}
            for node in self._publishers:
                node.call("/api/publish", {"channel": self._channel, "data": data})
            self.swarm.wait_reached()
        sleep(_QUIET)

    def cpu(self) -> float:
        """CPU seconds of all the nodes so far."""
        return sum(node.cpu().total for node in self.nodes)

    def rest(self, seconds: float) -> float:
        """CPU, in cores, of nodes and sessions that only wait; `cost` then leaves it out."""
        return rest_together([self], seconds)[0]

    def cost(self, messages: int) -> float:
        """CPU of one delivery, over all nodes, in µs."""
        before, began = self.cpu(), monotonic()
        self.publish(messages)
        used = self.cpu() - before - self.idle * (monotonic() - began)
        return used / (messages * self.swarm.clients) * _US

    def check(self) -> Latency:
        """Every client has had every message once; the sampled ones in order. Their latencies."""
        counts = self.swarm.tell()
        if counts.faults:
            raise RuntimeError(f"subscribers were lost: {counts.faults[0]}")
        if not counts.fewest == counts.most == self.published:
            raise RuntimeError(
                f"{self.published} messages published, but clients have "
                f"{counts.fewest} to {counts.most}"
            )
        latency = Latency()
        latency.add_encoded(counts.latency)
        return latency


def rest_together(rooms: Sequence[Room], seconds: float) -> list[float]:
    """`Room.rest` of several at once: their CPU is counted apart."""
    before = [(room.cpu(), monotonic()) for room in rooms]
    sleep(seconds)
    for room, (used, began) in zip(rooms, before, strict=True):
        room.idle = (room.cpu() - used) / (monotonic() - began)
    return [room.idle for room in rooms]
