"""A program that the launcher takes for a node: an ops listener that answers at once.

Run as ``python fake_node.py serve --ops HOST:PORT --expect N …``. A key in the
environment changes it: ``FAKE_NODE=deaf`` ignores SIGTERM, ``FAKE_NODE=lost``
never becomes ready, ``FAKE_NODE=broken`` ends at once with status 3. SIGHUP
ends it with status 7.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


def main() -> None:
    kind = os.environ.get("FAKE_NODE", "")
    if kind == "broken":
        sys.exit(3)
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(7))
    words = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=False))
    member = {"id": "00", "state": "active", "client": "c", "peer": "p"}
    ring = {"view": 1, "digest": "d", "members": [member] * int(words["--expect"])}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if kind == "lost" else 200)
            self.end_headers()
            self.wfile.write(json.dumps(ring).encode())

        def log_message(self, *_: object) -> None:
            pass

    host, _, port = words["--ops"].rpartition(":")
    HTTPServer((host, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
