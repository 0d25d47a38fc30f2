"""python-socketio on uvicorn: `python socketio_asgi.py PORT`."""

from __future__ import annotations

import json
import sys
from typing import Any

import socketio
import uvicorn

server = socketio.AsyncServer(async_mode="asgi")
sockets = socketio.ASGIApp(server)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own
    """POST /publish to everybody; all else is Socket.IO's."""
    if scope["type"] != "http" or scope["path"] != "/publish":
        await sockets(scope, receive, send)
        return
    body = (await receive())["body"]
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})
    await server.emit("message", json.loads(body))


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        access_log=False,
        backlog=4096,
        timeout_keep_alive=600,
        ws_per_message_deflate=False,
    )
