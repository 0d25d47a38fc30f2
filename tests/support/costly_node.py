"""A node whose deliveries, or whose sessions, cost twice what they should.

python costly_node.py cpu|memory serve …
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from node.cli.main import run
from node.http import HttpConnection
from node.session import Session
from node.websocket.connection import WebSocketConnection

if TYPE_CHECKING:
    from node.websocket.connection import SharedText

SECONDS = 12e-6  # about what a delivery costs
BYTES = 2_000

offer = WebSocketConnection.offer
respond_json = HttpConnection.respond_json
begin = Session.__init__
ballast: list[bytes] = []


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def costly_send(self: WebSocketConnection, wire: SharedText) -> bool:
    spin(SECONDS)
    return offer(self, wire)


def costly_answer(self: HttpConnection, body: bytes) -> None:
    spin(SECONDS * 3)  # (a delivery is two answers' work)
    respond_json(self, body)


def heavy_session(self: Session, address: str, generation: int, binding: bytes = b"") -> None:
    ballast.append(bytes(BYTES))
    begin(self, address, generation, binding)


def main() -> None:
    kind = sys.argv.pop(1)
    if kind == "cpu":
        WebSocketConnection.offer = costly_send  # type: ignore[method-assign]
        HttpConnection.respond_json = costly_answer  # type: ignore[method-assign]
    else:
        Session.__init__ = heavy_session  # type: ignore[method-assign]
    run()


if __name__ == "__main__":
    main()
