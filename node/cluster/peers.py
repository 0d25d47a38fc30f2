"""All links of one node: dialled on demand, let in at the door, one for each pair.

`node.cluster.pairing` has the rules; this is the driver that connects, retries,
keeps what waits for a link, and finds out whether a peer that hung up is gone.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

from node.cluster.dialling import Outcome
from node.cluster.dials import Dials
from node.cluster.door import Door
from node.cluster.link import OUTBOX_BYTES, SILENT_AFTER, End, Link
from node.cluster.pairing import Pairing
from node.cluster.refusals import Refusals
from node.cluster.turnstile import Turnstile
from node.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from dht.ids import NodeId
    from node.cluster.codec import Message
    from node.cluster.frames import FrameBuffer
    from node.cluster.greetings import Introduction
    from node.cluster.handshake import Dialler, Handshake
    from node.stats import Stats

log = structlog.get_logger()

CHECK_EVERY: Final = 1.0
"""Seconds between two pings on a link."""
PROBE_WITHIN: Final = 0.5
"""Seconds for finding out whether a peer that hung up is gone."""
_PROBE_PAUSES: Final = (0.0, 0.05, 0.15)  # a dying process may close its listener last


class PeerEvents(Protocol):
    """What `Peers` reports. Sync, except for received messages."""

    def link_opened(self, node: NodeId, peer: str, address: str | None) -> None:
        """A link to `node`, which advertises `peer`; `address` is what was dialled, if we did."""

    def address_known(self, node: NodeId, peer: str, address: str | None) -> None:
        """What was dialled leads to a node that is linked already, or to this one itself."""

    def link_lost(self, node: NodeId) -> None:
        """What was sent to `node` of late may not have arrived."""

    def link_closed(self, node: NodeId, *, refused: bool) -> None:
        """After `link_lost`, when it is known whether the peer's process is gone."""

    def dial_failed(self, address: str, *, refused: bool) -> None:
        """Nobody to link with at `address`."""

    async def receive(self, link: Link, messages: list[Message]) -> None:
        """The messages of one frame. May raise RemoteProtocolError to end the link."""


