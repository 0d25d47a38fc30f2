"""A stranger who has the port, or sits on the wire, but does not know the secret.

Each test is one thing that the stranger would like: to join, read, forge, change,
replay, reorder, drop, or to make a node spend its memory or its time. The ring is
real processes, and on all of its links sits a middleman. Reading along on the wire is not
prevented here: links are authenticated, not encrypted, and want a private network.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from socket import create_connection
from typing import TYPE_CHECKING

import pytest

from cluster_process import HOST, ClusterProcess, NodeProcess, free_port, wait_until
from loadtest.accounting import resident_bytes
from middleman import Middleman, Wire
from node.cluster.door import AUTH_WITHIN, MAX_STRANGERS
from node.cluster.handshake import NONCE_BYTES, Dialler, Introduction
from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from socket import socket

FORGED = 'cometring_link_refused_total{reason="forged"}'
GROWTH = 4 << 20  # bytes that resident memory may drift
FLOOD_SECONDS = 3.0


class Rig:
    """Three nodes that know each other by the middleman's addresses alone."""

    def __init__(self, directory: Path) -> None:
        self.cluster = ClusterProcess(3, directory, ["--log-level", "info"], demo=False)
        self.node = self.cluster.nodes[0]
        self.port = free_port()  # node 0's own
        relays = {}
        for node in self.cluster.nodes:
            own = relays[node.peer_port] = self.port if node is self.node else free_port()
            node.arguments += ["--advertise", node.peer, "--peer", f"{HOST}:{own}"]
        self.middle = Middleman(relays)
        self.view: object = None

    def start(self) -> None:
        self.cluster.start(30.0)
        self.view = self.views()[0]

    def views(self) -> list[object]:
        rings = [node.ring() for node in self.cluster.nodes]
        return [ring and (ring["ring"], ring["view"], len(ring["members"])) for ring in rings]

    def forgeries(self) -> float:
        return sum(node.metrics().get(FORGED, 0.0) for node in self.cluster.nodes)

    def undisturbed(self) -> None:
        """The ring is what it was, all links are there, and messages get through."""
        wait_until(
            lambda: all(node.metrics()["cometring_links"] == 2 for node in self.cluster.nodes),
            10.0,
            "all links are open",
        )
        assert self.views() == [self.view] * 3
        for node in self.cluster.nodes:
            status, answer = node.api("/api/publish", {"channel": "/safe", "data": 1})
            assert status == 200, answer

    def connect(self, source: str = HOST) -> socket:
        """A connection to node 0's own port."""
        return create_connection((HOST, self.port), 5.0, (source, 0))


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("strangers"))
    with rig.middle:
        try:
            rig.start()
            yield rig
            assert not rig.cluster.complaints(), rig.cluster.logs()
        finally:
            rig.cluster.stop()


@pytest.fixture(autouse=True)
def left_undisturbed(rig: Rig) -> Iterator[None]:
    rig.undisturbed()
    yield
    rig.undisturbed()


def stranger() -> Dialler:
    """Knows the protocol, and a secret that is not the ring's."""
    rng = Random()
    me = Introduction(rng.randbytes(20), rng.randrange(1, 1 << 40), f"{HOST}:{free_port()}")
    return Dialler(me, [rng.randbytes(32)], rng.randbytes(NONCE_BYTES))


def read_frame(sock: socket) -> bytes:
    with sock.makefile("rb") as reader:
        return reader.read(int.from_bytes(reader.read(4), "big"))


# -- joining and reading --------------------------------------------------------------------


def test_it_cannot_join(rig: Rig) -> None:
    dialler = stranger()
    with rig.connect() as sock:
        sock.sendall(dialler.start())
        sock.sendall(dialler.receive(read_frame(sock)))
        with pytest.raises(RemoteProtocolError, match="another cluster secret"):
            dialler.receive(read_frame(sock))
        assert sock.recv(1) == b""


