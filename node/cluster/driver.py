"""`Cluster`: runs both engines and owns the links; all that the edge knows of the ring.

The engines are pure: this driver feeds them received messages, lost links and
the time, and performs the effects that they answer with, in order. What an
effect leads to (a callback that publishes again, say) queues behind the effects
already there, so a link never carries a consequence before its cause.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, cast

import msgspec
import structlog
import trio

from dht.effects import Departed, Dial, Hangup, IdentityDealt, Keep, Send, ViewInstalled
from dht.errors import RemoteProtocolError as RingProtocolError
from dht.view import MemberState
from node.cluster.alarm import Alarm, next_deadline
from node.cluster.codec import PUBSUB_MESSAGES, RING_MESSAGES, Encoder
from node.cluster.departure import Departure, Stage
from node.cluster.effects import EffectQueue
from node.cluster.greetings import Introduction
from node.cluster.keeping import Keeping, make_ring, silent_after
from node.cluster.peers import Peers
from node.cluster.recovery import recover
from node.cluster.requests import Requests
from node.cluster.ringwatch import RingWatch
from node.cluster.status import ClusterStatus, describe_links
from node.cluster.takeovers import TakeoverWatch
from node.cluster.turns import TurnEnds
from node.cluster.turnstile import BACKLOG
from node.errors import LocalProtocolError, RemoteProtocolError
from node.tracing import Tracer
from pubsub.effects import Answer, Deliver, ReleaseSession, Reset, SessionLost
from pubsub.engine import PubSubEngine
from pubsub.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.effects import Effect
    from dht.engine import RingEngine
    from dht.ids import NodeId
    from dht.messages import RingMessage
    from dht.placement import Placement
    from dht.view import View
    from node.cluster.codec import Message
    from node.cluster.link import Link
    from node.cluster.listener import ClusterListener
    from node.cluster.messages import NodeMessage
    from node.config import Config
    from node.stats import Stats
    from pubsub.messages import PubSubMessage

log = structlog.get_logger()

SLICE: Final = 0.005  # seconds of received messages before other tasks get a turn
LEAVE_WITHIN: Final = 5.0
"""Seconds for everything to be handed over; then the node goes anyway."""
PUBSUB_GRAIN: Final = 0.01
"""Seconds by which the pubsub engine's timers may be late; its shortest is five times that."""


