"""Heads recognised by digest, so that a poll that repeats its head is not parsed.

A connection remembers its last `Head`; besides, the most recent ones of all
connections are kept here, for clients that come back on new connections and
for those that alternate between two heads. The digest is keyed with a secret
of this process, so nobody can prepare two heads with one digest.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from node.http.head import Head, Shape

DIGEST_BYTES: Final = 16
RECENT: Final = 1024  # heads a generation; two generations are kept


class HeadCache:
    """The recent heads of one listener, and the shapes that all its heads share."""

    def __init__(self, recent: int = RECENT) -> None:
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=DIGEST_BYTES)
        self._limit = recent
        self._young: dict[bytes, Head] = {}
        self._old: dict[bytes, Head] = {}
        self._shapes: dict[Shape, Shape] = {}

    def digest(self, head: bytes) -> bytes:
        """The keyed 16-byte digest of a head's bytes."""
        state = self._keyed.copy()
        state.update(head)
        return state.digest()

    def find(self, digest: bytes) -> Head | None:
        """A recent head with this digest."""
        head = self._young.get(digest)
        if head is None:
            head = self._old.get(digest)
            if head is not None:
                self._keep(head)
        return head

    def remember(self, head: Head) -> Head:
        """Keep `head` among the recent ones, if it may be kept at all.

        Returns the head to use: the same, with a shape that others have too.
        """
        if not head.digest:
            return head
        if len(self._shapes) >= self._limit:
            self._shapes.clear()  # (whoever has one goes on sharing it)
        shape = self._shapes.setdefault(head.shape, head.shape)
        if shape is not head.shape:
            head = msgspec.structs.replace(head, shape=shape)
        self._keep(head)
        return head

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def _keep(self, head: Head) -> None:
        if len(self._young) >= self._limit:
            self._old = self._young
            self._young = {}
        self._young[head.digest] = head
