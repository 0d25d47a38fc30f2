"""Composition root: builds one node, starts it in nesting order, and stops it in reverse.

Links and the ring are outermost (they must outlive what uses them), then
timers and the reactor, then the acceptor.
"""

from __future__ import annotations

import gc
import random
import signal
from typing import TYPE_CHECKING

import structlog
import trio

from node.acceptor import OVERLOADED, Acceptor, open_listeners
from node.api.application import Application
from node.api.keys import read_keys
from node.bayeux.binding import read_mark
from node.bayeux.event_source import EventSources
from node.bayeux.extensions.loading import load_pipeline
from node.bayeux.http import HttpTransports
from node.bayeux.protocol import Protocol
from node.bayeux.relay import Relays
from node.bayeux.sessions import Sessions
from node.bayeux.websocket import BayeuxWebSocket
from node.channel_metrics import ChannelCollector
from node.cluster.census import gone
from node.cluster.driver import Cluster
from node.config import ConfigError
from node.console.console import Console
from node.console.messages import Survey, SurveyAsk
from node.console.sight import Sight
from node.drain import Drain
from node.http import HttpService, HttpSettings
from node.http.origins import Origins
from node.identity.gate import Gate
from node.identity.tokens import read_tokens
from node.ops import OpsServer
from node.process_watch import watch_collector
from node.reactor import Reactor
from node.request_log import RequestLog
from node.router import Router, route_of
from node.rules import Rules
from node.rules_file import read_rules
from node.shedding import PERIOD
from node.sse.handler import EventReaders
from node.stats import Stats
from node.tags import TagPool
from node.tls import Certificates, TlsListener
from node.websocket.settings import WebSocketSettings

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import View
    from node.cluster.messages import NodeMessage
    from node.config import Config
    from pubsub.feed import Feed

log = structlog.get_logger()

CONSUMED_EVERY = 0.2  # seconds a home may be behind on what clients have been served
# (and seconds by which lazy messages may be late)
POSITIONS_EVERY = 1.0  # seconds that a resumed reader of several channels may have to read again


class Node:
    """One node's parts. Implements `node.cluster.driver.ClusterListener`."""

    def __init__(self, config: Config, client_address: str) -> None:
        self.config = config
        self.stats = Stats()
        self._view: View | None = None  # the last that was told
        self.rules = Rules(read_rules(config), demo=config.demo)
        self.cluster = Cluster(
            config,
            self.stats,
            self,
            client_address,
            copies_of=lambda channel: self.rules.of(channel).replicas,
        )
        pipeline = load_pipeline(config)
        self.sessions = Sessions(self.cluster, config, self.stats, self.rules, pipeline.finish)
        self.tags = TagPool(self.cluster.serving)
        self.gate = Gate(config, read_tokens(config))
        self.protocol = Protocol(
            self.cluster, self.sessions, self.tags, config, self.stats, pipeline, self.gate
        )
        self.application = Application(
            self.cluster,
            self.stats,
            self.protocol.message_id,
            pipeline.deliver,
            self.rules,
            read_keys(config),
        )
        self.relays = Relays(self.cluster, self.sessions, self.protocol, self.stats)
        sight = Sight(self.cluster, self.stats, self.sessions.hub, self.sessions.get)
        self.console = Console(self.cluster, sight)
        self.reactor = Reactor(self.stats, self.sessions.hub.end_of_turn, config.max_partial_bytes)
        origins = Origins(config.allowed_origins, self.stats.refused)
        self.websockets = BayeuxWebSocket(
            self.protocol, self.sessions, self.relays, self.stats, origins
        )
        self.http = HttpService(
            self.reactor,
            Router(
                self.cluster,
                HttpTransports(
                    self.protocol,
                    self.sessions,
                    self.relays,
                    EventSources(self.sessions, self.relays),
                    origins,
                ),
                self.websockets,
                EventReaders(self.sessions, self.relays, self.tags, origins, self.gate, self.stats),
                self.application,
                self.sessions,
                self.relays,
                demo=config.demo,
            ),
            self.stats,
            HttpSettings(
                max_body=config.max_message_size,
                keep_alive=config.keep_alive,
                mark_of=read_mark,
                forwarded=bool(config.trusted_proxies and config.address_rate),
                websocket=WebSocketSettings(
                    max_message=config.max_message_size, deflate=config.websocket_deflate
                ),
            ),
            route_of,
            origins.lines,
            # (which requests are in a sample is no secret)
            RequestLog(config.log_requests, random.Random()) if config.log_requests else None,  # noqa: S311
        )
        self.accept: Callable[[socket.socket], None] = self.http.accept
        self.certificates: Certificates | None = None
        if config.tls_cert is not None and config.tls_key is not None:
            self.certificates = Certificates(config.tls_cert, config.tls_key, self.stats)
            self.accept = TlsListener(self.reactor, self.certificates, self.http.adopt).accept

    # -- what the cluster tells ---------------------------------------------------

    def on_view(self, view: View, placement: Placement) -> None:
        self.stats.members_gone.update(gone(self._view, view))
        self._view = view
        log.info(
            "view",
            number=view.number,
            ring=view.ring.hex()[:8],
            digest=view.digest.hex()[:8],
            members=len(view.members),
            homes=len(placement.view.active),
        )
        self.relays.install_view(view)
        self.sessions.unsettle()

    def on_deliver(self, feed: Feed, depth: int) -> None:
        self.sessions.on_deliver(feed, depth)
        self.reactor.wake()

    def on_reset(self, feed: Feed) -> None:
        self.sessions.hub.reset(feed)
        self.reactor.wake()

    def on_release(self, address: str, generation: int) -> None:
        self.sessions.release(address, generation)

    def on_session_lost(self, address: str) -> None:
        self.sessions.lost(address)

    def on_message(self, sender: NodeId, message: NodeMessage) -> None:
        if isinstance(message, (SurveyAsk, Survey)):
            self.console.receive(sender, message)
        else:
            self.relays.receive(sender, message)

    def on_link_lost(self, node: NodeId) -> None:
        self.relays.link_lost(node)

    def on_batch_end(self) -> None:
        self.reactor.wake()

    # -- chores ---------------------------------------------------------------------

    async def tell_consumed(self) -> None:
        while True:
            await trio.sleep(CONSUMED_EVERY)
            self.sessions.hub.tell_consumed()
            if self.sessions.hub.flush_lazy(trio.current_time()):
                self.reactor.wake()

    async def flush_batched(self) -> None:
        hub = self.sessions.hub
        while True:
            await hub.batched.wait_due()
            if hub.flush_batched(trio.current_time()):
                self.reactor.wake()

    async def watch_load(self) -> None:
        """Look at how late the loop is, and put off what can wait."""
        shedding, stats = self.sessions.shedding, self.stats
        while True:
            await trio.sleep(PERIOD)
            await trio.lowlevel.checkpoint()  # after a stall: who measures it is due as well
            lag, stats.recent_lag = stats.recent_lag, 0.0
            stats.lag = lag
            if shedding.observe(lag, trio.current_time()):
                stats.shed_interval = shedding.interval
                log.warning(
                    "load_shedding",
                    lag=round(lag, 3),
                    interval=shedding.interval,
                    refusing=shedding.refusing,
                )

    async def tell_positions(self) -> None:
        while True:
            await trio.sleep(POSITIONS_EVERY)
            if self.sessions.hub.tell_positions():
                self.reactor.wake()

    async def reload(self) -> None:
        """Read certificate, channel rules and API keys again; what is no good changes nothing."""
        if self.certificates is not None:
            await self.certificates.reload()
        try:
            rules = await trio.to_thread.run_sync(read_rules, self.config)
            keys = await trio.to_thread.run_sync(read_keys, self.config)
            tokens = await trio.to_thread.run_sync(read_tokens, self.config)
        except ConfigError as error:
            log.warning("settings_refused", error=str(error), using="those before")
            return
        self.rules.replace(rules)
        self.sessions.hub.rules_changed()
        self.reactor.wake()
        self.application.keys = keys
        self.gate.tokens = tokens
        log.info("settings_loaded", channel_rules=len(rules), api_keys=len(keys))


