"""Signatures; being filled in."""

from __future__ import annotations

from typing import Protocol

from node.connection import Connection


class WebSocketReceiver(Protocol):
    """What the protocol above gives to a WebSocket. Nothing here may wait."""

    def handle_text(self, ws: WebSocketConnection, text: bytes) -> None:
        """One whole message, valid UTF-8."""

    def connection_lost(self, ws: WebSocketConnection) -> None:
        """Called once when the connection is gone, or is about to be closed by either side.

        After `close()` or `close_with()` it comes in a later turn of the reactor.
        """

    def handle_writable(self, ws: WebSocketConnection) -> None:
        """A kept tail has drained."""


class WebSocketConnection(Connection):
    """A client's WebSocket after the handshake.

    Binary messages close it with 1003, unless the receiver has a method
    `handle_binary(ws, data)`.
    """

    __slots__ = ()

    def send_frame(self, frame: bytes) -> bool:
        """Send a prebuilt `text_frame`. As `send`; nothing after a close was begun."""
        raise NotImplementedError

    def send_text(self, text: bytes) -> bool:
        """Send a text message (UTF-8)."""
        raise NotImplementedError

    def close_with(self, code: int, reason: str = "") -> None:
        """Begin the close handshake; nothing is received or sent any more."""
        raise NotImplementedError
