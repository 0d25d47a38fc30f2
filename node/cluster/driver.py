"""`Cluster`: runs both engines and owns the links; all that the edge knows of the ring.

The engines are pure: this driver feeds them received messages, lost links and
the time, and performs the effects that they answer with, in order. What an
effect leads to (a callback that publishes again, say) queues behind the effects
already there, so a link never carries a consequence before its cause.
"""

from __future__ import annotations

import random
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, TypeVar, cast

import structlog
import trio

from dht.effects import Departed, Dial, Effect, Hangup, IdentityDealt, Send, ViewInstalled
from dht.engine import RingEngine
from dht.errors import RemoteProtocolError as RingProtocolError
from dht.ids import slot_of
from dht.view import Member, MemberState
from node.cluster.codec import RING_MESSAGES, Encoder, is_node_message
from node.cluster.peers import Peers
from node.cluster.state import load_identity, save_identity
from node.cluster.status import ClusterStatus
from node.errors import LocalProtocolError, RemoteProtocolError
from pubsub.effects import Answer, Deliver, ReleaseSession, Reset, SessionLost
from pubsub.engine import PubSubEngine
from pubsub.errors import Code
from pubsub.messages import Appended, Failed, Joined, SessionDone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import msgspec

    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import View
    from node.cluster.listener import ClusterListener
    from node.cluster.messages import NodeMessage
    from node.config import Config
    from node.stats import Stats
    from pubsub.feed import Feed
    from pubsub.messages import Cursor, Record

    Cursors = tuple[tuple[str, Cursor], ...]

log = structlog.get_logger()

T = TypeVar("T")

SLICE = 0.005  # seconds of received messages before other tasks get a turn
LEAVE_WITHIN = 5.0  # seconds for everything to be handed over; then the node goes anyway


class Cluster:
    """One node's place in the ring.

    Methods that take `on_done` call it exactly once, in the trio thread: before
    they return where the answer is here, or later. Without a ring they answer
    ``Failed(UNAVAILABLE)``.
    """

    def __init__(
        self,
        config: Config,
        stats: Stats,
        listener: ClusterListener,
        client_address: str | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`client_address`: HOST:PORT where clients reach this node, if not what `config` says."""
        raise NotImplementedError

    me: NodeId
    incarnation: int
    view: View | None
    placement: Placement | None

    @property
    def ready(self) -> bool:
        """In the ring, and not on the way out."""
        raise NotImplementedError

    # -- publishing and reading -----------------------------------------------------

    def append(
        self,
        topic: str,
        payload: bytes,
        message_id: str,
        on_done: Callable[[Appended | Failed], None],
        client_id: bool = False,
    ) -> None: ...

    def join(
        self, topic: str, cursor: Cursor | None, on_done: Callable[[Joined | Failed], None]
    ) -> None: ...

    def leave(self, topic: str) -> None: ...

    def feed(self, topic: str) -> Feed | None: ...

    # -- session records ---------------------------------------------------------------

    def open_session(
        self, address: str, extra: bytes, on_done: Callable[[SessionDone | Failed], None]
    ) -> None: ...

    def update_session(
        self,
        address: str,
        generation: int,
        subscribe: Cursors,
        unsubscribe: tuple[str, ...],
        on_done: Callable[[SessionDone | Failed], None],
    ) -> None: ...

    def attach_session(
        self, address: str, on_done: Callable[[SessionDone | Failed], None]
    ) -> None: ...

    def close_session(self, address: str, generation: int) -> None: ...

    def consumed(self, address: str, generation: int, cursors: Cursors) -> None: ...

    def released(self, address: str, generation: int, cursors: Cursors) -> None: ...

    def record(self, address: str) -> Record | None: ...

    def serving(self, slot: int) -> bool: ...

    def serving_name(self, name: str) -> bool: ...

    # -- other nodes' edges ---------------------------------------------------------------

    def post(self, to: NodeId, message: NodeMessage) -> bool:
        """Send `message`; False: there is no link, and none can be had now."""
        raise NotImplementedError

    # -- life --------------------------------------------------------------------------------

    async def bind(self) -> None:
        """Open the peer listener. Raises OSError; `run` calls it where nobody has."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve links and seek the ring until cancelled; started once the listener is open."""

    async def leave_ring(self) -> None:
        """Hand everything over and leave; at most `LEAVE_WITHIN` seconds."""

    def status(self) -> ClusterStatus:
        """What the ops pages and metrics show."""
        raise NotImplementedError
