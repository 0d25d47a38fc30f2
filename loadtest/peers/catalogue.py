"""The peers: how each is started, how it is published to, and what its clients say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from loadtest.peers import install

CHANNEL: Final = "/bench/room"
_SUBSCRIBE: Final = '{"subs":{"bench":{}}}'
_JAVA: Final = ("-Xms64m", "-Xmx2g", "-cp")

Command = Callable[[Path, int], list[str]]
"""The command line, from a scratch folder and a port. Raises `NotInstalled`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server to compare with.

    `transports` maps what its clients use to the fields of an `Open` order.
    `publish_path` takes a POST with a message, which `wrap` dresses.
    """

    name: str
    command: Command
    transports: dict[str, dict[str, Any]]
    publish_path: str = "/publish"
    wrap: Callable[[bytes], bytes] = bytes
    worker: bool = False  # its first child does the work


def _node(script: str) -> Command:
    def command(_folder: Path, port: int) -> list[str]:
        return [install.program("node", "nodejs"), str(install.npm() / script), str(port)]

    return command


def _python(script: str) -> Command:
    def command(_folder: Path, port: int) -> list[str]:
        home = install.python()
        return [str(home / "venv/bin/python"), str(home / script), str(port)]

    return command


def _java(name: str) -> Command:
    def command(_folder: Path, port: int) -> list[str]:
        home = install.java()
        path = f"{home}/classes:{home}/jars/*"
        return [install.program("java", "default-jdk-headless"), *_JAVA, path, name, str(port)]

    return command


def _nginx(folder: Path, port: int) -> list[str]:
    module = install.nchan()
    text = (install.SOURCES / "nginx.conf").read_text("utf-8")
    for mark, value in (("@PORT@", port), ("@FOLDER@", folder), ("@MODULE@", module)):
        text = text.replace(mark, str(value))
    config = folder / "nginx.conf"
    config.write_text(text, "utf-8")
    return [install.program("nginx", "nginx"), "-c", str(config), "-p", str(folder)]


def _centrifugo(folder: Path, port: int) -> list[str]:
    config = {
        "http_server": {"address": "127.0.0.1", "port": port},
        "http_api": {"insecure": True},
        "client": {"insecure": True, "allowed_origins": ["*"]},
        "uni_sse": {"enabled": True},
        "log": {"level": "none"},
    }
    file = folder / "centrifugo.json"
    file.write_text(json.dumps(config), "utf-8")
    return [str(install.centrifugo()), "--config", str(file)]


_ENGINE: Final = "/socket.io/?EIO=4&transport="
_SOCKET_IO: Final[dict[str, dict[str, Any]]] = {
    "websocket": {
        "transport": "frames",
        "path": f"{_ENGINE}websocket",
        "dialogue": ["40"],
        "heartbeat": ("2", "3"),
    },
    "long-polling": {"transport": "engine-polling", "path": f"{_ENGINE}polling"},
}


def _bayeux(path: str, *transports: str) -> dict[str, dict[str, Any]]:
    return {name: {"transport": name, "path": path, "channel": CHANNEL} for name in transports}


PEERS: Final = (
    Peer(
        "nginx + nchan",
        _nginx,
        {
            "websocket": {"transport": "frames", "path": "/ws"},
            "sse": {"transport": "sse", "path": "/sse"},
            "long-polling": {"transport": "poll", "path": "/poll", "conditional": True},
        },
        worker=True,
    ),
    Peer("Node ws", _node("ws.js"), {"websocket": {"transport": "frames", "path": "/"}}),
    Peer("Socket.IO", _node("socketio.js"), _SOCKET_IO),
    Peer("Faye", _node("faye.js"), _bayeux("/bayeux", "websocket", "long-polling")),
    Peer(
        "CometD on Jetty",
        _java("CometdPeer"),
        _bayeux("/cometd", "websocket", "long-polling"),
    ),
    Peer(
        "Centrifugo",
        _centrifugo,
        {
            "websocket": {
                "transport": "frames",
                "path": "/connection/websocket",
                "dialogue": [
                    '{"id":1,"connect":{}}',
                    '{"id":2,"subscribe":{"channel":"bench"}}',
                ],
                "heartbeat": ("{}", "{}"),
            },
            "sse": {
                "transport": "sse",
                "path": f"/connection/uni_sse?cf_connect={quote(_SUBSCRIBE)}",
            },
        },
        publish_path="/api/publish",
        wrap=lambda data: b'{"channel":"bench","data":%b}' % data,
    ),
    Peer("python-socketio on uvicorn", _python("socketio_asgi.py"), _SOCKET_IO),
)

_POLLS: Final[dict[str, dict[str, Any]]] = {
    "long-polling": {"transport": "poll", "path": "/poll"},
}
BAKE_OFF: Final = (
    Peer("Twisted", _python("twisted_polls.py"), _POLLS),
    Peer("Jetty", _java("JettyPolls"), _POLLS),
    Peer("Tomcat", _java("TomcatPolls"), _POLLS),
    Peer("MINA", _java("MinaPolls"), _POLLS),
    Peer("Netty", _java("NettyPolls"), _POLLS),
)
