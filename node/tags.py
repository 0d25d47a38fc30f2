"""A pool of tags whose slots this node is home to.

A session id starts with a tag, and its slot is the slot of the tag; minting
from this pool is what makes a session live where it connected (zero hops).
"""

from __future__ import annotations

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
_TRIES = 64 * 512  # bounds the search in a ring so large that few tags are ours
_SECRET_BYTES = 16  # 128 random bits


def random_tag() -> str:
    """Five random letters and digits."""
    return intern("".join(secrets.choice(_ALPHABET) for _ in range(_TAG_LENGTH)))


class TagPool:
    """Mints session ids. `serves(slot)` says whether this node is home and open."""

    def __init__(self, serves: Callable[[int], bool]) -> None:
        self._serves = serves
        self._tags: tuple[str, ...] = ()

    def refresh(self) -> None:
        """Deal a new pool; call whenever the slots of this node have changed."""
        tags: list[str] = []
        for _ in range(_TRIES):
            tag = random_tag()
            if self._serves(slot_of(tag)):
                tags.append(tag)
                if len(tags) == _POOL:
                    break
        self._tags = tuple(tags)

    def mint(self) -> str:
        """A new secret session id; homed elsewhere only where this node has no slots."""
        for _ in range(3):
            if not self._tags:
                break
            tag = secrets.choice(self._tags)
            if self._serves(slot_of(tag)):
                return session_id(tag, secrets.token_bytes(_SECRET_BYTES))
            self.refresh()
        return session_id(random_tag(), secrets.token_bytes(_SECRET_BYTES))
