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
    """Publishes on the first of `nodes`; its cost is that of all of them."""

    def __init__(self, nodes: Sequence[Node], swarm: Swarm, channel: str) -> None:
        self.nodes = nodes
        self.swarm = swarm
        self.published = 0
        self._channel = channel
        self._idle = 0.0

    def publish(self, messages: int) -> None:
        """Publish one after the other, each when the last has reached everyone."""
        for _ in range(messages):
            self.published += 1
            self.swarm.expect(self.published)
            data = {"n": self.published, "sent_ns": monotonic_ns(), "text": _TEXT}
            self.nodes[0].call("/api/publish", {"channel": self._channel, "data": data})
            self.swarm.wait_reached()
        sleep(_QUIET)

    def _cpu(self) -> float:
        return sum(node.cpu().total for node in self.nodes)

    def rest(self, seconds: float) -> float:
        """CPU, in cores, of nodes and sessions that only wait; `cost` then leaves it out."""
        before, began = self._cpu(), monotonic()
        sleep(seconds)
        self._idle = (self._cpu() - before) / (monotonic() - began)
        return self._idle

    def cost(self, messages: int) -> float:
        """CPU of one delivery, over all nodes, in µs."""
        before, began = self._cpu(), monotonic()
        self.publish(messages)
        used = self._cpu() - before - self._idle * (monotonic() - began)
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
