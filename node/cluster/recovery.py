"""`ring recover` from outside: who may ask for it, and how that is proven.

The ops listener is no place for a password, and not everyone who reaches it may
make a new ring. So the caller proves that it holds the cluster secret, by a keyed
hash over what the node tells of itself and its ring: the secret stays where it
is, and since recovering changes the view, a proof that was overheard is void.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from dht.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dht.effects import Effect
    from dht.engine import RingEngine

_SECRET: Final = b"cometring secret"
_RECOVER: Final = b"cometr. recovery"  # BLAKE2b personalisation: at most 16 bytes


class RecoveryRefused(Exception):
    """It is not done. `status` is HTTP's, `code` one word, the text a sentence."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class Situation(msgspec.Struct, frozen=True, array_like=True):
    """What a proof is bound to: a node, its process, and the view that it is on."""

    node: str  # hex
    incarnation: int
    ring: str  # hex; of a node that waits for a ring that it remembers, that ring
    view: int  # 0: none
    digest: str  # hex


def prove(secret: bytes, situation: Situation) -> str:
    """What shows, for this situation alone, that the caller knows `secret`."""
    key = blake2b(secret, digest_size=32, person=_SECRET).digest()
    return blake2b(msgspec.msgpack.encode(situation), key=key, person=_RECOVER).hexdigest()


def is_proven(proof: str, secrets: Iterable[bytes], situation: Situation) -> bool:
    """Whether `proof` was made under any of `secrets`."""
    given = proof.encode("utf-8", "replace")
    return any(hmac.compare_digest(prove(secret, situation).encode(), given) for secret in secrets)


def recover(
    ring: RingEngine | None,
    proof: str,
    secrets: Iterable[bytes],
    situation: Situation,
    now: float,
) -> list[Effect]:
    """What `ring` answers if the proof is good. Raises RecoveryRefused."""
    if ring is None or not is_proven(proof, secrets, situation):
        raise RecoveryRefused(401, "unauthorized", "prove that you know the cluster secret")
    try:
        return ring.recover(now)
    except LocalProtocolError as error:
        raise RecoveryRefused(409, "not_needed", str(error)) from error
