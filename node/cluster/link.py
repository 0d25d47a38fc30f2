"""One open link: a reader, a writer, and an outbox with a bound.

Everything posted in one turn of the loop leaves as one frame. A peer that does
not read fills the outbox and loses the link: it must not eat this node's memory.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
import trio

from node.cluster.codec import LINK_MESSAGES, MAX_BATCH, decode_batch, join_batch
from node.cluster.frames import MAC_BYTES, MAX_FRAME
from node.cluster.messages import Bye, Ping, Pong
from node.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from node.cluster.codec import Message
    from node.cluster.frames import FrameBuffer, Opener, Sealer
    from node.cluster.greetings import Introduction
    from node.stats import Stats

log = structlog.get_logger()

OUTBOX_BYTES: Final = 64 << 20
"""Bytes that may wait for one peer. A hand-over of slots comes in one burst."""
READ_BYTES: Final = 65_536
FRAME_BYTES: Final = 256 << 10
"""A frame is closed when it has grown to this: the peer decodes it in one go."""
MAX_MESSAGE: Final = MAX_FRAME - MAC_BYTES - 8
STALLED_AFTER: Final = 10.0
"""Seconds in which the peer's kernel has to take one frame."""
SILENT_AFTER: Final = 3.0
"""Seconds without a byte, answers to pings included, after which nobody is there. Across a cut TCP
waits twice as long for each further try; a new connection finds out at once that it has healed."""
AWAY_AFTER: Final = 2.0
"""Seconds between two checks, after which it is this node that was away."""
LAST_WORDS_WITHIN: Final = 1.0
"""Seconds for a goodbye to get through before the connection is simply closed."""


class End(Enum):
    """How a link came to its end."""

    LOST = "lost"
    """EOF, a reset, or silence: the peer may be dead."""
    BYE = "bye"
    """The peer closed it on purpose."""
    OURS = "ours"
    """This node closed it on purpose."""
    FAULT = "fault"
    """The peer broke the protocol, or does not read."""
    REPLACED = "replaced"
    """A newer link to the same node has taken its place."""


