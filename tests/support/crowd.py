"""Crowds of stock CometD clients (`tests/clients/crowd.mjs`), several to a process.

Calls are synchronous and bounded in time.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from npm_packages import require_packages

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent.parent / "clients"
ANSWER_LIMIT = 120.0  # seconds
TRANSPORTS = ("websocket", "long-polling")


class CrowdProcess:
    """One Node process with many clients."""

    def __init__(self, url: str) -> None:
        words = [require_packages(FOLDER), "crowd.mjs", f"{url}/bayeux"]
        self._process = subprocess.Popen(
            words, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._number = 0
        self._answers: Queue[dict[str, Any]] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, name: str, timeout: float = ANSWER_LIMIT, **words: Any) -> dict[str, Any]:
        """Run one command and return what it answers."""
        assert self._process.stdin is not None
        self._number += 1
        self._process.stdin.write(json.dumps({"n": self._number, "do": name} | words) + "\n")
        try:
            answer = self._answers.get(timeout=timeout)
        except Empty:
            raise AssertionError(f"the crowd did not {name} within {timeout:g} s") from None
        assert answer["n"] == self._number, "the answer to another command"
        assert "error" not in answer, answer["error"]
        reply: dict[str, Any] = answer["reply"]
        return reply

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5.0)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            self._answers.put(json.loads(text))


class Crowd:
    """`clients` stock clients, by turns WebSocket and long-polling, in `rooms` of equal size.

    For a `with` block, in which they are open and subscribed.
    """

    def __init__(self, url: str, clients: int, rooms: int, processes: int = 2) -> None:
        self._url = url
        self._shares: list[list[dict[str, Any]]] = [[] for _ in range(processes)]
        for i in range(clients):
            self._shares[i % processes].append(
                {
                    "name": f"c{i}",
                    "transport": TRANSPORTS[i // rooms % len(TRANSPORTS)],
                    "rooms": [f"/room/{i % rooms}"],
                }
            )
        self._processes: list[CrowdProcess] = []
        self.addresses: list[str] = []

    def __enter__(self) -> Self:
        try:
            for _ in self._shares:
                self._processes.append(CrowdProcess(self._url))
            answers = self._all(lambda i: {"clients": self._shares[i], "prefix": f"p{i}"}, "open")
        except BaseException:
            self.__exit__()
            raise
        self.addresses = [address for answer in answers for address in answer["addresses"]]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.close()

    def publish(self, rate: float, direct: float = 0.1) -> None:
        """All clients together publish `rate` messages a second, `direct` of them to one client."""
        share = rate / len(self._processes)
        self._all(lambda _: {"rate": share, "direct": direct, "to": self.addresses}, "publish")

    def stop(self, seconds: float = 30.0) -> None:
        """Publish no more; returns once everything has been acknowledged, or after `seconds`."""
        self._all(lambda _: {"seconds": seconds}, "stop")

    def tell(self) -> list[dict[str, Any]]:
        """Counts so far, of each process."""
        return self._all(lambda _: {}, "tell")

    def books(self, folder: Path) -> list[dict[str, Any]]:
        """What every process has noted."""
        files = [folder / f"book-{i}.json" for i in range(len(self._processes))]
        self._all(lambda i: {"file": str(files[i])}, "report")
        return [json.loads(file.read_text()) for file in files]

    def _all(self, words: Callable[[int], dict[str, Any]], name: str) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(len(self._processes)) as pool:
            calls = [
                pool.submit(process.call, name, **words(i))
                for i, process in enumerate(self._processes)
            ]
            return [call.result() for call in calls]