def test_it_is_told_nothing(rig: Rig) -> None:
    """Neither ids nor addresses: all that a node says before a proof is its version and chance."""
    ring = rig.node.ring()
    assert ring is not None
    dialler = stranger()
    with rig.connect() as sock:
        sock.sendall(dialler.start())
        challenge = read_frame(sock)
        sock.sendall(dialler.receive(challenge))
        said = challenge + sock.recv(65_536)
    for member in ring["members"]:
        assert bytes.fromhex(member["id"]) not in said
        assert member["peer"].encode() not in said
    assert len(said) < 100


def test_a_node_that_dials_it_gives_nothing_away_that_it_can_use(rig: Rig) -> None:
    """It takes a node's place as acceptor: without the secret its welcome convinces nobody."""
    conversation = [wire for wire in rig.middle.wires if len(wire.frames) > 3]
    proofs = [wire.frames[1] for wire in conversation if wire.way == "up"]
    for hello in proofs:  # heard on the wire, and shown to another node as its own
        with rig.connect() as sock:
            sock.sendall(stranger().start())
            read_frame(sock)
            sock.sendall(hello)
            assert b"secret" in read_frame(sock), "it is refused for its proof"
            assert sock.recv(1) == b""


# -- on the wire between two nodes ------------------------------------------------------------


def forge(wire: Wire, frame: bytes, _: Callable[[], bytes]) -> None:
    wire.send((20).to_bytes(4, "big") + bytes(16) + b"\x91\x93\x00\x00")
    wire.send(frame)


def change(wire: Wire, frame: bytes, _: Callable[[], bytes]) -> None:
    wire.send(frame[:-1] + bytes([frame[-1] ^ 1]))


def replay(wire: Wire, frame: bytes, _: Callable[[], bytes]) -> None:
    wire.send(frame, frame)


def replay_the_past(wire: Wire, frame: bytes, _: Callable[[], bytes]) -> None:
    wire.send(wire.frames[3], frame)


def reorder(wire: Wire, frame: bytes, next_frame: Callable[[], bytes]) -> None:
    wire.send(next_frame(), frame)


def drop(wire: Wire, _: bytes, next_frame: Callable[[], bytes]) -> None:
    wire.send(next_frame())


def reflect(wire: Wire, frame: bytes, _: Callable[[], bytes]) -> None:
    wire.back.sendall(frame)
    wire.send(frame)


@pytest.mark.parametrize("how", [forge, change, replay, replay_the_past, reorder, drop, reflect])
def test_what_it_does_to_one_frame_ends_the_link(
    rig: Rig, how: Callable[[Wire, bytes, Callable[[], bytes]], None]
) -> None:
    before = rig.forgeries()
    rig.middle.tamper(how)
    assert rig.middle.tampered.wait(30.0), "nothing passed by"
    wait_until(lambda: rig.forgeries() > before, 5.0, "the link notices")


def test_what_it_holds_back_for_good_is_missed(rig: Rig) -> None:
    """The connection stays open, and nothing comes any more: the link is given up for another."""
    held: list[bytes] = []

    def hold_back(_: Wire, frame: bytes, next_frame: Callable[[], bytes]) -> None:
        held.append(frame)
        rig.middle.tampered.set()
        while next_frame():
            held.append(b"")

    rig.middle.tamper(hold_back)
    assert rig.middle.tampered.wait(30.0)
    wait_until(lambda: logged(rig, "it has said nothing for"), 10.0, "silence is noticed")
    rig.cluster.wait_formed(10.0, members=3)
    rig.view = rig.views()[0]  # who was silent may have lost its place for a moment
    assert held


def logged(rig: Rig, words: str) -> bool:
    return any(words in node.log.read_text() for node in rig.cluster.nodes)


def test_a_conversation_that_it_has_recorded_is_of_no_use(rig: Rig) -> None:
    recorded = next(w for w in rig.middle.wires if w.way == "up" and len(w.frames) > 5)
    with rig.connect() as sock:
        with suppress(OSError):  # it may have been shown the door already
            for frame in recorded.frames[:6]:
                sock.sendall(frame)
        said = b""
        with suppress(ConnectionError):
            while data := sock.recv(65_536):
                said += data
    assert b"secret" in said, "it is refused for its proof"


# -- memory and effort --------------------------------------------------------------------------


