"""The same floor as `floor.c` in Python: slotted connections, one epoll, `sock.send()`.

usage: python -m loadtest.floor_loop PORT BYTES
"""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import Final

_EVENTS: Final = 512
_BACKLOG: Final = 4_096
_READ: Final = 16_384


class _Connection:
    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock


def serve(port: int, size: int) -> None:
    """Send `size` bytes to every connection for each line of standard input, until it ends."""
    message = b"x" * size
    orders = sys.stdin.fileno()
    connections: dict[int, _Connection] = {}
    with socket.create_server(("127.0.0.1", port), backlog=_BACKLOG) as listener:
        listener.setblocking(False)
        epoll = select.epoll()
        epoll.register(listener, select.EPOLLIN)
        epoll.register(orders, select.EPOLLIN)
        print("ready", flush=True)
        while True:
            for descriptor, _ in epoll.poll(-1, _EVENTS):
                connection = connections.get(descriptor)
                if connection is not None:
                    if not connection.sock.recv(_READ):
                        epoll.unregister(descriptor)
                elif descriptor == orders:
                    lines = os.read(orders, _READ)
                    if not lines:
                        return
                    for _ in range(lines.count(b"\n")):
                        for reader in connections.values():
                            reader.sock.send(message)
                else:
                    sock, _ = listener.accept()
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connections[sock.fileno()] = _Connection(sock)
                    epoll.register(sock, select.EPOLLIN)
                    sock.send(message)  # it knows now that it will be sent to


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
