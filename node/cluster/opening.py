"""From a TCP connection to an authenticated one: handshakes over streams."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from node.cluster.frames import LENGTH_BYTES, MAX_GREETING, FrameBuffer
from node.cluster.greetings import NONCE_BYTES
from node.cluster.handshake import State
from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    import trio

    from node.cluster.handshake import Acceptor, Dialler

_ENDS = frozenset({State.OPEN, State.DECIDING, State.TURNED_AWAY})


def fresh_nonce() -> bytes:
    """Bytes that no handshake has used before."""
    return secrets.token_bytes(NONCE_BYTES)


def peer_name(stream: trio.SocketStream) -> str:
    """The other end's IP address and port, for the log."""
    try:
        host, port, *_ = stream.socket.getpeername()
    except OSError:
        return "a connection that is gone"
    return f"{host}:{port}"


async def admit(stream: trio.SocketStream, handshake: Acceptor) -> FrameBuffer:
    """Bring an accepted connection to OPEN, or to TURNED_AWAY.

    Returns the buffer with what the peer has sent behind its last frame. Raises
    RemoteProtocolError (the peer has been told, if it may know) and trio's
    BrokenResourceError.
    """
    buffer = FrameBuffer()
    try:
        await _exchange(stream, handshake, buffer)
    except RemoteProtocolError:
        if handshake.farewell:
            await stream.send_all(handshake.farewell)
            await stream.send_eof()
        raise
    return buffer


async def introduce(stream: trio.SocketStream, handshake: Dialler) -> FrameBuffer:
    """Bring a dialled connection to DECIDING. Raises as `admit` does."""
    buffer = FrameBuffer()
    await stream.send_all(handshake.start())
    await _exchange(stream, handshake, buffer)
    return buffer


async def _exchange(
    stream: trio.SocketStream, handshake: Acceptor | Dialler, buffer: FrameBuffer
) -> None:
    while True:
        while (data := buffer.next_frame()) is not None:
            answer = handshake.receive(data)
            if answer:
                await stream.send_all(answer)
            if handshake.state in _ENDS:
                return
        received = await stream.receive_some(MAX_GREETING + LENGTH_BYTES)
        if not received:
            msg = "it hung up before the end of the handshake"
            raise RemoteProtocolError(msg, code="closed")
        buffer.feed(received)
