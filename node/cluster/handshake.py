"""How two nodes come to trust a connection. Sans-IO: frames in, frames out.

Both sides prove that they hold the cluster secret, and neither reveals it:

    dialler                              acceptor
    Greeting  magic, version, nonce  ->
                                     <-  Challenge  version, nonce
    Hello     who I am, proofs       ->
                                     <-  Welcome    who I am, verdict, proof
    confirm   an empty sealed frame  ->

A proof is a keyed hash over everything said before and the body beside it, with
the prover's role mixed in: nothing can be replayed (both nonces are in it) or
sent back to its author (the roles differ). Both sides derive one key for each
direction from the secret and the whole conversation, as HKDF does (RFC 5869,
with keyed BLAKE2b in HMAC's place). There is no forward secrecy, and frames are
not encrypted: the secret authenticates a private network.

During a rotation a node holds two secrets. A dialler proves that it knows each
of its own; the acceptor answers under the first that it knows too.

The link is open for the acceptor when `confirm` arrives and for the dialler when
it sends it, so of two nodes that dial each other at once the dialler of each
connection decides, without loss, whether that one is used.

Until a proof has been checked, the bytes of its body are not looked at.
"""

from __future__ import annotations

import hmac
from enum import Enum, auto
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, cast

import msgspec

from node.cluster.codec import decode_stranger, join_batch
from node.cluster.frames import Opener, Sealer, frame
from node.cluster.greetings import (
    MAGIC,
    NONCE_BYTES,
    WIRE_VERSION,
    Challenge,
    Greeting,
    GreetingFrame,
    Hello,
    Introduction,
    Refusal,
    Verdict,
    Welcome,
)
from node.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KEY_BYTES: Final = 32
MAX_PROOFS: Final = 4

__all__ = [
    "NONCE_BYTES",
    "Acceptor",
    "Dialler",
    "Handshake",
    "Introduction",
    "State",
    "Verdict",
]

_DIALLER: Final = b"cometring dialer"  # BLAKE2b personalisation: at most 16 bytes
_ACCEPTOR: Final = b"cometring accept"
_SESSION: Final = b"cometring keys"
_SECRET: Final = b"cometring secret"
_CONFIRM: Final = join_batch(())


class State(Enum):
    """Where a handshake stands."""

    NEW = auto()
    AWAIT_GREETING = auto()
    AWAIT_CHALLENGE = auto()
    AWAIT_HELLO = auto()
    AWAIT_WELCOME = auto()
    AWAIT_CONFIRM = auto()
    DECIDING = auto()
    """The dialler knows who answered, and opens the link or hangs up."""
    OPEN = auto()
    TURNED_AWAY = auto()
    """The dialler knows the secret, and has been told why there will be no link."""
    FAILED = auto()


