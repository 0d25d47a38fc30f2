"""Whether the node in this container answers on its ops listener: exit status 0 or 1.

Runs every few seconds in every container, so it imports next to nothing.
"""

import os
import socket
import sys

WITHIN = 2.0  # seconds


def main() -> int:
    """Ask for /healthz."""
    port = int(os.environ.get("COMETRING_OPS", ":9100").rpartition(":")[2])
    try:
        with socket.create_connection(("127.0.0.1", port), WITHIN) as conn:
            conn.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            return 0 if conn.recv(64).startswith(b"HTTP/1.1 200 ") else 1
    except OSError as error:
        print(f"the ops listener does not answer: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