class Peers:
    """The links of the node that `me` introduces."""

    def __init__(
        self,
        me: Introduction,
        secrets: Sequence[bytes],
        stats: Stats,
        events: PeerEvents,
        rng: Random,
        silent_after: float = SILENT_AFTER,
        outbox_bytes: int = OUTBOX_BYTES,
    ) -> None:
        """`silent_after`: seconds of silence that end a link."""
        self.pairing: Pairing[Link] = Pairing(me)
        self._stats = stats
        self._events = events
        self._rng = rng
        self._outbox_bytes = outbox_bytes
        self._silent_after = silent_after
        self._refusals = Refusals(stats)
        self.door = Door(self.pairing, secrets, self._refusals)
        self._dials = Dials(
            self.pairing, secrets, self._refusals, events, self._open_dialled, rng, outbox_bytes
        )
        self._probing: dict[NodeId, Link] = {}
        self._running: set[Link] = set()
        self._closed = False
        self._quiet = trio.Event()  # set when the last link has closed

    @property
    def links(self) -> dict[NodeId, Link]:
        """The open links."""
        return self.pairing.links

    # -- for the driver ---------------------------------------------------------------

    def send(self, to: NodeId, address: str | None, data: bytes) -> bool:
        """Post to `to`, dialling `address` where there is no link.

        False: dropped. True is no promise, but `link_lost` follows if it was lost.
        """
        link = self.links.get(to)
        if link is not None:
            return link.post(data)
        if self._closed:
            return False
        return address is not None and self._dials.post(to, address, data)

    def dial(self, address: str) -> None:
        """Open a link to whoever is at `address`; reports `link_opened` or `dial_failed`."""
        if not self._closed:
            self._dials.dial(address)

    def hang_up(self, node: NodeId, reason: str) -> None:
        """Close the link to `node` politely."""
        link = self.links.get(node)
        if link is not None:
            link.hang_up(reason)
            self._report_end(link, refused=False)

    def rename(self, me: Introduction) -> None:
        """From now on `me` introduces this node. All links close, without a report."""
        self.pairing.me = me
        links = list(self.links.values())
        self.links.clear()
        self._probing.clear()
        for link in links:
            link.hang_up("it has a new id")
        self.door.turn_all_out()

    async def close(self) -> None:
        """Say goodbye on all links, and open no others; returns when they are closed.

        That takes a second at most.
        """
        self._closed = True
        links = list(self.links.values())
        self.links.clear()
        for link in links:
            link.hang_up("it has left the ring")
        if self._running:
            self._quiet = trio.Event()
            await self._quiet.wait()

    async def run(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and keep links until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._dials.start(nursery)
            accept = partial(trio.serve_listeners, self._accept, handler_nursery=nursery)
            nursery.start_soon(accept, [Turnstile(each, self._refusals) for each in listeners])
            task_status.started()
            while True:
                await trio.sleep(CHECK_EVERY * self._rng.uniform(0.8, 1.2))
                now = trio.current_time()
                self._dials.backoff.forget_old(now)
                for link in list(self.links.values()):
                    link.check(now)

    # -- opening ------------------------------------------------------------------------

    async def _accept(self, stream: trio.SocketStream) -> None:
        if self._closed:
            return
        link = await self.door.admit(stream, partial(self._open, stream))
        if link is not None:
            await self._keep(link)

    def _open(
        self,
        stream: trio.SocketStream,
        handshake: Handshake,
        buffer: FrameBuffer,
        address: str | None = None,
        preface: bytes = b"",
    ) -> Link:
        """The connection is confirmed: it is the link to its peer from now on."""
        if handshake.peer is None:
            msg = "a link to nobody"
            raise LocalProtocolError(msg)
        link = Link(
            stream,
            handshake.peer,
            handshake.channel(),
            buffer,
            self._stats,
            dialled=address is not None,
            preface=preface,
            outbox_bytes=self._outbox_bytes,
        )
        link.silent_after = self._silent_after
        old = self.links.get(link.node)
        if old is not None:
            old.close(End.REPLACED, "a newer link has taken its place")
            self._report_end(old, refused=link.incarnation > old.incarnation)
        probed = self._probing.pop(link.node, None)
        if probed is not None:
            gone = link.incarnation > probed.incarnation
            self._events.link_closed(link.node, refused=gone)
        self.links[link.node] = link
        self._running.add(link)
        log.info("link_opened", node=link.node.hex(), peer=link.peer, dialled=link.dialled)
        self._dials.linked(link)
        self._events.link_opened(link.node, link.peer, address)
        return link

    def _open_dialled(
        self, stream: trio.SocketStream, handshake: Dialler, buffer: FrameBuffer, address: str
    ) -> None:
        preface = handshake.confirm()
        link = self._open(stream, handshake, buffer, address, preface)
        if self._nursery is not None:
            self._nursery.start_soon(self._keep, link)

    async def _keep(self, link: Link) -> None:
        """Run `link` to its end, and report that."""
        try:
            await link.run(self._events.receive)
        finally:
            self._running.discard(link)
            if not self._running:
                self._quiet.set()
        log.info(
            "link_closed",
            node=link.node.hex(),
            peer=link.peer,
            end=link.end and link.end.value,
            reason=link.reason,
        )
        if self.links.get(link.node) is link:
            if link.end is End.LOST:
                await self._probe(link)
            else:
                self._report_end(link, refused=False)

    def _report_end(self, link: Link, *, refused: bool) -> None:
        del self.links[link.node]
        self._events.link_lost(link.node)
        self._events.link_closed(link.node, refused=refused)

    async def _probe(self, link: Link) -> None:
        """The peer hung up without a word: dial it at once, to learn whether it is gone."""
        del self.links[link.node]
        self._probing[link.node] = link
        self._events.link_lost(link.node)
        outcome = Outcome.FAILED
        with trio.move_on_after(PROBE_WITHIN):
            for pause in _PROBE_PAUSES:
                await trio.sleep(pause)
                if self._probing.get(link.node) is not link:
                    return  # there is a new link, and it has reported the old one's end
                outcome = await self._dials.outcome(link.peer)
                if outcome in {Outcome.REFUSED, Outcome.OPENED}:
                    break
        if self._probing.get(link.node) is link:
            del self._probing[link.node]
            # An open link, and yet not to this node: another process has its address.
            gone = outcome in {Outcome.REFUSED, Outcome.OPENED}
            self._events.link_closed(link.node, refused=gone)
