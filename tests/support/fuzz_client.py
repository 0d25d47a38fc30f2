"""A hostile client: one connection at a time, seeded, with an opinion on every answer.

An attack either gets a clear error, or is cut off; an answer that blames the
server (500), a wrong success, or silence where an answer is due is `Misbehaved`.
"""

from __future__ import annotations

import json
import socket
import struct
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from cluster_process import API_KEY, HOST

if TYPE_CHECKING:
    from random import Random

PATIENCE = 5.0  # seconds within which a complete request must be answered
INTERNAL_ERROR = 500
Response = tuple[int, bytes]


class Misbehaved(AssertionError):
    """The node did not answer an attack as it should."""


class Wire:
    """One connection to a port of the node; `reset` or `close` ends it."""

    def __init__(self, port: int, source: str = HOST) -> None:
        """`source`: the address that it comes from."""
        self.sock = socket.create_connection((HOST, port), PATIENCE, (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send as much as the node will take before it hangs up."""
        with suppress(ConnectionError, TimeoutError):
            self.sock.sendall(data)

    def end(self) -> None:
        """Nothing more will come from us."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _more(self) -> bool:
        """Wait for more bytes; False at the end. Raises `Misbehaved` after `PATIENCE`."""
        try:
            data = self.sock.recv(65_536)
        except ConnectionError:
            return False
        except TimeoutError:
            raise Misbehaved(f"no answer in {PATIENCE:g} s, so far: {self._buffer!r}") from None
        self._buffer += data
        return bool(data)

    def rest(self) -> bytes:
        """Everything until the node closes."""
        while self._more():
            pass
        return self._buffer

    def bytes(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer if the node closes."""
        while len(self._buffer) < size and self._more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def response(self) -> Response | None:
        """Status and body of one response; None if the node closed instead.

        Raises `Misbehaved` for an answer that is not HTTP, or blames the server.
        """
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                if self._buffer:
                    raise Misbehaved(f"half an answer: {self._buffer[:200]!r}")
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        try:
            status = int(lines[0].split()[1])
        except (IndexError, ValueError):
            raise Misbehaved(f"not HTTP: {head[:200]!r}") from None
        if status == INTERNAL_ERROR:
            raise Misbehaved(f"500: {head!r} {self._buffer[:300]!r}")
        length = 0
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, self.bytes(length)


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A well-formed request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
    lines += [*headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def upgrade(rng: Random, *, version: str = "13", key: str | None = None) -> bytes:
    """A WebSocket handshake; `key` replaces the proper one."""
    if key is None:
        key = b64encode(rng.randbytes(16)).decode()
    return (
        f"GET /bayeux HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


class Fuzzer:
    """One node's three ports, a seeded source of mischief, and the checks on what comes back."""

    def __init__(self, rng: Random, client: int, peer: int, ops: int) -> None:
        self.rng = rng
        self.client = client
        self.peer = peer
        self.ops = ops

    # -- exchanges ------------------------------------------------------------------

    def ask(self, data: bytes, *, port: int = 0) -> Response | None:
        """Send one complete request; its answer, or None if the node hung up."""
        with Wire(port or self.client) as wire:
            wire.send(data)
            return wire.response()

    def refused(self, data: bytes, *, port: int = 0, end: bool = False) -> None:
        """The request must be answered with a 4xx, 501 or 505, or cut off."""
        with Wire(port or self.client) as wire:
            wire.send(data)
            if end:
                wire.end()
            answer = wire.response()
        if answer is not None and not (400 <= answer[0] < 500 or answer[0] in {501, 505}):
            raise Misbehaved(f"{data[:300]!r} was answered {answer}")

    def bayeux(self, wire: Wire, messages: Any) -> list[dict[str, Any]]:
        """POST messages on `wire`; the replies. Raises `Misbehaved` unless answered 200."""
        wire.send(post("/bayeux", json.dumps(messages).encode()))
        answer = wire.response()
        if answer is None or answer[0] != 200:
            raise Misbehaved(f"{messages!r} was answered {answer}")
        replies: list[dict[str, Any]] = json.loads(answer[1])
        return replies

    def handshake(self, wire: Wire) -> str:
        """A proper session; its id."""
        (reply,) = self.bayeux(
            wire,
            [
                {
                    "channel": "/meta/handshake",
                    "version": "1.0",
                    "supportedConnectionTypes": ["long-polling", "websocket"],
                    "id": "1",
                }
            ],
        )
        if not reply["successful"]:
            raise Misbehaved(f"a proper handshake was refused: {reply}")
        return str(reply["clientId"])

    def api(self, path: str, body: bytes, key: str | None = API_KEY) -> Response:
        """An application call. Raises `Misbehaved` if the node hung up."""
        headers = [] if key is None else [f"Authorization: Bearer {key}"]
        answer = self.ask(post(path, body, *headers))
        if answer is None:
            raise Misbehaved(f"{path} was cut off")
        return answer

    # -- material -------------------------------------------------------------------

    def noise(self, most: int = 2_000) -> bytes:
        """Random bytes, at least one."""
        return self.rng.randbytes(self.rng.randint(1, most))

    def word(self, most: int = 30) -> str:
        """Random printable text."""
        letters = "abcXYZ019-_.~!*'();:@&=+$,/?#[]% \\\"{}<>|^`äß漢"
        return "".join(self.rng.choices(letters, k=self.rng.randint(1, most)))

    def value(self, depth: int = 0) -> Any:
        """Random JSON."""
        kinds = 7 if depth < 4 else 5
        match self.rng.randrange(kinds):
            case 0:
                return self.rng.choice([None, True, False, "", 0, -1, 10**30, 1e308])
            case 1:
                return self.rng.randint(-(2**70), 2**70)
            case 2:
                return self.rng.random() * 10 ** self.rng.randint(-300, 300)
            case 3 | 4:
                return self.word()
            case 5:
                return [self.value(depth + 1) for _ in range(self.rng.randrange(5))]
            case _:
                return {self.word(): self.value(depth + 1) for _ in range(self.rng.randrange(5))}

    def mutated(self, data: bytes) -> bytes:
        """`data` with a few bytes changed, cut, doubled or put in."""
        out = bytearray(data)
        for _ in range(self.rng.randint(1, 4)):
            at = self.rng.randrange(len(out) + 1)
            match self.rng.randrange(5):
                case 0:
                    out[at : at + 1] = self.rng.randbytes(1)
                case 1:
                    del out[at : at + self.rng.randint(1, 20)]
                case 2:
                    out[at:at] = out[at : at + self.rng.randint(1, 40)]
                case 3:
                    out[at:at] = self.rng.choice(
                        [b"\r\n", b"\n", b"\0", b" ", b":", b"\xff", b"-", b"[" * 200, b'"']
                    )
                case _:
                    out[at:at] = self.noise(20)
        return bytes(out)

    def session_id(self) -> str:
        """An id that nobody was given: of the right form, or of any other."""
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        tag, secret = (
            "".join(self.rng.choices(letters, k=size)) for size in (self.rng.randint(1, 8), 22)
        )
        return self.rng.choice([f"{tag}.{secret}", tag, f"{tag}.", f".{secret}", self.word()])