def test_half_open_and_slow_handshakes_are_few_and_short(rig: Rig) -> None:
    """Hundreds that say nothing, or stop after the greeting, and one that dawdles over it."""
    fds = descriptors(rig.node)
    with ExitStack() as stack:
        for number in range(300):
            sock = stack.enter_context(rig.connect("127.9.0.1"))
            if number % 2:
                sock.sendall(stranger().start())
        time.sleep(0.2)
        strangers = rig.node.metrics()["cometring_link_strangers"]
        assert strangers <= MAX_STRANGERS + 2, "but for those on their way out"
        assert descriptors(rig.node) <= fds + MAX_STRANGERS + 20
        dawdler = stack.enter_context(rig.connect("127.9.0.4"))
        dawdler.settimeout(0.3)
        began = time.monotonic()
        with suppress(ConnectionError):
            for byte in stranger().start():
                dawdler.sendall(bytes([byte]))
                with suppress(TimeoutError):
                    if dawdler.recv(1) == b"":
                        break
        assert AUTH_WITHIN - 1 < time.monotonic() - began < AUTH_WITHIN + 3
        wait_until(
            lambda: rig.node.metrics()["cometring_link_strangers"] == 0,
            3.0,
            "all are shown out, though they hold on",
        )


def test_huge_frames_are_refused_by_their_length(rig: Rig) -> None:
    before = resident_bytes(rig.node.pid)
    for length in (1_025, 1 << 20, (1 << 32) - 1):
        with rig.connect() as sock:
            sock.sendall(length.to_bytes(4, "big"))
            assert sock.recv(1) == b"", "it hangs up before the frame comes"
    with ExitStack() as stack:  # and what does fit is not kept for many
        for _ in range(200):
            sock = stack.enter_context(rig.connect("127.9.0.2"))
            sock.sendall((1_024).to_bytes(4, "big") + bytes(1_000))
        time.sleep(0.5)
        assert resident_bytes(rig.node.pid) < before + GROWTH


FLOOD = """
import socket, sys, time
port, seconds, hello = int(sys.argv[1]), float(sys.argv[2]), bytes.fromhex(sys.argv[3])
began, opened = time.monotonic(), 0
while time.monotonic() < began + seconds:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5, ("127.9.0.3", 0)) as sock:
            sock.sendall(hello)
            sock.recv(100)
            sock.sendall(hello)
            sock.recv(100)
    except OSError:
        pass
    opened += 1
"""


def test_a_flood_of_hellos_costs_a_bounded_effort(rig: Rig) -> None:
    """Two attackers as fast as they can: the node serves on, spends little, and others get in."""
    before, log_before = resident_bytes(rig.node.pid), rig.node.log.stat().st_size
    cpu_before = cpu_seconds(rig.node)
    words = [str(rig.port), str(FLOOD_SECONDS), stranger().start().hex()]
    floods = [subprocess.Popen([sys.executable, "-c", FLOOD, *words]) for _ in range(2)]
    try:
        slowest = 0.0
        while any(flood.poll() is None for flood in floods):
            began = time.monotonic()
            assert rig.node.api("/api/publish", {"channel": "/flooded", "data": 1})[0] == 200
            slowest = max(slowest, time.monotonic() - began)
            with rig.connect() as sock:  # of another host: it gets its challenge
                sock.sendall(stranger().start())
                assert read_frame(sock)
            time.sleep(0.1)
    finally:
        for flood in floods:
            flood.kill()
            flood.wait()
    assert slowest < 2.0
    assert cpu_seconds(rig.node) - cpu_before < 0.5 * FLOOD_SECONDS
    assert rig.node.metrics()['cometring_link_refused_total{reason="too_many"}'] > 100
    assert resident_bytes(rig.node.pid) < before + GROWTH
    assert rig.node.log.stat().st_size < log_before + 20_000, "the log is no target either"


def cpu_seconds(node: NodeProcess) -> float:
    """Processor time that the node has used (proc(5), stat)."""
    fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def descriptors(node: NodeProcess) -> int:
    return len(list(Path(f"/proc/{node.pid}/fd").iterdir()))
