"""A server of long polls with the standard library alone: `python poll_server.py PORT`."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

published = threading.Condition()
latest: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0  # messages that this connection has had

    def do_GET(self) -> None:
        with published:
            if published.wait_for(lambda: len(latest) > self.seen, 30):
                self.seen += 1
                self.answer(latest[self.seen - 1])
            else:
                self.answer(b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with published:
            latest.append(body)
            published.notify_all()
        self.answer(b"ok")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