class Cluster(Requests):
    """One node's place in the ring: `Requests` is what the edge asks of it, this runs it.

    `bind` opens the peer listener, `run` does the rest; `leave_ring` ends it.
    """

    def __init__(
        self,
        config: Config,
        stats: Stats,
        listener: ClusterListener,
        client_address: str | None = None,
        rng: random.Random | None = None,
        copies_of: Callable[[str], int] = lambda _channel: 0,
    ) -> None:
        """`client_address`: HOST:PORT where clients reach this node, if not what `config` says.

        `copies_of(channel)`: how many nodes have its messages before they are acknowledged; 0: all.
        Raises StateError if the state directory cannot be read.
        """
        super().__init__()
        self._config = config
        self._stats = stats
        self._listener = listener
        self._copies_of = copies_of
        self.tracer = Tracer(config.trace)
        self._client_address = client_address or config.client_address()
        self._rng = rng or random.SystemRandom()
        self._keeping = Keeping(config.state_dir, self._rng)
        self.me: NodeId = self._keeping.identity.id
        self.incarnation = self._keeping.identity.incarnation
        self.view: View | None = None
        self.placement: Placement | None = None
        self._ring: RingEngine | None = None
        self._peers: Peers | None = None
        self._sockets: list[trio.SocketListener] = []
        self._departure = Departure()
        self._encoder = Encoder()
        self._takeovers = TakeoverWatch(stats.takeover_seconds)
        self._watch = RingWatch(self._keeping.remembered)
        self._effects = EffectQueue(
            {
                Send: self._send,
                Deliver: self._deliver,
                Answer: self._settle,
                Reset: self._reset,
                ReleaseSession: lambda e: listener.on_release(e.address, e.generation),
                SessionLost: lambda e: listener.on_session_lost(e.address),
                Dial: lambda e: self._links.dial(e.address),
                Hangup: lambda e: self._links.hang_up(e.node, "the ring has no use for it"),
                ViewInstalled: self._install,
                IdentityDealt: self._take_identity,
                Keep: lambda e: self._keeping.keep_votes(e, self._kept),
                Departed: lambda _: self._departure.finish(),
            }
        )
        self._turns = TurnEnds(self._flush)
        self._linked: dict[NodeId, int] = {}  # the incarnations at the ends of links
        self._told = False  # the edge has been told something since the last on_batch_end
        self._ring_alarm = Alarm(lambda: next_deadline(self._ring), self._handle_ring)
        self._pubsub_alarm = Alarm(
            lambda: next_deadline(self._pubsub), self._handle_pubsub, PUBSUB_GRAIN
        )

    @property
    def _links(self) -> Peers:
        if self._peers is None:
            msg = "the peer listener is not open yet"
            raise LocalProtocolError(msg)
        return self._peers

    @property
    def ready(self) -> bool:
        """In the ring, and not on the way out."""
        if self._ring is None or self.view is None:
            return False
        mine = self.view.get(self.me)  # or a process that had the id before
        active = self._ring.me.state is MemberState.ACTIVE and mine == self._ring.me
        return active and self._departure.stage is Stage.STAYING

    def status(self) -> ClusterStatus:
        """What the ops pages and metrics show."""
        ring, pubsub, peers = self._ring, self._pubsub, self._peers
        return ClusterStatus(
            self.me,
            self.incarnation,
            ready=self.ready,
            draining=self._departure.stage is not Stage.STAYING,
            placement=self.placement,
            ring=ring.status() if ring else None,
            pubsub=pubsub.statistics(trio.current_time()) if pubsub else None,
            links=describe_links(peers.links.values() if peers else ()),
            strangers=peers.door.strangers if peers else 0,
        )

    # -- life --------------------------------------------------------------------------

    async def bind(self) -> None:
        """Open the peer listener. `run` calls it where nobody has.

        Raises OSError, and StateError if another process has the state directory.
        """
        config = self._config
        self._keeping.lock()
        self._sockets = await trio.open_tcp_listeners(
            config.peer.port, host=config.peer.host, backlog=BACKLOG
        )
        peer = config.peer_address(self._sockets[0].socket.getsockname()[1])
        self._ring = make_ring(config, self._keeping, peer, self._client_address, self._rng)
        introduction = Introduction(self.me, self.incarnation, peer)
        patience = silent_after(config)
        self._peers = Peers(introduction, config.secrets, self._stats, self, self._rng, patience)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve links and seek the ring until cancelled; started once links are accepted."""
        if self._ring is None or self._peers is None:
            await self.bind()
            await self.run(task_status=task_status)
            return
        if self._keeping.identity.kept:
            self._keeping.keep_id(self.me)  # with this life's incarnation
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._peers.run, self._sockets)
                self._act_ring(self._ring.start(trio.current_time()))
                nursery.start_soon(self._ring_alarm.run)
                nursery.start_soon(self._pubsub_alarm.run)
                nursery.start_soon(self._turns.run)
                nursery.start_soon(self._keeping.run, self._kept)
                task_status.started()
        finally:
            self._keeping.unlock()

    def announce_leaving(self) -> None:
        """Not ready any more, so that nobody new is sent here; all else goes on."""
        self._departure.announce()

    async def leave_ring(self) -> None:
        """Hand everything over, leave, and close all links; `LEAVE_WITHIN` and a second at most."""
        if self._ring is None or self._peers is None:
            return
        with trio.move_on_after(LEAVE_WITHIN) as patience:
            self._act_ring(self._departure.start(self._ring, trio.current_time()))
            await self._departure.wait_departed()
        if patience.cancelled_caught:
            log.warning("left_unfinished", stage=self._departure.stage.name.lower())
        await self._peers.close()

    def recover(self, proof: str) -> None:
        """Go on without the majority of voters that is lost. Raises RecoveryRefused."""
        situation, now = self.status().situation, trio.current_time()
        self._act_ring(recover(self._ring, proof, self._config.secrets, situation, now))
        log.error("ring_recovered", advice="an operator has given up a majority for lost")
        self._end_batch()

    def _handle_ring(self, now: float) -> None:
        if self._ring is not None:
            self._act_ring(self._ring.handle_timer(now))
            self._watch.look(self._ring, now)
            self._end_batch()

    def _handle_pubsub(self, now: float) -> None:
        if self._pubsub is not None:
            self._act_pubsub(self._pubsub.handle_timer(now))
            self._end_batch()

    # -- effects -----------------------------------------------------------------------

    def _act_ring(self, effects: list[Effect]) -> None:
        """Perform what the ring engine has answered."""
        self._perform(effects)
        self._ring_alarm.changed()

    def _act_pubsub(self, effects: list[Effect]) -> None:
        """Perform what the pubsub engine has answered."""
        self._perform(effects)
        if self._takeovers.waiting:
            self._takeovers.look(self.serving, trio.current_time())
        self._pubsub_alarm.changed()
        if self._pubsub is not None and self._pubsub.unflushed:
            self._turns.expect()

    def _flush(self) -> None:
        """The turn is over: what has gathered for other holders of slots goes out together."""
        if self._pubsub is not None and self._pubsub.unflushed:
            self._perform(self._pubsub.flush(trio.current_time()))

    def _perform(self, effects: list[Effect]) -> None:
        self._effects.perform(effects)
        if self._departure.stage is not Stage.STAYING and self._ring is not None:
            step = self._departure.proceed(self._ring, self._pubsub, trio.current_time())
            if step:
                self._act_ring(step)

    def _send(self, effect: Send) -> None:
        if self.tracer:
            self.tracer.crossed("sent", effect.to, effect.message)
        if not self._post(effect.to, effect.message):
            log.debug("dropped", to=effect.to.hex(), message=type(effect.message).__name__)

    def _post(self, to: NodeId, message: msgspec.Struct) -> bool:
        if to == self.me:
            msg = f"{type(message).__name__} for this node itself"
            raise LocalProtocolError(msg)
        member = self.view.get(to) if self.view is not None else None
        address = member.peer if member is not None else None
        return self._links.send(to, address, self._encoder.encode(message))

    def _install(self, effect: ViewInstalled) -> None:
        if self._ring is None or self._ring.placement is None:
            msg = "a view without a placement"
            raise LocalProtocolError(msg)
        self.view, self.placement = effect.view, self._ring.placement
        if not self._keeping.identity.kept and self.me in self.view:
            self._keeping.keep_id(self.me)  # a founder's is not dealt
        if self._pubsub is None:
            config = self._config
            silence = config.longest_pause + config.max_interval  # of a client that is there
            limits = Limits(
                patterns=config.max_patterns,
                total_log_bytes=config.max_log_bytes,
                orphan_seconds=max(Limits().orphan_seconds, silence),
            )
            # Not before: now its id is final.
            leased = self._ring.holds_lease
            self._pubsub = PubSubEngine(self.me, limits, leased, self._copies_of)
        now = trio.current_time()
        self._takeovers.begin(self.placement.slots_of(self.me), self._pubsub.serving, now)
        effects = self._pubsub.install_view(self.view, self.placement, now)
        self._told = True
        self._listener.on_view(self.view, self.placement)
        self._act_pubsub(effects)

    def _take_identity(self, effect: IdentityDealt) -> None:
        self.me = effect.id
        self._keeping.keep_id(self.me)
        self._links.rename(msgspec.structs.replace(self._links.pairing.me, id=effect.id))

    def _kept(self, serial: int) -> None:
        if self._ring is not None:
            self._act_ring(self._ring.kept(serial, trio.current_time()))

    def _deliver(self, effect: Deliver) -> None:
        self._told = True
        self._listener.on_deliver(effect.feed, effect.depth)

    def _reset(self, effect: Reset) -> None:
        self._told = True
        self._listener.on_reset(effect.feed)

    def _settle(self, effect: Answer) -> None:
        self._told = True
        self._answer(effect.request, effect.result)

    # -- what links report (node.cluster.peers.PeerEvents) --------------------------------

    def address_known(self, node: NodeId, peer: str, address: str | None) -> None:
        """See `PeerEvents`."""
        if self._ring is not None:
            self._act_ring(self._ring.link_opened(node, peer, trio.current_time(), address))
        self._end_batch()

    def link_opened(self, node: NodeId, peer: str, address: str | None) -> None:
        """See `PeerEvents`."""
        self._linked[node] = self._links.links[node].incarnation
        if self._pubsub is not None:
            self._act_pubsub(self._pubsub.link_opened(node, trio.current_time()))
        self.address_known(node, peer, address)

    def link_lost(self, node: NodeId) -> None:
        """See `PeerEvents`."""
        self._told = True
        if self._pubsub is not None:
            self._act_pubsub(self._pubsub.link_closed(node, trio.current_time()))
        self._listener.on_link_lost(node)
        self._end_batch()

    def link_closed(self, node: NodeId, *, refused: bool) -> None:
        """See `PeerEvents`."""
        incarnation = self._linked.pop(node, None)
        if refused and incarnation is not None and self._pubsub is not None:
            now = trio.current_time()
            self._act_pubsub(self._pubsub.process_ended(node, incarnation, now))
        if self._ring is not None:
            self._act_ring(self._ring.link_closed(node, refused, trio.current_time()))
        self._end_batch()

    def dial_failed(self, address: str, *, refused: bool) -> None:
        """See `PeerEvents`."""
        if self._pubsub is not None:
            self._act_pubsub(self._pubsub.dial_failed(address, refused, trio.current_time()))
        if self._ring is not None:
            self._act_ring(self._ring.dial_failed(address, refused, trio.current_time()))
        self._end_batch()

    async def receive(self, link: Link, messages: list[Message]) -> None:
        """Take the messages of one frame, in slices. Raises RemoteProtocolError."""
        started = now = trio.current_time()
        for message in messages:
            self._receive_one(link.node, message, now)
            now = trio.current_time()
            if now - started > SLICE:
                self._end_batch()
                await trio.lowlevel.checkpoint()
                if link.end is not None:
                    return
                started = now = trio.current_time()
        self._end_batch()

    def _receive_one(self, sender: NodeId, message: Message, now: float) -> None:
        kind = type(message)
        if kind in PUBSUB_MESSAGES:
            if self.tracer:
                self.tracer.crossed("received", sender, message)
            if self._pubsub is not None:
                self._act_pubsub(self._pubsub.receive(sender, cast("PubSubMessage", message), now))
        elif kind in RING_MESSAGES:
            if self._ring is not None:
                try:
                    effects = self._ring.receive(sender, cast("RingMessage", message), now)
                except RingProtocolError as error:
                    raise RemoteProtocolError(str(error), code="malformed") from error
                self._act_ring(effects)
        else:
            self._told = True
            self._listener.on_message(sender, cast("NodeMessage", message))

    def _end_batch(self) -> None:
        self._flush()
        if self._told and not self._effects.busy:
            self._told = False
            self._listener.on_batch_end()
