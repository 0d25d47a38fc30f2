"""A pool of tags whose slots this node is home to.

A session id starts with a tag, and its slot is the slot of the tag; minting
from this pool is what makes a session live where it connected (zero hops).
"""

from __future__ import annotations

import random
import secrets
from sys import intern
from typing import TYPE_CHECKING

from dht.ids import slot_of
from pubsub.sessions import session_id

if TYPE_CHECKING:
    from collections.abc import Callable

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_TAG_LENGTH = 5  # 36**5 = 60 million tags: some 14,700 for each of 4,096 slots
_POOL = 64
_TRIES = 256  # tags tried for one session: under half a millisecond, whoever owns the slots
_SECRET_BYTES = 16  # 128 random bits


class TagPool:
    """Mints session ids. `serves(slot)` says whether this node is home and open.

    The pool fills as sessions are minted, a bounded number of tries at a time:
    a node that has no slots (yet), or one in a thousand, is not held up.
    """

    def __init__(self, serves: Callable[[int], bool]) -> None:
        self._serves = serves
        self._rng = random.Random(secrets.token_bytes(16))  # noqa: S311 - tags are no secrets
        self._tags: list[str] = []

    def _random_tag(self) -> str:
        return "".join(self._rng.choices(_ALPHABET, k=_TAG_LENGTH))

    def _fill(self) -> None:
        for _ in range(_TRIES):
            if len(self._tags) >= _POOL:
                return
            tag = self._random_tag()
            if self._serves(slot_of(tag)):
                self._tags.append(intern(tag))

    def mint(self) -> str:
        """A new secret session id; homed elsewhere only where no slot of ours was found."""
        if len(self._tags) < _POOL:
            self._fill()
        tag = self._pick()
        if tag is None:  # every tag of the pool had moved away
            self._fill()
            tag = self._pick() or self._random_tag()
        return session_id(tag, secrets.token_bytes(_SECRET_BYTES))

    def _pick(self) -> str | None:
        """Any tag of the pool that is still ours; those that are not go."""
        while self._tags:
            index = self._rng.randrange(len(self._tags))
            tag = self._tags[index]
            if self._serves(slot_of(tag)):
                return tag
            self._tags[index] = self._tags[-1]
            self._tags.pop()
        return None