class Handshake:
    """What both ends share. Feed frames to `receive` until `state` is OPEN or it raises."""

    _STEPS: dict[State, tuple[type[GreetingFrame], str, State]]
    """State -> the only frame that may come, its handler, and the state after it."""

    def __init__(self, me: Introduction, secrets: Sequence[bytes], nonce: bytes) -> None:
        """`secrets`: any bytes, best first; `nonce`: `NONCE_BYTES` never used before."""
        if not 0 < len(secrets) <= MAX_PROOFS or not all(secrets) or len(nonce) != NONCE_BYTES:
            msg = "a handshake needs one to four secrets and a nonce"
            raise LocalProtocolError(msg)
        self.state = State.NEW
        self.me = me
        self.peer: Introduction | None = None
        """Who is at the other end; only ever set from what a proof has vouched for."""
        self.farewell = b""
        """After a failure: a frame that tells the peer why, if it may know."""
        self._keys = [blake2b(s, digest_size=KEY_BYTES, person=_SECRET).digest() for s in secrets]
        self._key = b""
        self._nonce = nonce
        self._transcript = blake2b(digest_size=KEY_BYTES)
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None

    def receive(self, data: bytes) -> bytes:
        """Take one frame; the answer is bytes to send. Raises RemoteProtocolError.

        The error's `code` is the reason in one word: ``version``, ``secret``,
        ``malformed``, ``forged``, ``refused``.
        """
        try:
            return self._step(data)
        except RemoteProtocolError:
            self.state = State.FAILED
            raise

    def _step(self, data: bytes) -> bytes:
        if self.state not in self._STEPS:
            msg = f"a frame in state {self.state.name}"
            raise LocalProtocolError(msg)
        kind, handler, after = self._STEPS[self.state]
        message = decode_stranger(data, cast("type[GreetingFrame]", GreetingFrame))
        if not isinstance(message, kind):
            return self._unexpected(message)
        self.state = after
        answer: bytes = getattr(self, handler)(message, data)
        return answer

    def _unexpected(self, message: GreetingFrame) -> bytes:
        msg = f"{type(message).__name__} in state {self.state.name}"
        raise RemoteProtocolError(msg, code="malformed")

    def channel(self) -> tuple[Sealer, Opener]:
        """What seals and opens the frames of the open link."""
        if self.state is not State.OPEN or self._sealer is None or self._opener is None:
            msg = f"no channel in state {self.state.name}"
            raise LocalProtocolError(msg)
        return self._sealer, self._opener

    # -- keys ---------------------------------------------------------------------

    def _record(self, data: bytes) -> None:
        self._transcript.update(len(data).to_bytes(4, "big"))
        self._transcript.update(data)

    def _say(self, message: GreetingFrame) -> bytes:
        data = msgspec.msgpack.encode(message)
        self._record(data)
        return frame(data)

    def _proof(self, key: bytes, role: bytes, body: bytes) -> bytes:
        proof = blake2b(key=key, digest_size=KEY_BYTES, person=role)
        proof.update(self._transcript.digest())
        proof.update(body)
        return proof.digest()

    def _derive(self, mine: bytes, theirs: bytes) -> None:
        root = blake2b(
            self._transcript.digest(), key=self._key, digest_size=KEY_BYTES, person=_SESSION
        ).digest()
        self._sealer = Sealer(blake2b(key=root, digest_size=KEY_BYTES, person=mine).digest())
        self._opener = Opener(blake2b(key=root, digest_size=KEY_BYTES, person=theirs).digest())


class Dialler(Handshake):
    """The end that opened the connection."""

    _STEPS = {  # noqa: RUF012 - a table
        State.AWAIT_CHALLENGE: (Challenge, "_challenged", State.AWAIT_WELCOME),
        State.AWAIT_WELCOME: (Welcome, "_welcomed", State.DECIDING),
    }

    def start(self) -> bytes:
        """The first bytes to send."""
        self.state = State.AWAIT_CHALLENGE
        return self._say(Greeting(MAGIC, WIRE_VERSION, self._nonce))

    def _challenged(self, challenge: Challenge, data: bytes) -> bytes:
        if challenge.version != WIRE_VERSION or len(challenge.nonce) != NONCE_BYTES:
            raise RemoteProtocolError(_version_text(challenge.version), code="version")
        self._record(data)
        body = msgspec.msgpack.encode(self.me)
        proofs = tuple(self._proof(key, _DIALLER, body) for key in self._keys)
        return self._say(Hello(body, proofs))

    def _welcomed(self, welcome: Welcome, data: bytes) -> bytes:
        for key in self._keys:
            if hmac.compare_digest(self._proof(key, _ACCEPTOR, welcome.body), welcome.proof):
                self._key = key
                break
        else:
            msg = "the node that answered does not know the cluster secret"
            raise RemoteProtocolError(msg, code="secret")
        self.peer = decode_stranger(welcome.body, Introduction)
        self._record(data)
        self._derive(mine=_DIALLER, theirs=_ACCEPTOR)
        return b""

    def _unexpected(self, message: GreetingFrame) -> bytes:
        if isinstance(message, Refusal):
            if message.code == "version":
                raise RemoteProtocolError(_version_text(message.version), code="version")
            if message.code == "secret":
                msg = "the node that answered holds another cluster secret"
                raise RemoteProtocolError(msg, code="secret")
            msg = "the node that answered refused us, for a reason that this release does not know"
            raise RemoteProtocolError(msg, code="refused")
        return super()._unexpected(message)

    def confirm(self) -> bytes:
        """Open the link (the verdict must have been ACCEPTED); returns the bytes that say so."""
        if self.state is not State.DECIDING or self._sealer is None:
            msg = f"nothing to confirm in state {self.state.name}"
            raise LocalProtocolError(msg)
        self.state = State.OPEN
        return self._sealer.seal(_CONFIRM)


