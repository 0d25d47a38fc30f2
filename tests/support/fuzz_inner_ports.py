"""Attacks on the peer and ops listeners: functions of a `Fuzzer`."""

from __future__ import annotations

from cluster_process import HOST
from fuzz_attacks import MALFORMED
from fuzz_client import Fuzzer, Misbehaved, Wire, post
from node.cluster.handshake import NONCE_BYTES, Dialler, Introduction
from node.errors import RemoteProtocolError

# -- peer listener --------------------------------------------------------------------------


def peer_garbage(fuzz: Fuzzer) -> None:
    with _dialled(fuzz) as wire:
        wire.send(fuzz.rng.choice([fuzz.noise(), post("/bayeux", b"[]")]))
        wire.end()
        wire.rest()


def peer_length_bomb(fuzz: Fuzzer) -> None:
    """A length over the limit is refused before its bytes come, without our hanging up."""
    with _dialled(fuzz) as wire:
        wire.send(fuzz.rng.randint(2_000, 2**32 - 1).to_bytes(4, "big") + fuzz.noise(200))
        wire.rest()


def peer_wrong_secret(fuzz: Fuzzer) -> None:
    dialler = _dialler(fuzz)
    with _dialled(fuzz) as wire:
        wire.send(dialler.start())
        wire.send(dialler.receive(_frame(wire)))
        try:
            dialler.receive(_frame(wire))
        except RemoteProtocolError as error:
            if error.code != "secret":
                raise Misbehaved(f"a wrong secret was refused as {error.code}: {error}") from error
        else:
            raise Misbehaved("a wrong secret was welcomed")
        wire.rest()


def peer_half_handshake(fuzz: Fuzzer) -> None:
    """A proper greeting, then mischief in place of the proof."""
    dialler = _dialler(fuzz)
    with _dialled(fuzz) as wire:
        wire.send(dialler.start())
        hello = dialler.receive(_frame(wire))
        if fuzz.rng.random() < 0.3:
            wire.reset()
            return
        wire.send(fuzz.rng.choice([fuzz.mutated(hello), dialler.start(), hello + fuzz.noise()]))
        wire.end()
        wire.rest()


def _dialled(fuzz: Fuzzer) -> Wire:
    """A connection from one of many hosts: one alone may not open them as fast as this does."""
    return Wire(fuzz.peer, f"127.{fuzz.rng.randint(1, 254)}.{fuzz.rng.randint(0, 255)}.1")


def _dialler(fuzz: Fuzzer) -> Dialler:
    rng = fuzz.rng
    me = Introduction(rng.randbytes(20), rng.randint(1, 9), f"{HOST}:{rng.randint(1, 65_535)}")
    return Dialler(me, [rng.randbytes(32)], rng.randbytes(NONCE_BYTES))


def _frame(wire: Wire) -> bytes:
    data = wire.bytes(int.from_bytes(wire.bytes(4), "big"))
    if not data:
        raise Misbehaved("the peer listener hung up in the middle of a proper handshake")
    return data


# -- ops listener -----------------------------------------------------------------------------


def ops_garbage(fuzz: Fuzzer) -> None:
    data = fuzz.rng.choice([fuzz.noise(), *MALFORMED, post("/metrics", b"x")])
    fuzz.refused(data, port=fuzz.ops, end=True)


def ops_unknown(fuzz: Fuzzer) -> None:
    path = fuzz.rng.choice(["/x", "/metrics/..", "/" + "y" * 5_000, "/api/publish", "/bayeux"])
    fuzz.refused(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), port=fuzz.ops)


INNER_ATTACKS = [
    peer_garbage, peer_length_bomb, peer_wrong_secret, peer_half_handshake,
    ops_garbage, ops_unknown,
]  # fmt: skip
