"""What a home to be asks of its peers, and asks again until it is answered.

Thousands of slots are asked for together: each peer gets one message for all
that it is asked at a time, over each new link once more, and again when it has
been silent for a while.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dht.effects import Send
from pubsub.slot_messages import Install, InstallGroup, Seal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dht.effects import Effect
    from dht.ids import NodeId
    from pubsub.core import Core
    from pubsub.opening import Opening
    from pubsub.slot_messages import Holders


class _Peer:
    """What one node is asked and has not answered."""

    __slots__ = ("install", "retry_at", "seal", "unsent")

    def __init__(self) -> None:
        self.seal: dict[int, None] = {}
        self.install: dict[int, None] = {}
        self.unsent: dict[int, None] = {}  # of both
        self.retry_at = inf


class Asking:
    """Seals and installs that are not answered. `openings`: the slots that they are for."""

    def __init__(self, core: Core, openings: Mapping[int, Opening]) -> None:
        self._core = core
        self._openings = openings
        self._peers: dict[NodeId, _Peer] = {}

    def __contains__(self, node: NodeId) -> bool:
        """Whether a peer is asked anything."""
        return node in self._peers

    # -- what is asked ------------------------------------------------------------

    def seal(self, opening: Opening, nodes: Iterable[NodeId]) -> None:
        """Have these say what they have, unless they were asked before."""
        for node in nodes:
            if node not in opening.asked and node != self._core.me:
                opening.asked.add(node)
                peer = self._peers.setdefault(node, _Peer())
                peer.seal[opening.number] = peer.unsent[opening.number] = None

    def install(self, opening: Opening) -> None:
        """Have all holders take the state; what anybody else has does not matter any more."""
        for node, _ in opening.holders:
            if node != self._core.me:
                opening.missing.add(node)
                peer = self._peers.setdefault(node, _Peer())
                peer.install[opening.number] = peer.unsent[opening.number] = None
        for peer in self._peers.values():
            peer.seal.pop(opening.number, None)

    def sealed(self, node: NodeId, number: int) -> None:
        self._peers[node].seal.pop(number, None)

    def installed(self, node: NodeId, number: int) -> None:
        self._peers[node].install.pop(number, None)

    def drop(self, number: int) -> None:
        """Nothing is asked of this slot any more."""
        for peer in self._peers.values():
            for asked in (peer.seal, peer.install, peer.unsent):
                asked.pop(number, None)

    def clear(self) -> None:
        self._peers.clear()

    # -- sending ------------------------------------------------------------------

    def post(self, now: float, out: list[Effect]) -> None:
        """Ask everybody what is to be asked of it and was not sent yet."""
        for node, peer in list(self._peers.items()):
            if not peer.seal and not peer.install:
                del self._peers[node]
            elif peer.unsent:
                self._send(node, peer, peer.unsent, now, out)

    def _send(
        self, node: NodeId, peer: _Peer, numbers: Iterable[int], now: float, out: list[Effect]
    ) -> None:
        seals: dict[int, dict[Holders, list[int]]] = {}
        installs: dict[int, dict[tuple[int, int, int, Holders], list[int]]] = {}
        for number in numbers:
            opening = self._openings.get(number)
            if opening is None:
                continue
            if number in peer.install and opening.reference is not None:
                state = (*opening.reference, opening.holders)
                installs.setdefault(opening.view, {}).setdefault(state, []).append(number)
            elif number in peer.seal:
                by_holders = seals.setdefault(opening.view, {})
                by_holders.setdefault(opening.holders, []).append(number)
        peer.unsent = {}
        peer.retry_at = now + self._core.limits.takeover_retry_seconds
        for view, by_holders in seals.items():
            groups = tuple((holders, tuple(each)) for holders, each in by_holders.items())
            out.append(Send(node, Seal(view, groups)))
        for view, by_state in installs.items():
            states = tuple(
                InstallGroup(epoch, seq, lineage, holders, tuple(each))
                for (epoch, seq, lineage, holders), each in by_state.items()
            )
            out.append(Send(node, Install(view, states)))

    def _repeat(self, node: NodeId, peer: _Peer, now: float, out: list[Effect]) -> None:
        self._send(node, peer, {**peer.seal, **peer.install}, now, out)

    # -- links and time -----------------------------------------------------------

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        """What was under way may be lost."""
        peer = self._peers.get(node)
        if peer is not None:
            self._repeat(node, peer, now, out)

    def next_deadline(self) -> float:
        return min((peer.retry_at for peer in self._peers.values()), default=inf)

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        """Ask again where no answer has come."""
        for node, peer in list(self._peers.items()):
            if peer.retry_at <= now:
                self._repeat(node, peer, now, out)
