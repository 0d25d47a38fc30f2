"""A message's way through the cluster, in the logs of the nodes that it passes.

A sample of all messages is followed (`--trace`, 0 to 1). Whether one is in the
sample is a function of its id alone, so all nodes follow the same ones, and
`grep` for the id over all logs gives the whole way: accepted, append sent and
received, copied to replicas, committed, sent down the tree, delivered. What a
message says is never logged, nor who a session is but by its public address.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from zlib import crc32

import structlog

from pubsub.messages import Append, Appended, Entries, Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import msgspec

    from dht.ids import NodeId
    from pubsub.messages import Entry

log = structlog.get_logger()

_ALL = 1 << 32
SHORT_ID = 8  # hex digits of a node's id: what other log lines show


class Tracer:
    """Writes a line for each step of a sampled message; falsy where nothing is sampled."""

    def __init__(self, rate: float = 0.0) -> None:
        """`rate`: the part of all messages that is followed, 0 to 1."""
        self._below = int(rate * _ALL)

    def __bool__(self) -> bool:
        return self._below > 0

    def follows(self, message_id: str) -> bool:
        """Whether this message is in the sample, on every node alike."""
        return crc32(message_id.encode("utf-8", "surrogateescape")) < self._below

    def accepted(
        self, topic: str, message_id: str, on_done: Callable[[Appended | Failed], None]
    ) -> Callable[[Appended | Failed], None]:
        """A client or the application has published here. Returns what to call with the outcome."""
        if not self._below or not self.follows(message_id):
            return on_done
        began = time.perf_counter()
        log.info("trace_accepted", message=message_id, topic=topic)

        def done(result: Appended | Failed) -> None:
            took = round((time.perf_counter() - began) * 1000, 3)
            if isinstance(result, Failed):
                log.info("trace_failed", message=message_id, code=result.code, ms=took)
            else:
                epoch, offset = result.cursor.epoch, result.cursor.offset
                log.info("trace_committed", message=message_id, epoch=epoch, offset=offset, ms=took)
            on_done(result)

        return done

    def crossed(self, direction: str, node: NodeId, message: msgspec.Struct) -> None:
        """A message between nodes, ``sent`` to or ``received`` from `node`."""
        if isinstance(message, Append):
            if self.follows(message.message_id):
                event = f"trace_append_{direction}"
                log.info(event, message=message.message_id, node=node.hex()[:SHORT_ID])
        elif isinstance(message, Entries):
            self._entries(f"trace_entries_{direction}", message.entries, node, message.depth)

    def _entries(self, event: str, entries: Iterable[Entry], node: NodeId, depth: int) -> None:
        for entry in entries:
            if self.follows(entry.message_id):
                log.info(event, message=entry.message_id, node=node.hex()[:SHORT_ID], depth=depth)

    def delivered(self, entries: Iterable[Entry], topic: str, readers: int) -> None:
        """Entries are written to so many readers of this node, who are level."""
        now = time.time()
        for entry in entries:
            if self.follows(entry.message_id):
                log.info(
                    "trace_delivered",
                    message=entry.message_id,
                    topic=topic,
                    epoch=entry.epoch,
                    offset=entry.offset,
                    readers=readers,
                    ms=round((now - entry.at) * 1000, 3),
                )
