"""WebSocket (RFC 6455) for clients: wsproto where it is needed, nothing while waiting."""

from node.websocket.connection import WebSocketConnection, WebSocketReceiver
from node.websocket.deflate import deflated_frame
from node.websocket.frames import CloseCode, text_frame
from node.websocket.settings import WebSocketSettings

__all__ = [
    "CloseCode",
    "WebSocketConnection",
    "WebSocketReceiver",
    "WebSocketSettings",
    "deflated_frame",
    "text_frame",
]
