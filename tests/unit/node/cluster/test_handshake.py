from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from message_strategies import UNHURRIED
from node.cluster.frames import LENGTH_BYTES, MAX_GREETING
from node.cluster.greetings import (
    MAGIC,
    NONCE_BYTES,
    WIRE_VERSION,
    Challenge,
    Greeting,
    Hello,
    Introduction,
    Refusal,
    Verdict,
    Welcome,
)
from node.cluster.handshake import Acceptor, Dialler, Handshake, State
from node.errors import LocalProtocolError, RemoteProtocolError

SECRET, NEXT, WRONG = b"s" * 32, b"next secret, any length at all" * 5, b"w" * 32
ANNA = Introduction(b"a" * 20, 1, "10.0.0.1:7400")
BERT = Introduction(b"b" * 20, 2, "10.0.0.2:7400")
_nonces = itertools.count()


def nonce() -> bytes:
    return next(_nonces).to_bytes(NONCE_BYTES, "big")


def accept(_: Introduction) -> Verdict:
    return Verdict.ACCEPTED


def a_pair(
    dialler_has: tuple[bytes, ...] = (SECRET,), acceptor_has: tuple[bytes, ...] = (SECRET,)
) -> tuple[Dialler, Acceptor]:
    return Dialler(ANNA, dialler_has, nonce()), Acceptor(BERT, acceptor_has, nonce(), accept)


def body(data: bytes) -> bytes:
    """A frame without its length."""
    assert int.from_bytes(data[:LENGTH_BYTES], "big") == len(data) - LENGTH_BYTES <= MAX_GREETING
    return data[LENGTH_BYTES:]


def converse(dialler: Dialler, acceptor: Acceptor) -> None:
    challenge = acceptor.receive(body(dialler.start()))
    welcome = acceptor.receive(body(dialler.receive(body(challenge))))
    assert dialler.receive(body(welcome)) == b""


def open_both(dialler: Dialler, acceptor: Acceptor) -> None:
    converse(dialler, acceptor)
    assert acceptor.receive(body(dialler.confirm())) == b""
    assert dialler.state is acceptor.state is State.OPEN


def failure(handshake: Handshake, data: bytes) -> str:
    """Feed `data`; the word for why it was refused."""
    with pytest.raises(RemoteProtocolError) as caught:
        handshake.receive(data)
    assert handshake.state is State.FAILED
    with pytest.raises(LocalProtocolError):
        handshake.receive(data)
    return caught.value.code


def test_both_know_each_other_and_hold_matching_keys() -> None:
    dialler, acceptor = a_pair()
    open_both(dialler, acceptor)
    assert dialler.peer == BERT
    assert acceptor.peer == ANNA
    (seal_1, open_1), (seal_2, open_2) = dialler.channel(), acceptor.channel()
    for text in (b"one", b"two"):
        assert open_2.open(body(seal_1.seal(text))) == text
        assert open_1.open(body(seal_2.seal(text))) == text


def test_the_two_directions_have_different_keys() -> None:
    dialler, acceptor = a_pair()
    open_both(dialler, acceptor)
    acceptor_seal, acceptor_open = acceptor.channel()
    with pytest.raises(RemoteProtocolError):  # our own frame, sent back
        acceptor_open.open(body(acceptor_seal.seal(b"text")))


def test_two_conversations_have_different_keys() -> None:
    pairs = [a_pair() for _ in range(2)]
    for pair in pairs:
        open_both(*pair)
    sealed = pairs[0][0].channel()[0].seal(b"text")
    with pytest.raises(RemoteProtocolError):
        pairs[1][1].channel()[1].open(body(sealed))


@pytest.mark.parametrize(
    ("dialler_has", "acceptor_has"),
    [
        ((SECRET, NEXT), (SECRET,)),
        ((NEXT, SECRET), (SECRET,)),
        ((SECRET,), (SECRET, NEXT)),
        ((NEXT,), (SECRET, NEXT)),
        ((SECRET, NEXT), (NEXT, SECRET)),
        ((WRONG, NEXT), (SECRET, NEXT)),
    ],
)
def test_one_common_secret_is_enough(
    dialler_has: tuple[bytes, ...], acceptor_has: tuple[bytes, ...]
) -> None:
    open_both(*a_pair(dialler_has, acceptor_has))


