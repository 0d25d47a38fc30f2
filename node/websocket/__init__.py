"""WebSocket (RFC 6455) for clients: wsproto where it is needed, nothing while waiting."""

from node.websocket.connection import WebSocketConnection, WebSocketReceiver
from node.websocket.frames import CloseCode, text_frame

__all__ = ["CloseCode", "WebSocketConnection", "WebSocketReceiver", "text_frame"]
