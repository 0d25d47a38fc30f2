"""HAProxy in front of nodes: with stickiness by cookie, or without any."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

from loadtest.server import HOST, ServerError, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.server import Node

_START_SECONDS: Final = 10.0
_CONFIG: Final = """\
global
    maxconn 9500
    nbthread 1
    stats socket {folder}/stats.sock mode 600
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    option http-keep-alive
frontend clients
    bind {host}:{port}
    default_backend ring
backend ring
    balance roundrobin
{cookie}
"""


@contextmanager
def running_proxy(nodes: Sequence[Node], *, sticky: bool) -> Iterator[int]:
    """The port of a proxy that goes round `nodes`, each request anew unless `sticky`.

    Raises `ServerError` where there is no HAProxy, or it does not start.
    """
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        raise ServerError("no haproxy here (Debian: apt install haproxy)")
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="cometring-proxy-") as folder:
        lines = ["    cookie EDGE insert indirect nocache"] if sticky else []
        for number, node in enumerate(nodes):
            mark = f" cookie n{number}" if sticky else ""
            lines.append(f"    server n{number} {HOST}:{node.client_port}{mark}")
        config = Path(folder) / "haproxy.cfg"
        text = _CONFIG.format(folder=folder, host=HOST, port=port, cookie="\n".join(lines))
        config.write_text(text, "utf-8")
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen([program, "-f", str(config)], stdout=out, stderr=out)
        try:
            deadline = monotonic() + _START_SECONDS
            while not (Path(folder) / "stats.sock").exists():
                if process.poll() is not None or monotonic() > deadline:
                    raise ServerError(f"haproxy did not start: {log.read_text('utf-8')[-300:]}")
                sleep(0.05)
            sleep(0.2)
            yield port
        finally:
            process.terminate()
            process.wait()