class Acceptor(Handshake):
    """The end that was connected to. `judge` rules on a dialler who knows the secret."""

    _STEPS = {  # noqa: RUF012 - a table
        State.AWAIT_GREETING: (Greeting, "_greeted", State.AWAIT_HELLO),
        State.AWAIT_HELLO: (Hello, "_introduced", State.AWAIT_CONFIRM),
    }

    def __init__(
        self,
        me: Introduction,
        secrets: Sequence[bytes],
        nonce: bytes,
        judge: Callable[[Introduction], Verdict],
    ) -> None:
        super().__init__(me, secrets, nonce)
        self.verdict: Verdict | None = None
        self._judge = judge
        self.state = State.AWAIT_GREETING

    def _step(self, data: bytes) -> bytes:
        if self.state is not State.AWAIT_CONFIRM or self._opener is None:
            return super()._step(data)
        if self._opener.open(data) != _CONFIRM:
            msg = "something else came where a link is confirmed"
            raise RemoteProtocolError(msg, code="malformed")
        self.state = State.OPEN
        return b""

    def _greeted(self, greeting: Greeting, data: bytes) -> bytes:
        if greeting.magic != MAGIC:
            msg = "not a greeting"
            raise RemoteProtocolError(msg, code="malformed")
        if greeting.version != WIRE_VERSION or len(greeting.nonce) != NONCE_BYTES:
            self._refuse("version")
            raise RemoteProtocolError(_version_text(greeting.version), code="version")
        self._record(data)
        return self._say(Challenge(WIRE_VERSION, self._nonce))

    def _introduced(self, hello: Hello, data: bytes) -> bytes:
        self._key = self._matching_key(hello)
        if not self._key:
            self._refuse("secret")
            msg = "the dialler does not know the cluster secret"
            raise RemoteProtocolError(msg, code="secret")
        self.peer = decode_stranger(hello.body, Introduction)
        self._record(data)
        self.verdict = self._judge(self.peer)
        body = msgspec.msgpack.encode(msgspec.structs.replace(self.me, verdict=self.verdict))
        answer = self._say(Welcome(body, self._proof(self._key, _ACCEPTOR, body)))
        if self.verdict is Verdict.ACCEPTED:
            self._derive(mine=_ACCEPTOR, theirs=_DIALLER)
        else:
            self.state = State.TURNED_AWAY
        return answer

    def _matching_key(self, hello: Hello) -> bytes:
        for key in self._keys:
            wanted = self._proof(key, _DIALLER, hello.body)
            if any(hmac.compare_digest(wanted, proof) for proof in hello.proofs[:MAX_PROOFS]):
                return key
        return b""

    def _refuse(self, code: str) -> None:
        self.farewell = frame(msgspec.msgpack.encode(Refusal(code, WIRE_VERSION)))


def _version_text(theirs: int) -> str:
    return (
        f"the other node speaks wire version {theirs}, this one {WIRE_VERSION}:"
        " nodes of one ring must speak the same"
    )
