"""Heads recognised by digest, so that a poll that repeats its head is not parsed.

A connection remembers its last `Head`; besides, the most recent ones of all
connections are kept here, for clients that come back on new connections and
for those that alternate between two heads. The digest is keyed with a secret
of this process, so nobody can prepare two heads with one digest.

The digits of `Content-Length` are left out of the digest, for a client's bodies
differ where its heads do not. They are then read from the head at hand, which is
otherwise byte for byte one that h11 has taken, and that names no other length.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.http.head import Head, Shape

DIGEST_BYTES: Final = 16
_LENGTH: Final = b"\r\nContent-Length: "
_MAX_DIGITS: Final = 12
_NO_LENGTH: Final = -1
RECENT: Final = 1024  # heads a generation; two generations are kept


class HeadCache:
    """The recent heads of one listener, and the shapes that all its heads share."""

    def __init__(
        self, recent: int = RECENT, mark_of: Callable[[Head], bytes] | None = None
    ) -> None:
        """`mark_of(head)`: what is kept of a head's cookie, instead of that."""
        self._mark_of = mark_of
        # Two keys, so that no whole head is ever taken for one whose digits were left out.
        self._keyed = blake2b(key=secrets.token_bytes(32), digest_size=DIGEST_BYTES)
        self._sized = blake2b(key=secrets.token_bytes(32), digest_size=DIGEST_BYTES)
        self._limit = recent
        self._young: dict[bytes, Head] = {}
        self._old: dict[bytes, Head] = {}
        self._shapes: dict[Shape, Shape] = {}

    def digest(self, head: bytes) -> bytes:
        """The keyed 16-byte digest of a head's bytes."""
        state = self._keyed.copy()
        state.update(head)
        return state.digest()

    def mark(self, head: bytes) -> tuple[bytes, int]:
        """A digest of a head but for its body's length, and that; the whole digest and -1."""
        start = head.find(_LENGTH) + len(_LENGTH)
        if start >= len(_LENGTH):
            stop = head.find(b"\r\n", start)
            digits = head[start:stop]
            if digits.isdigit() and len(digits) <= _MAX_DIGITS:
                state = self._sized.copy()
                state.update(head[:start])
                state.update(head[stop:])
                return state.digest(), int(digits)
        return self.digest(head), _NO_LENGTH

    def fitted(self, head: Head, length: int) -> Head:
        """`head` with the body's length that `mark` has told."""
        shape = head.shape
        if length in {_NO_LENGTH, shape.content_length}:
            return head
        return self._with_shape(head, msgspec.structs.replace(shape, content_length=length))

    def find(self, digest: bytes) -> Head | None:
        """A recent head with this digest."""
        head = self._young.get(digest)
        if head is None:
            head = self._old.get(digest)
            if head is not None:
                self._keep(head)
        return head

    def remember(self, head: Head) -> Head:
        """Keep `head` among the recent ones, if it may be kept by others than its connection.

        Returns the head to use: the same, with a shape that others have too.
        """
        if not head.digest or head.private:
            return head
        head = self._with_shape(head, head.shape)
        if self._mark_of is not None:
            head = msgspec.structs.replace(head, cookie="", mark=self._mark_of(head))
        self._keep(head)
        return head

    def _with_shape(self, head: Head, shape: Shape) -> Head:
        """`head` with an equal of `shape` that others have too, unless that is a secret."""
        if head.private:
            return msgspec.structs.replace(head, shape=shape)
        if len(self._shapes) >= self._limit:
            self._shapes.clear()  # (whoever has one goes on sharing it)
        shape = self._shapes.setdefault(shape, shape)
        return head if shape is head.shape else msgspec.structs.replace(head, shape=shape)

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def _keep(self, head: Head) -> None:
        if len(self._young) >= self._limit:
            self._old = self._young
            self._young = {}
        self._young[head.digest] = head