def test_a_dialler_without_the_secret_is_told_and_learns_nothing() -> None:
    judged: list[Introduction] = []

    def judge(peer: Introduction) -> Verdict:
        judged.append(peer)
        return Verdict.ACCEPTED

    dialler, _ = a_pair((WRONG,))
    acceptor = Acceptor(BERT, (SECRET,), nonce(), judge)
    challenge = acceptor.receive(body(dialler.start()))
    hello = dialler.receive(body(challenge))
    assert failure(acceptor, body(hello)) == "secret"
    assert not judged
    assert acceptor.peer is None
    assert b"secret" in acceptor.farewell
    assert SECRET not in acceptor.farewell
    assert failure(dialler, body(acceptor.farewell)) == "secret"


def test_an_acceptor_without_the_secret_is_found_out() -> None:
    class Impostor(Acceptor):
        def _matching_key(self, hello: Hello) -> bytes:
            return WRONG

    dialler, impostor = a_pair()[0], Impostor(BERT, (SECRET,), nonce(), accept)
    challenge = impostor.receive(body(dialler.start()))
    welcome = impostor.receive(body(dialler.receive(body(challenge))))
    assert failure(dialler, body(welcome)) == "secret"
    assert dialler.peer is None


def test_another_wire_version_is_refused_to_both_in_words() -> None:
    dialler, acceptor = a_pair()
    dialler.start()
    old = msgspec.msgpack.encode(Greeting(MAGIC, WIRE_VERSION + 1, nonce()))
    words = f"wire version {WIRE_VERSION + 1}, this one {WIRE_VERSION}"
    with pytest.raises(RemoteProtocolError, match=words) as caught:
        acceptor.receive(old)
    assert caught.value.code == "version"
    with pytest.raises(
        RemoteProtocolError, match=f"version {WIRE_VERSION}, this one {WIRE_VERSION}"
    ):
        dialler.receive(body(acceptor.farewell))


def test_a_later_greeting_may_have_grown() -> None:
    _, acceptor = a_pair()
    grown = msgspec.msgpack.encode([1, MAGIC, 7])
    assert failure(acceptor, grown) == "version"
    _, acceptor = a_pair()
    grown = msgspec.msgpack.encode([1, MAGIC, WIRE_VERSION, nonce(), "and more", [1]])
    assert body(acceptor.receive(grown))


def test_a_challenge_of_another_version() -> None:
    dialler, _ = a_pair()
    dialler.start()
    assert failure(dialler, msgspec.msgpack.encode(Challenge(9, nonce()))) == "version"


@pytest.mark.parametrize("code", ["crowded", "version", "secret"])
def test_refusals_are_hints(code: str) -> None:
    dialler, _ = a_pair()
    dialler.start()
    expected = {"crowded": "refused"}.get(code, code)
    assert failure(dialler, msgspec.msgpack.encode(Refusal(code, WIRE_VERSION))) == expected


def test_nobody_refuses_an_acceptor() -> None:
    _, acceptor = a_pair()
    assert failure(acceptor, msgspec.msgpack.encode(Refusal("secret", 1))) == "malformed"


@pytest.mark.parametrize("verdict", [Verdict.DUPLICATE, Verdict.MYSELF, Verdict.SAME_ID])
def test_a_verdict_is_told_under_proof(verdict: Verdict) -> None:
    dialler = Dialler(ANNA, (SECRET,), nonce())
    acceptor = Acceptor(BERT, (SECRET,), nonce(), lambda _: verdict)
    converse(dialler, acceptor)
    assert acceptor.state is State.TURNED_AWAY
    assert dialler.peer is not None
    assert dialler.peer.verdict is verdict
    with pytest.raises(LocalProtocolError):
        acceptor.channel()


# -- attacks ----------------------------------------------------------------------------


def test_a_dialler_is_not_fooled_by_its_own_words() -> None:
    """Reflection: an attacker without the secret sends back what it is sent."""
    dialler, _ = a_pair()
    assert failure(dialler, body(dialler.start())) == "malformed"
    dialler, acceptor = a_pair()
    challenge = acceptor.receive(body(dialler.start()))
    hello = msgspec.msgpack.decode(body(dialler.receive(body(challenge))), type=Hello)
    reflected = msgspec.msgpack.encode(Welcome(hello.body, hello.proofs[0]))
    assert failure(dialler, reflected) == "secret"