async def serve(config: Config) -> None:
    """Run one node until SIGTERM or SIGINT, then leave the ring politely.

    Raises OSError where a listener cannot be opened, ConfigError where the
    state directory or the certificate will not do.
    """
    host, port = config.client
    listeners = await open_listeners(host, port, reuse_port=config.reuse_port)
    client_address = config.client_address(listeners[0].getsockname()[1])
    node = Node(config, client_address)
    channels = ChannelCollector(node.stats, node.sessions.hub.topics, config.channel_metrics)
    ops = OpsServer(
        config.ops, node.cluster, node.stats, collectors=(channels,), console=node.console
    )
    refusal = OVERLOADED if node.certificates is None else b""
    acceptor = Acceptor(listeners, node.accept, lambda: node.reactor.connections, refusal=refusal)
    await node.cluster.bind()
    async with trio.open_nursery() as nursery:
        await nursery.start(ops.run)
        nursery.start_soon(node.console.run)
        await nursery.start(node.cluster.run)
        await nursery.start(node.relays.run)
        await nursery.start(node.reactor.run)
        nursery.start_soon(node.sessions.wheel.run)
        nursery.start_soon(node.tell_consumed)
        nursery.start_soon(node.flush_batched)
        nursery.start_soon(node.tell_positions)
        nursery.start_soon(node.watch_load)
        nursery.start_soon(watch_collector, node.stats)
        if node.certificates is not None:
            nursery.start_soon(node.certificates.watch)
        await nursery.start(acceptor.run)
        # What is alive now stays; a full collection need not look at it again and again.
        gc.collect()
        gc.freeze()
        log.info(
            "serving",
            client=client_address,
            peer=config.peer_address(),
            ops=str(config.ops),
            node=node.cluster.me.hex()[:8],
        )
        number = await _until_told(node)
        node.cluster.announce_leaving()
        await trio.sleep(config.drain_delay if number == signal.SIGTERM else 0.0)
        with trio.move_on_after(config.drain_grace):
            await Drain(node, acceptor, random.SystemRandom()).run()
        nursery.cancel_scope.cancel()
    log.info("left")


async def _until_told(node: Node) -> int:
    """Wait for SIGTERM or SIGINT, and say which; SIGHUP reloads what can be, if anything."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if node.config.reloads:
        numbers.append(signal.SIGHUP)
    with trio.open_signal_receiver(*numbers) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                await node.reload()
                continue
            log.info("leaving", signal=signal.Signals(number).name)
            return number
    raise AssertionError("signals ended")
