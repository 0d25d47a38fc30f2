"""The state directory: what a node keeps of itself between two lives.

Its id (dealt by the ring, and worth keeping) with its incarnation, and what it has
promised as a voter. A msgpack file each, replaced atomically: after a crash there
is the old one or the new. One process at a time has the directory.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from dht.ballots import Memory
from dht.ids import WireId, random_id
from node.cluster.codec import decode_stranger
from node.config import ConfigError
from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random
    from typing import TextIO

log = structlog.get_logger()

FILE_NAME: Final = "identity"
VOTES_NAME: Final = "votes"
LOCK_NAME: Final = "lock"
_FORMAT: Final = "cometring identity 1"
_VOTES_FORMAT: Final = "cometring votes 1"
_MOST_MEMBERS: Final = 100_000


class StateError(ConfigError):
    """The state directory cannot be used; the message says what to do."""


class Identity(msgspec.Struct, frozen=True):
    """Who this process is. `kept`: the id was dealt to it in an earlier life."""

    id: WireId
    incarnation: int
    kept: bool


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: str
    id: WireId
    incarnation: int


class _Votes(msgspec.Struct, frozen=True, array_like=True):
    format: str
    memory: Memory


def lock_directory(directory: Path) -> TextIO:
    """Make sure that no other process uses `directory`, as long as the answer is not closed.

    Two that shared it would vote twice with one voice. Raises StateError.
    """
    _require_writable(directory)
    path = directory / LOCK_NAME
    try:
        lock = path.open("w")
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StateError(msg) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        msg = f"the state directory {directory} is in use by another node: give each its own"
        raise StateError(msg) from None
    return lock


def load_identity(directory: Path | None, rng: Random) -> Identity:
    """The id kept in `directory`, or a drawn one; always a new incarnation.

    An incarnation is the time of the start in milliseconds, or one more than
    the last if the clock has gone back. Raises StateError.
    """
    incarnation = time.time_ns() // 1_000_000
    if directory is None:
        return Identity(random_id(rng), incarnation, kept=False)
    _require_writable(directory)
    path = directory / FILE_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Identity(random_id(rng), incarnation, kept=False)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise StateError(msg) from None
    try:
        kept = decode_stranger(data, _File)
    except RemoteProtocolError:
        kept = None
    if kept is None or kept.format != _FORMAT:
        msg = f"{path} is damaged or from another version: remove it to join as a new node"
        raise StateError(msg)
    return Identity(kept.id, max(incarnation, kept.incarnation + 1), kept=True)


def save_identity(directory: Path, identity: Identity) -> None:
    """Keep `identity` for the next life. Raises StateError."""
    path = directory / FILE_NAME
    data = msgspec.msgpack.encode(_File(_FORMAT, identity.id, identity.incarnation))
    try:
        _replace(path, data)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StateError(msg) from None


def load_votes(directory: Path) -> Memory | None:
    """What an earlier life promised as a voter; None: it never was in a ring. Raises StateError."""
    path = directory / VOTES_NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise StateError(msg) from None
    try:
        votes = decode_stranger(data, _Votes, max_items=_MOST_MEMBERS)
    except RemoteProtocolError:
        votes = None
    if votes is None or votes.format != _VOTES_FORMAT:
        msg = f"{path} is damaged or from another version: remove it, and this node has no vote"
        raise StateError(f"{msg} until the ring lets it in again")
    return votes.memory


def save_votes(directory: Path, memory: Memory) -> None:
    """Keep what this node has promised. Raises StateError."""
    path = directory / VOTES_NAME
    try:
        _replace(path, msgspec.msgpack.encode(_Votes(_VOTES_FORMAT, memory)))
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise StateError(msg) from None


def keep_identity(directory: Path | None, identity: Identity) -> None:
    """`save_identity`, if there is a directory; a failure is logged, for the ring goes on."""
    if directory is None:
        return
    try:
        save_identity(directory, identity)
    except StateError as error:
        log.error("identity_not_kept", error=str(error))  # noqa: TRY400 - it says all there is


def _require_writable(directory: Path) -> None:
    """Make `directory`; say at the start, not when the ring has formed, that it will not do."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the state directory {directory}: {error.strerror}"
        raise StateError(msg) from None
    if not os.access(directory, os.W_OK | os.X_OK):
        msg = f"the state directory {directory} is not writable"
        raise StateError(msg)


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new, whole."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
