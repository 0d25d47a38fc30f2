"""A minimal long-poll server on Twisted: `python twisted_polls.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

HOLD = 30.0  # seconds
held: dict[Request, Any] = {}
loop: Any = reactor


def answer(request: Request, body: bytes) -> None:
    """End a held poll."""
    timer = held.pop(request, None)
    if timer is None:
        return
    if timer.active():
        timer.cancel()
    request.setHeader(b"content-length", str(len(body)).encode())
    request.write(body)
    request.finish()


class Poll(Resource):
    """GET is held until something is published, or for 30 s."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def render_GET(self, request: Request) -> int:  # noqa: N802
        held[request] = loop.callLater(HOLD, answer, request, b"{}")
        request.notifyFinish().addErrback(lambda _: held.pop(request, None))
        return NOT_DONE_YET


class Publish(Resource):
    """POST answers every held poll."""

    isLeaf = True  # noqa: N815

    def render_POST(self, request: Request) -> bytes:  # noqa: N802
        body = request.content.read()
        for waiting in list(held):
            loop.callLater(0, answer, waiting, body)
        return b"ok"


if __name__ == "__main__":
    root = Resource()
    root.putChild(b"poll", Poll())
    root.putChild(b"publish", Publish())
    loop.listenTCP(int(sys.argv[1]), Site(root, timeout=600), backlog=4096, interface="127.0.0.1")
    loop.run()
