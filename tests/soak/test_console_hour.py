"""The console of a real node, open for an hour in a real browser: neither of them grows.

`make console-hour` does that; COMETRING_CONSOLE_MINUTES is for other lengths.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest

from cluster_process import ClusterProcess, NodeProcess
from npm_packages import require_packages
from programs import require_program
from sse_client import EventReader

if TYPE_CHECKING:
    from collections.abc import Iterator

MINUTES = int(os.environ.get("COMETRING_CONSOLE_MINUTES", "1"))
FOLDER = Path(__file__).parents[1] / "browser"
CHANNELS = [f"/hour/{number}" for number in range(6)]
EVERY = 0.1  # seconds between publishes
LARGEST = 10_000  # bytes of a message, so that the channels' logs are full (1 MiB) when all is warm
WARM = 5  # minutes until page and nodes have all that they keep: histories, logs, pools
HEAP = 400_000  # bytes by which the page may be larger at the end than when warm
DOCUMENT = 400  # nodes of the document, likewise
MEMORY = 8 << 20  # bytes of a node, likewise


class Traffic(Thread):
    """Publishes to channels and sends to a session, over all nodes, until stopped."""

    def __init__(self, nodes: list[NodeProcess], address: str) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self._address = address
        self._over = Event()
        self.answered = 0

    def run(self) -> None:
        draw = random.Random(1)
        while not self._over.wait(EVERY):
            node, data = draw.choice(self._nodes), "x" * draw.randrange(LARGEST)
            target, body = "/api/publish", {"channel": draw.choice(CHANNELS), "data": data}
            if draw.random() < 0.1:
                target, body = "/api/send", {"session": self._address, "data": data}
            with suppress(OSError):
                self.answered += node.api(target, body)[0] == 200

    def stop(self) -> None:
        self._over.set()
        self.join(20.0)


def resident(node: NodeProcess) -> int:
    """Bytes of memory that a node has."""
    pages = int(Path(f"/proc/{node.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Reader(Thread):
    """A reader of `channels` on `node` that takes all it is sent, and comes back, until stopped."""

    def __init__(self, node: NodeProcess, channels: list[str]) -> None:
        super().__init__(daemon=True)
        self._port = node.client_port
        self._target = "/sse?" + "&".join(f"channel={name}" for name in channels)
        self._stream = EventReader(self._port, self._target)
        self._over = Event()
        self.address = self._stream.session()["address"]
        self.got = 0

    def run(self) -> None:
        stream = self._stream
        while True:
            with suppress(OSError, AssertionError, HTTPException), stream:
                while not self._over.is_set():
                    stream.next()
                    self.got += 1
            if self._over.wait(1.0):
                return
            with suppress(OSError, HTTPException):
                stream = EventReader(self._port, self._target)

    def stop(self) -> None:
        self._over.set()
        self.join(20.0)


def watched(ring: ClusterProcess, names: list[str]) -> Iterator[dict[str, Any]]:
    """Once a minute: what the page holds, and each node."""
    words = {
        "urls": [f"http://{ring.nodes[0].ops}/console"],
        "chromium": require_program("chromium"),
        "minutes": MINUTES,
        "names": names,
    }
    with subprocess.Popen(
        [require_packages(FOLDER), "console_hour.mjs", "", json.dumps(words)],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the browser goes with it
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield json.loads(line) | {"resident": [resident(node) for node in ring.nodes]}
            assert process.wait() == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.nightly
@pytest.mark.timeout(MINUTES * 60 + 180)
def test_an_hour(tmp_path: Path) -> None:
    samples = []
    with ExitStack() as stack, ClusterProcess(3, tmp_path) as ring:
        readers = [
            Reader(node, CHANNELS[place : place + 4]) for place, node in enumerate(ring.nodes)
        ]
        traffic = Traffic(ring.nodes, readers[1].address)
        clients: list[Reader | Traffic] = [*readers, traffic]
        for each in clients:
            each.start()
            stack.callback(each.stop)
        for sample in watched(ring, [CHANNELS[0], readers[1].address, CHANNELS[4]]):
            samples.append(sample)
            told = {"answered": traffic.answered, "got": sum(one.got for one in readers)}
            print(json.dumps(sample | told), flush=True)
        assert ring.complaints() == []
    assert samples[-1]["pulses"] > MINUTES * 60 * 0.9, "a pulse a second was shown"
    if len(samples) < WARM * 3:
        return  # there is no end to compare with a beginning
    first, last = samples[WARM : WARM * 2], samples[-WARM:]
    for name, most in (("heap", HEAP), ("nodes", DOCUMENT), ("listeners", 40)):
        grown = median(each[name] for each in last) - median(each[name] for each in first)
        assert grown < most, f"{name} grew by {grown}"
    for place in range(len(ring.nodes)):
        now, then = (median(each["resident"][place] for each in some) for some in (last, first))
        assert now - then < MEMORY, f"node {place} grew by {now - then} bytes"
