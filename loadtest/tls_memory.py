"""What TLS costs: resident memory of an idle connection, and CPU of a handshake.

    python -m loadtest.tls_memory [--connections 3000]

Each round is a fresh node. A connection makes one request and then waits; the
growth of the node's resident set and of its CPU time is divided by their
number. The certificate (P-256) is made by the `openssl` program.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import sleep
from typing import Final

from loadtest.accounting import cpu_of, resident_bytes
from loadtest.server import HOST, Node, running_node

WARM_UP: Final = 200  # connections before the first look
QUIET: Final = 1.0  # seconds for the node to come to rest
REQUEST: Final = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
ROUNDS: Final = {
    "without TLS": None,
    "TLS 1.2": ssl.TLSVersion.TLSv1_2,
    "TLS 1.3": ssl.TLSVersion.TLSv1_3,
}


def make_pair(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    program = shutil.which("openssl")
    if program is None:
        raise SystemExit("tls_memory: needs the openssl program (Debian: apt install openssl)")
    subprocess.run(
        [
            program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert,
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return cert, key


def client_context(cert: Path, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Speaks this version alone, and trusts this certificate alone."""
    context = ssl.create_default_context(cafile=str(cert))
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    return context


def connect(node: Node, context: ssl.SSLContext | None) -> socket.socket:
    """One connection that has been answered once, and waits."""
    sock = socket.create_connection((HOST, node.client_port))
    if context is not None:
        sock = context.wrap_socket(sock)
    sock.sendall(REQUEST)
    sock.recv(4096)
    return sock


def measure(
    options: tuple[str, ...], context: ssl.SSLContext | None, number: int
) -> tuple[float, float]:
    """Bytes of resident memory and microseconds of CPU, a connection."""
    with running_node(options) as node, ExitStack() as stack:
        for _ in range(WARM_UP):
            stack.enter_context(connect(node, context))
        sleep(QUIET)
        before, cpu = resident_bytes(node.pid), cpu_of(node.pid)
        for _ in range(number):
            stack.enter_context(connect(node, context))
        sleep(QUIET)
        grown = resident_bytes(node.pid) - before
        return grown / number, cpu_of(node.pid).since(cpu).total / number * 1e6


def main() -> None:
    """Measure each round, and print it."""
    parser = argparse.ArgumentParser(description="memory and CPU of client TLS")
    parser.add_argument("--connections", type=int, default=3000)
    number = parser.parse_args().connections
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="cometring-tls-") as folder:
        cert, key = make_pair(Path(folder))
        for name, version in ROUNDS.items():
            context = None if version is None else client_context(cert, version)
            options = () if version is None else ("--tls-cert", str(cert), "--tls-key", str(key))
            memory, cpu = measure(options, context, number)
            print(f"{name:12} {memory / 1024:6.1f} KB a connection  {cpu:6.0f} µs CPU each")


if __name__ == "__main__":
    main()
