"""`cometring cluster` and the commands around it, as a person runs them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from cluster_process import API_KEY, free_ports, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

COMETRING = (sys.executable, "-m", "node.cli")


def cometring(
    *words: str, stdin: str = "", timeout: float = 30.0
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMETRING, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Launched:
    """A launcher with its output in a file, and the pids of its nodes."""

    def __init__(self, folder: Path, *words: str, nodes: int = 3) -> None:
        self.nodes = nodes
        self.client, self.peer, self.ops = (free_ports(nodes) for _ in range(3))
        ports = {"client": self.client, "peer": self.peer, "ops": self.ops}
        self._out = folder / "launcher.out"
        options = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
        with self._out.open("wb") as out, (folder / "launcher.err").open("wb") as err:
            self.process = subprocess.Popen(
                [*COMETRING, "cluster", "--nodes", str(nodes), *options, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={k: v for k, v in os.environ.items() if not k.startswith("COMETRING_")},
            )
        self._err = folder / "launcher.err"

    @property
    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    def line(self, *parts: str, timeout: float = 20.0) -> str:
        """Wait for a line with all of `parts`."""

        def found() -> list[str]:
            return [line for line in self.lines if all(part in line for part in parts)]

        try:
            wait_until(found, timeout, f"a line with {parts}")
        except AssertionError as error:
            said = "\n".join(self.lines) + self._err.read_text()
            raise AssertionError(f"{error}\n{said}") from None
        return found()[-1]

    def wait_ready(self) -> Self:
        self.line("ready")
        assert self.lines[-1] == "ready"
        return self

    def pid(self, index: int) -> int:
        return int(self.line(f"node {index} ", "pid ").split("pid ")[1].split()[0])

    def pids(self) -> list[int]:
        return [int(line.split("pid ")[1].split()[0]) for line in self.lines if "pid " in line]

    def living(self) -> list[int]:
        return [pid for pid in self.pids() if running(pid)]

    def members(self, index: int) -> int:
        with suppress(OSError):
            status, ring = request(self.ops + index, "GET", "/ring")
            if status == 200:
                return len(ring["members"])
        return 0

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(12)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.living():
            os.kill(pid, signal.SIGKILL)


def running(pid: int) -> bool:
    """Whether `pid` is a process that is not merely waiting to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Any]:
    launched: list[Launched] = []

    def start(*words: str, nodes: int = 3) -> Launched:
        folder = tmp_path / str(len(launched))
        folder.mkdir()
        launched.append(Launched(folder, *words, nodes=nodes))
        return launched[-1]

    yield start
    for each in launched:
        each.end()


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A launched ring of three with a key, for tests that leave it whole."""
    launched = Launched(tmp_path_factory.mktemp("ring"), "--api-key", API_KEY)
    try:
        yield launched.wait_ready()
    finally:
        launched.end()


def test_a_line_a_node_then_ready(ring: Launched) -> None:
    assert len(ring.lines) == 4
    for i in range(3):
        line = ring.line(f"node {i}  http://127.0.0.1:{ring.client + i}/")
        assert f"peer 127.0.0.1:{ring.peer + i}" in line
        assert f"ops http://127.0.0.1:{ring.ops + i}/" in line
        assert request(ring.ops + i, "GET", "/readyz")[0] == 200
        assert request(ring.ops + i, "GET", "/healthz")[0] == 200


def test_neither_key_nor_secret_is_among_arguments_or_environment(ring: Launched) -> None:
    for pid in ring.pids():
        process = Path(f"/proc/{pid}")
        words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        environ = dict(
            entry.split(b"=", 1)
            for entry in (process / "environ").read_bytes().split(b"\0")
            if entry
        )
        secret_file = environ[b"COMETRING_CLUSTER_SECRET_FILE"].decode()
        secret = (process / "fd" / Path(secret_file).name).read_bytes()
        assert len(secret) == 43
        assert secret not in words
        assert API_KEY.encode() not in words


def test_all_nodes_tell_of_the_same_ring(ring: Launched) -> None:
    told = []
    for i in range(3):
        done = cometring("ring", "status", "--json", "--ops", f"127.0.0.1:{ring.ops + i}")
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    assert len({(each["view"], each["digest"], each["ring"]) for each in told}) == 1
    assert len(told[0]["members"]) == 3
    assert sum(member["share"] for member in told[0]["members"]) == pytest.approx(1.0, abs=1e-4)
    table = cometring("ring", "status", "--ops", f"127.0.0.1:{ring.ops}")
    assert table.stdout.count("active") == 3


def test_all_nodes_locate_ten_thousand_keys_alike(ring: Launched) -> None:
    keys = [f"/chat/{i}" for i in range(5_000)] + [f"tag{i}.secret" for i in range(5_000)]
    answers = []
    for i in range(3):
        words = ("ring", "locate", "-", "--json", "--ops", f"127.0.0.1:{ring.ops + i}")
        done = cometring(*words, stdin="\n".join(keys))
        assert done.returncode == 0, done.stderr
        answers.append([json.loads(line) for line in done.stdout.splitlines()])
    assert len(answers[0]) == len(keys)
    assert answers[0] == answers[1] == answers[2]
    assert len({answer["node"]["id"] for answer in answers[0]}) == 3


def test_the_application_interface_locates_as_the_command_does(ring: Launched) -> None:
    keys = [f"/room/{i}" for i in range(40)]
    words = ("ring", "locate", "-", "--json", "--ops", f"127.0.0.1:{ring.ops}")
    told = [
        json.loads(line) for line in cometring(*words, stdin="\n".join(keys)).stdout.splitlines()
    ]
    headers = {"Authorization": f"Bearer {API_KEY}"}
    for i, (key, expected) in enumerate(zip(keys, told, strict=True)):
        target = f"/api/locate?channel={key}"
        status, answer = request(ring.client + i % 3, "GET", target, headers=headers)
        assert status == 200
        assert {"key": key} | answer == expected


def test_publish_and_send_reach_a_listener_on_another_node(ring: Launched) -> None:
    urls = [f"http://127.0.0.1:{ring.client + i}" for i in range(3)]
    listener = subprocess.Popen(
        [*COMETRING, "listen", "/chat/launcher", "--url", urls[0], "--count", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert listener.stderr is not None
        address = listener.stderr.readline().split(" as ")[1].strip()
        key = ("--api-key", API_KEY)
        done = cometring("publish", "/chat/launcher", '{"n": 1}', "--url", urls[1], *key)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["offset"] == 1
        done = cometring("send", address, '"psst"', "--url", urls[2], *key)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["connected"] is True
        out, _ = listener.communicate(timeout=15)
    finally:
        listener.kill()
        listener.wait()
    received = {
        message["channel"]: message["data"] for message in map(json.loads, out.splitlines())
    }
    assert received == {"/chat/launcher": {"n": 1}, "/service/inbox": "psst"}
    assert listener.returncode == 0


def test_refusals_are_one_line(ring: Launched) -> None:
    url = f"http://127.0.0.1:{ring.client}"
    done = cometring("publish", "/a", "1", "--url", url)
    assert done.returncode == 1
    assert "--api-key" in done.stderr
    done = cometring("send", "nobody.0123456789abcdefghij", "1", "--url", url, "--api-key", API_KEY)
    assert done.returncode == 1
    assert "unknown_session" in done.stderr
    assert done.stderr.count("\n") == 1


def test_taken_ports_are_told_before_anything_starts(ring: Launched) -> None:
    words = ("--client-port", str(free_ports(3)), "--ops-port", str(free_ports(3)))
    done = cometring("cluster", "--peer-port", str(ring.peer), *words)
    assert done.returncode == 1
    assert f"127.0.0.1:{ring.peer} is taken" in done.stderr
    assert "--peer-port" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_within_ten_seconds(launch: Any, number: int) -> None:
    ring = launch().wait_ready()
    pids = ring.pids()
    began = time.monotonic()
    ring.process.send_signal(number)
    assert ring.process.wait(12) == 0
    assert time.monotonic() - began < 10
    assert not any(running(pid) for pid in pids)
    assert "died" not in "\n".join(ring.lines)


def test_no_node_outlives_a_killed_launcher(launch: Any) -> None:
    ring = launch().wait_ready()
    assert len(ring.living()) == 3
    ring.process.kill()
    ring.process.wait()
    wait_until(lambda: not ring.living(), 15, "all nodes have left")


def test_a_dead_node_is_reported_and_the_others_go_on(launch: Any) -> None:
    ring = launch("--api-key", API_KEY).wait_ready()
    os.kill(ring.pid(1), signal.SIGKILL)
    assert ring.line("node 1  died") == "node 1  died: killed by SIGKILL"
    wait_until(lambda: {ring.members(0), ring.members(2)} == {2}, 10, "a ring of two")
    url = f"http://127.0.0.1:{ring.client}"
    done = cometring("publish", "/chat/room", "1", "--url", url, "--api-key", API_KEY)
    assert done.returncode == 0, done.stderr
    assert ring.process.poll() is None


def test_respawn_brings_the_ring_back(launch: Any) -> None:
    ring = launch("--respawn").wait_ready()
    first = ring.pid(0)
    os.kill(first, signal.SIGKILL)
    ring.line("node 0 ", "started again")
    assert ring.pid(0) != first
    wait_until(lambda: {ring.members(i) for i in range(3)} == {3}, 20, "a ring of three again")


def test_a_listener_goes_on_when_its_node_dies(launch: Any, tmp_path: Path) -> None:
    ring = launch("--api-key", API_KEY).wait_ready()
    urls = [f"http://127.0.0.1:{ring.client + i}" for i in range(3)]
    out, err = tmp_path / "listen.out", tmp_path / "listen.err"
    numbers = itertools.count(1)

    def received() -> list[int]:
        return [json.loads(line)["data"] for line in out.read_text().splitlines()]

    def publish_and_hear() -> bool:
        before = len(received())
        body = {"channel": "/chat/room", "data": next(numbers)}
        headers = {"Authorization": f"Bearer {API_KEY}"}
        status, _ = request(ring.client + 2, "POST", "/api/publish", body, headers)
        time.sleep(0.1)
        return status == 200 and len(received()) > before

    with out.open("wb") as to_out, err.open("wb") as to_err:
        listener = subprocess.Popen(
            [*COMETRING, "listen", "/chat/room", "--url", ",".join(urls)],
            stdout=to_out,
            stderr=to_err,
        )
    try:
        wait_until(lambda: "listening to" in err.read_text(), 10, "a session")
        wait_until(publish_and_hear, 5, "a first message")
        os.kill(ring.pid(0), signal.SIGKILL)
        wait_until(lambda: "trying again" in err.read_text(), 10, "the loss to be told")
        wait_until(publish_and_hear, 20, "a message after the loss")
        listener.send_signal(signal.SIGINT)
        assert listener.wait(15) == 0
    finally:
        listener.kill()
        listener.wait()
    # What came just before the node died may come again (docs/promises.md), in order.
    assert list(dict.fromkeys(received())) == sorted(set(received()))


def test_without_a_key_the_application_interface_is_closed(launch: Any) -> None:
    ring = launch(nodes=1).wait_ready()
    body = {"channel": "/a", "data": 1}
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
        status, _ = request(ring.client, "POST", "/api/publish", body, headers=headers)
        assert status in {401, 403, 404}
