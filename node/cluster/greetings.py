"""What two nodes say to each other before there is a link between them."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

import msgspec

from dht.ids import WireId

WIRE_VERSION: Final = 2
"""Raised when nodes of two releases could misunderstand each other."""
MAGIC: Final = "cometring"
NONCE_BYTES: Final = 32


class Verdict(IntEnum):
    """What the acceptor makes of a dialler who knows the secret."""

    ACCEPTED = 1
    DUPLICATE = 2
    """There is an open link already."""
    MYSELF = 3
    """The dialler has reached its own process."""
    SAME_ID = 4
    """Another live process uses the id (a copied state directory)."""


class Introduction(msgspec.Struct, frozen=True, array_like=True):
    """Who is at one end of a link."""

    id: WireId
    incarnation: int
    peer: str
    """HOST:PORT where other nodes reach it."""
    replace: bool = False
    """The dialler holds no link: if the acceptor thinks there is one, it is dead."""
    verdict: Verdict = Verdict.ACCEPTED


class Greeting(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The dialler's first frame. The first three elements never change their meaning."""

    magic: str
    version: int
    nonce: bytes = b""


class Challenge(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The acceptor's answer."""

    version: int
    nonce: bytes


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """An encoded `Introduction` and one proof for each secret that the dialler holds."""

    body: bytes
    proofs: tuple[bytes, ...]


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """An encoded `Introduction` and a proof under the secret that both hold."""

    body: bytes
    proof: bytes


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Acceptor -> dialler, unauthenticated: a hint for the log, nothing more."""

    code: str
    version: int


GreetingFrame: TypeAlias = Greeting | Challenge | Hello | Welcome | Refusal