class Link:
    """An authenticated connection to one node. `post` is all that others need.

    `preface`: bytes to send before everything else (a dialler's confirmation).
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        peer: Introduction,
        channel: tuple[Sealer, Opener],
        buffer: FrameBuffer,
        stats: Stats,
        *,
        dialled: bool,
        preface: bytes = b"",
        outbox_bytes: int = OUTBOX_BYTES,
    ) -> None:
        self.node = peer.id
        self.incarnation = peer.incarnation
        self.peer = peer.peer
        self.dialled = dialled
        self.rtt: float | None = None
        self.silent_after = SILENT_AFTER
        self.queued = 0
        self.end: End | None = None
        self.reason = ""
        self._stream = stream
        self._sealer, self._opener = channel
        self._buffer = buffer
        self._stats = stats
        self._preface = preface
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = outbox_bytes
        self._posted = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._writing_since: float | None = None
        self._heard_at = self._checked_at = trio.current_time()
        self._hanging_up = False
        self._goodbye: str | None = None  # the peer's
        buffer.limit = MAX_FRAME

    # -- for others ---------------------------------------------------------------

    def post(self, data: bytes) -> bool:
        """Queue one encoded message; False if the link is (or thereby comes) to its end."""
        if self.end is not None or self._hanging_up:
            return False
        if len(data) > MAX_MESSAGE:
            msg = f"a message of {len(data)} bytes for {self.node.hex()[:8]}"
            raise LocalProtocolError(msg)
        if self.queued + len(data) > self._outbox_bytes:
            self.close(End.FAULT, f"{self.queued} bytes wait for it and it does not read")
            return False
        if not self._outbox:
            self._posted.unpark()
        self._outbox.append(data)
        self.queued += len(data)
        return True

    def close(self, end: End, reason: str) -> None:
        """End the link now; what is queued is lost. The first end given counts."""
        if self.end is None:
            self.end, self.reason = end, reason
        self._scope.cancel()

    def hang_up(self, reason: str) -> None:
        """End the link politely: what is queued is sent, then a goodbye."""
        if self.end is not None or self._hanging_up:
            return
        if self.post(msgspec.msgpack.encode(Bye(reason))):
            self.end, self.reason = End.OURS, reason
            self._hanging_up = True
            self._scope.deadline = trio.current_time() + LAST_WORDS_WITHIN

    def check(self, now: float) -> None:
        """Every second or so: ask how far away the peer is, end a link that is stuck."""
        if now - self._checked_at > AWAY_AFTER:
            self._heard_at = now
        self._checked_at = now
        if self._writing_since is not None and now - self._writing_since > STALLED_AFTER:
            self.close(End.LOST, f"it has taken nothing for {STALLED_AFTER:.0f} s")
        elif now - self._heard_at > self.silent_after:
            self.close(End.LOST, f"it has said nothing for {self.silent_after:.0f} s")
        else:
            self.post(msgspec.msgpack.encode(Ping(now)))

    # -- the two tasks --------------------------------------------------------------

    async def run(self, receive: Callable[[Link, list[Message]], Awaitable[None]]) -> None:
        """Read and write until the link ends; then `end` and `reason` say how.

        `receive` gets the messages of each frame; the next frame waits for it.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(receive)
        finally:
            if self.end is None:
                self.end, self.reason = End.OURS, "cancelled"
            self._outbox.clear()
            self.queued = 0
            self._stream.socket.close()

    async def _read(self, receive: Callable[[Link, list[Message]], Awaitable[None]]) -> None:
        try:
            while True:
                # Frames may have come behind the one that opened the link.
                while (sealed := self._buffer.next_frame()) is not None:
                    messages = self._hear(decode_batch(self._opener.open(sealed)))
                    if messages and not self._hanging_up:
                        await receive(self, messages)
                    if self._goodbye is not None:
                        self.close(End.BYE, self._goodbye)
                        return
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    self.close(End.LOST, "it closed the connection")
                    return
                self._heard_at = trio.current_time()
                self._stats.link_bytes["in"] += len(data)
                self._buffer.feed(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close(End.LOST, "the connection was reset")
        except RemoteProtocolError as error:
            self._stats.link_refused[error.code] += 1
            log.warning("link_fault", node=self.node.hex(), peer=self.peer, error=str(error))
            self.close(End.FAULT, str(error))
        except Exception:
            # The boundary: whatever a bug here makes of one peer's message, the node lives.
            self._stats.link_refused["bug"] += 1
            log.exception("link_bug", node=self.node.hex(), peer=self.peer)
            self.close(End.FAULT, "this node failed on a message of its")

    def _hear(self, messages: list[Message]) -> list[Message]:
        """Keep for the link what is meant for it; the rest comes back."""
        if LINK_MESSAGES.isdisjoint(map(type, messages)):
            return messages
        rest: list[Message] = []
        for message in messages:
            match message:
                case Ping():
                    self.post(msgspec.msgpack.encode(Pong(message.sent)))
                case Pong():
                    self._measure(message.sent)
                case Bye():
                    self._goodbye = message.reason
                case _:
                    rest.append(message)
        return rest

    def _measure(self, sent: float) -> None:
        rtt = trio.current_time() - sent
        if 0 <= rtt < STALLED_AFTER * 10:  # NaN and nonsense are the peer's, not ours
            self.rtt = rtt
            self._stats.link_rtt_seconds.observe(rtt)

    async def _write(self) -> None:
        try:
            if self._preface:
                await self._stream.send_all(self._preface)
            while True:
                if not self._outbox:
                    if self._hanging_up:
                        await self._stream.send_eof()
                        return  # the reader waits for the peer to close, a second at most
                    await self._posted.park()
                    continue
                sealed = self._sealer.seal(join_batch(self._take()))
                self._writing_since = trio.current_time()
                await self._stream.send_all(sealed)
                self._writing_since = None
                self._stats.link_bytes["out"] += len(sealed)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.close(End.LOST, "the connection was reset")

    def _take(self) -> list[bytes]:
        """The messages of the next frame."""
        outbox = self._outbox
        batch = [outbox.popleft()]
        size = len(batch[0])
        while outbox and len(batch) < MAX_BATCH and size + len(outbox[0]) <= FRAME_BYTES:
            size += len(outbox[0])
            batch.append(outbox.popleft())
        self.queued -= size
        return batch