def test_an_acceptor_is_not_fooled_by_its_own_proof() -> None:
    """Two conversations with one node, each used to answer the other."""
    dialler, acceptor = a_pair()
    converse_frames = acceptor.receive(body(dialler.start()))
    welcome = acceptor.receive(body(dialler.receive(body(converse_frames))))
    said = msgspec.msgpack.decode(body(welcome), type=Welcome)
    victim = Acceptor(BERT, (SECRET,), nonce(), accept)
    victim.receive(msgspec.msgpack.encode(Greeting(MAGIC, WIRE_VERSION, nonce())))
    assert failure(victim, msgspec.msgpack.encode(Hello(said.body, (said.proof,)))) == "secret"


def test_a_recorded_conversation_cannot_be_replayed() -> None:
    dialler, acceptor = a_pair()
    greeting = dialler.start()
    hello = dialler.receive(body(acceptor.receive(body(greeting))))
    acceptor.receive(body(hello))
    victim = Acceptor(BERT, (SECRET,), nonce(), accept)
    victim.receive(body(greeting))
    assert failure(victim, body(hello)) == "secret"


def test_an_introduction_cannot_be_exchanged() -> None:
    dialler, acceptor = a_pair()
    hello = dialler.receive(body(acceptor.receive(body(dialler.start()))))
    said = msgspec.msgpack.decode(body(hello), type=Hello)
    forged = Hello(msgspec.msgpack.encode(BERT), said.proofs)
    assert failure(acceptor, msgspec.msgpack.encode(forged)) == "secret"


def test_nothing_but_a_confirmation_opens_the_link() -> None:
    for forge in (lambda data: data[:-1], lambda _: b"", lambda data: data + b"x"):
        dialler, acceptor = a_pair()
        converse(dialler, acceptor)
        assert failure(acceptor, forge(body(dialler.confirm()))) == "forged"
    dialler, acceptor = a_pair()
    converse(dialler, acceptor)
    dialler.confirm()
    sealer, _ = dialler.channel()
    sealer._count = 0
    assert failure(acceptor, body(sealer.seal(b"\x91\xc0"))) == "malformed"


@UNHURRIED
@given(st.binary(max_size=200))
def test_noise_at_every_step(noise: bytes) -> None:
    for step in range(4):
        dialler, acceptor = a_pair()
        frames: list[tuple[Handshake, bytes]] = [(acceptor, body(dialler.start()))]
        for _ in range(step):
            side, data = frames[-1]
            other = dialler if side is acceptor else acceptor
            answer = side.receive(data) or dialler.confirm()
            frames.append((other, body(answer)))
        side, good = frames[-1]
        if noise == good:
            return
        before = side.peer
        with pytest.raises(RemoteProtocolError):
            side.receive(noise)
        assert side.peer == before
        assert side.state is State.FAILED


@UNHURRIED
@given(st.data())
def test_no_flipped_bit_goes_unnoticed(data: Any) -> None:
    dialler, acceptor = a_pair()
    victim = data.draw(st.integers(0, 3))

    def passed(index: int, frame: bytes) -> bytes:
        if index != victim:
            return frame
        damaged = bytearray(frame)
        damaged[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        return bytes(damaged)

    def converse_badly() -> None:
        challenge = acceptor.receive(passed(0, body(dialler.start())))
        hello = dialler.receive(passed(1, body(challenge)))
        welcome = acceptor.receive(passed(2, body(hello)))
        dialler.receive(passed(3, body(welcome)))

    with pytest.raises(RemoteProtocolError):
        converse_badly()


# -- our own mistakes ----------------------------------------------------------------------


@pytest.mark.parametrize("secrets", [(), (b"",), (SECRET,) * 5])
def test_secrets_are_needed(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(LocalProtocolError):
        Dialler(ANNA, secrets, nonce())


def test_a_short_nonce() -> None:
    with pytest.raises(LocalProtocolError):
        Dialler(ANNA, (SECRET,), b"short")


def test_calls_out_of_turn() -> None:
    dialler, acceptor = a_pair()
    for call in (lambda: dialler.receive(b""), dialler.confirm, dialler.channel, acceptor.channel):
        with pytest.raises(LocalProtocolError):
            call()


def test_the_longest_hello_is_a_greeting() -> None:
    wide = msgspec.structs.replace(ANNA, peer="h" * 290 + ":65535", incarnation=2**63)
    dialler = Dialler(wide, (SECRET, NEXT, WRONG, b"4"), nonce())
    open_both(dialler, Acceptor(wide, (b"4",), nonce(), accept))
