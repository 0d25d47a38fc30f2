"""What of a node outlives its process: its id, and its word as a voter.

With a state directory both are written there. The id is written at once, and so
is the first word on a ring; later words are written by a thread, for a disk may
take its time and the loop must not wait for it: what has been promised is said
when it has been written, and never if it cannot be.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

import structlog
import trio

from dht.engine import RingEngine
from dht.settings import RingSettings
from dht.view import Member, MemberState
from node.cluster.link import SILENT_AFTER
from node.cluster.state import (
    Identity,
    StateError,
    keep_identity,
    load_identity,
    load_votes,
    lock_directory,
    save_votes,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random
    from typing import TextIO

    from dht.effects import Keep
    from dht.ids import NodeId
    from node.config import Config

log = structlog.get_logger()


def make_ring(config: Config, keeping: Keeping, peer: str, client: str, rng: Random) -> RingEngine:
    """The ring engine of a process that is reached at `peer` and `client` (HOST:PORT each)."""
    identity = keeping.identity
    me = Member(identity.id, identity.incarnation, peer, client, config.zone, MemberState.JOINING)
    return RingEngine(
        me,
        config.join,
        config.expect,
        rng,
        ring_settings(config),
        keeps_id=identity.kept,
        memory=keeping.memory,
        durable=keeping.durable,
    )


def ring_settings(config: Config) -> RingSettings:
    """The ring's times and bounds, where `config` has a say in them."""
    usual = RingSettings()
    return RingSettings(
        flat_limit=config.flat_limit,
        suspect_after=config.suspect_after,
        # Who is new to an observer is not to have less time than who is known to it.
        grace=max(usual.grace, config.suspect_after),
    )


def silent_after(config: Config) -> float:
    """Seconds of silence that end a link: who may hang for long and stay is to keep its links."""
    return max(SILENT_AFTER, 2 * config.suspect_after)


class Keeping:
    """The state directory of one process, if it has one. Raises StateError if it will not do."""

    def __init__(self, directory: Path | None, rng: Random) -> None:
        self._directory = directory
        self._lock: TextIO | None = None
        self.identity = load_identity(directory, rng)
        self.memory = load_votes(directory) if directory is not None else None
        self._unwritten: Keep | None = None
        self._writing = Lock()
        self._written = 0  # the latest effect that has been written
        self._wake = trio.Event()

    @property
    def durable(self) -> bool:
        """Whether anything is kept."""
        return self._directory is not None

    @property
    def remembered(self) -> bytes:
        """The ring that this node was in when it was last heard of; empty for none."""
        return self.memory.ring if self.memory is not None else b""

    def lock(self) -> None:
        """Have the directory for this process alone, until it ends or `unlock`s."""
        if self._directory is not None:
            self._lock = lock_directory(self._directory)

    def unlock(self) -> None:
        """Let another process have the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def keep_id(self, node: NodeId) -> None:
        """Be `node` from now on; the next life's incarnation will be greater than this one's."""
        self.identity = Identity(node, self.identity.incarnation, kept=True)
        keep_identity(self._directory, self.identity)

    def keep_votes(self, effect: Keep, on_kept: Callable[[int], None]) -> None:
        """Do as `effect` says; `on_kept` is called with its number, or `run` will call its own."""
        if self._directory is None:
            return
        if effect.first:
            self._unwritten = None  # what came before is part of this
            if self._save(self._directory, effect):
                on_kept(effect.serial)
            return
        self._unwritten = effect
        self._wake.set()

    async def run(self, on_kept: Callable[[int], None]) -> None:
        """Write what `keep_votes` has left, until cancelled. Of several only the latest."""
        directory = self._directory
        if directory is None:
            return
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            effect, self._unwritten = self._unwritten, None
            if effect is None:
                continue
            if await trio.to_thread.run_sync(self._save, directory, effect):
                on_kept(effect.serial)

    def _save(self, directory: Path, effect: Keep) -> bool:
        """Write it, unless the loop and the thread have overtaken each other and a later one is."""
        with self._writing:
            if effect.serial <= self._written:
                return True
            if not self._write(directory, effect):
                return False
            self._written = effect.serial
            return True

    def _write(self, directory: Path, effect: Keep) -> bool:
        try:
            save_votes(directory, effect.memory)
        except StateError as error:
            log.error(  # noqa: TRY400 - it says all there is
                "vote_not_kept",
                error=str(error),
                consequence="this node does not vote: mend its state directory",
            )
            return False
        return True
