"""The dialling side: one attempt at a time for each address, and what waits for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio

from node.cluster.dialling import Backoff, Outcome, reach
from node.cluster.door import AUTH_WITHIN
from node.cluster.handshake import Dialler
from node.cluster.opening import fresh_nonce, introduce
from node.cluster.pairing import Decision
from node.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from dht.ids import NodeId
    from node.cluster.frames import FrameBuffer
    from node.cluster.greetings import Introduction
    from node.cluster.link import Link
    from node.cluster.pairing import Pairing
    from node.cluster.refusals import Refusals

YIELD_WITHIN: Final = 1.0
"""Seconds in which a peer that dialled us has to confirm."""


class DialEvents(Protocol):
    """What dialling leads to."""

    def address_known(self, node: NodeId, peer: str, address: str | None) -> None: ...

    def link_lost(self, node: NodeId) -> None: ...

    def dial_failed(self, address: str, *, refused: bool) -> None: ...


class LinkMaker(Protocol):
    """Turns a confirmed connection into the link to its peer, and keeps that running."""

    def __call__(
        self, stream: trio.SocketStream, handshake: Dialler, buffer: FrameBuffer, address: str
    ) -> None: ...


class _Dial:
    """One address being dialled."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.replace = False
        self.reached: dict[NodeId, str] = {}  # and their advertised addresses
        self.yielded: set[NodeId] = set()
        self.linked = trio.Event()  # ... with one of those
        self.waiting: dict[NodeId, list[bytes]] = {}
        self.overflowed: set[NodeId] = set()
        self.queued = 0
        self.outcome = Outcome.FAILED
        self.done = trio.Event()


class Dials:
    """All dialling of one node."""

    def __init__(
        self,
        pairing: Pairing[Link],
        secrets: Sequence[bytes],
        refusals: Refusals,
        events: DialEvents,
        make_link: LinkMaker,
        rng: Random,
        outbox_bytes: int,
    ) -> None:
        """`outbox_bytes`: what may wait for one address."""
        self.backoff = Backoff(rng)
        self._pairing = pairing
        self._secrets = tuple(secrets)
        self._refusals = refusals
        self._events = events
        self._make_link = make_link
        self._rng = rng
        self._outbox_bytes = outbox_bytes
        self._dials: dict[str, _Dial] = {}
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Attempts are tasks of `nursery` from now on; without one nothing is dialled."""
        self._nursery = nursery

    def dial(self, address: str) -> None:
        """Reach whoever is at `address`; the events tell what came of it."""
        reached = self._dial(address).reached
        for node, peer in list(reached.items()):  # by an attempt that others keep going
            if node in self._pairing.links or node == self._pairing.me.id:
                self._events.address_known(node, peer, address)

    async def outcome(self, address: str) -> Outcome:
        """Dial `address` (or join an attempt under way) and wait for its end."""
        dial = self._dial(address)
        await dial.done.wait()
        return dial.outcome

    def post(self, to: NodeId, address: str, data: bytes) -> bool:
        """Keep `data` for `to`, and dial `address`. False: dropped, it is not the time."""
        dial = self._dials.get(address)
        if dial is None:
            if self._nursery is None or self.backoff.wait(address, trio.current_time()):
                return False
            dial = self._dial(address)
        if dial.queued + len(data) > self._outbox_bytes:
            if to not in dial.overflowed:
                dial.overflowed.add(to)
                self._events.link_lost(to)
            return False
        dial.queued += len(data)
        dial.waiting.setdefault(to, []).append(data)
        return True

    def linked(self, link: Link) -> None:
        """There is a link: send what has waited for it."""
        self.backoff.succeeded(link.peer)
        for dial in self._dials.values():
            for data in dial.waiting.pop(link.node, ()):
                link.post(data)
            if link.node in dial.yielded:
                dial.linked.set()

    # -- one attempt --------------------------------------------------------------------

    def _dial(self, address: str) -> _Dial:
        dial = self._dials.get(address)
        if dial is None:
            dial = self._dials[address] = _Dial(address)
            if self._nursery is None:
                msg = "dialling before `start`"
                raise LocalProtocolError(msg)
            self._nursery.start_soon(self._attempt, dial)
        return dial

    async def _attempt(self, dial: _Dial) -> None:
        greet = partial(self._greet, dial)
        try:
            dial.outcome = await reach(dial.address, greet, self._rng)
            if dial.outcome is Outcome.YIELDED:
                dial.outcome = await self._await_other(dial)
            if dial.outcome is Outcome.DUPLICATE:
                dial.replace = True
                dial.outcome = await reach(dial.address, greet, self._rng)
        finally:
            del self._dials[dial.address]
            dial.done.set()
        if dial.outcome is Outcome.OPENED:
            self.backoff.succeeded(dial.address)
        else:
            self.backoff.failed(dial.address, trio.current_time())
            refused = dial.outcome is Outcome.REFUSED
            self._events.dial_failed(dial.address, refused=refused)
        for node in dial.waiting:
            self._events.link_lost(node)

    async def _await_other(self, dial: _Dial) -> Outcome:
        """The peer's own connection to us is to be the link; it comes, or we insist on ours."""
        with trio.move_on_after(YIELD_WITHIN):
            await dial.linked.wait()
            return Outcome.OPENED
        return Outcome.DUPLICATE

    async def _greet(self, dial: _Dial, stream: trio.SocketStream) -> Outcome:
        """Shake hands with whoever answered, and make a link of it if that is to be."""
        me = self._pairing.me
        introduced = msgspec.structs.replace(me, replace=True) if dial.replace else me
        handshake = Dialler(introduced, self._secrets, fresh_nonce())
        decision: Decision | None = None
        try:
            with trio.fail_after(AUTH_WITHIN):
                buffer = await introduce(stream, handshake)
            if me is self._pairing.me and handshake.peer is not None:  # else we have a new id
                # No await from here on: what is decided is done.
                decision = self._pairing.decide(handshake.peer)
                if decision is Decision.CONFIRM:
                    self._make_link(stream, handshake, buffer, dial.address)
        except RemoteProtocolError as error:
            self._refusals.note(error.code, dial.address, str(error))
        except trio.TooSlowError:
            self._refusals.note("timeout", dial.address, "it did not finish the handshake in time")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._refusals.note("closed", dial.address, "the connection was reset")
        finally:
            if decision is not Decision.CONFIRM:
                stream.socket.close()
        return self._outcome_of(decision, dial, handshake.peer)

    def _outcome_of(
        self, decision: Decision | None, dial: _Dial, peer: Introduction | None
    ) -> Outcome:
        if decision is None or peer is None:
            return Outcome.FAILED
        match decision:
            case Decision.CONFIRM:
                dial.reached[peer.id] = peer.peer
                return Outcome.OPENED
            case Decision.KEEP | Decision.MYSELF:
                dial.reached[peer.id] = peer.peer
                self._events.address_known(peer.id, peer.peer, dial.address)
                return Outcome.OPENED
            case Decision.YIELD:
                dial.yielded.add(peer.id)
                return Outcome.YIELDED
            case Decision.REPLACE:
                return Outcome.FAILED if dial.replace else Outcome.DUPLICATE
            case Decision.SAME_ID:
                text = "it has this node's id, or finds that we have another's: see its log"
                self._refusals.note("same_id", dial.address, text)
                return Outcome.FAILED
