"""Three nodes here, two there, nothing between them, and everybody goes on publishing.

The side that is without a majority must not say "ok" to anything; once the cut
is mended, everything that was acknowledged on either side is with every reader.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from chaos import START_LIMIT, wait_healed
from network_lab import LabCluster, network_lab
from witnesses import Reader, Writer, missing

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("COMETRING_PARTITION_SECONDS", "20"))
RATE = float(os.environ.get("COMETRING_PARTITION_RATE", "20"))  # publishes a second and node
MAJORITY, MINORITY = [0, 1, 2], [3, 4]
ROOMS = [f"/room/{i}" for i in range(10)]
SEALED = 3.0  # seconds in which a side without a majority may still finish what it had begun
REFUSED = 6.0  # seconds until a publish that cannot be committed is refused
AGREED = 4.0  # seconds until the majority serves every slot
ARRIVED = 20.0  # seconds after the end for the last message to come


@pytest.mark.nightly
@pytest.mark.timeout(400)
def test_a_minority_says_ok_to_nothing_and_nothing_is_lost(tmp_path: Path) -> None:
    with network_lab(5) as lab:
        cluster = LabCluster(lab, tmp_path)
        cluster.start_within = START_LIMIT
        with cluster, ExitStack() as stack:
            wait_healed(cluster)
            readers = [
                stack.enter_context(Reader(cluster.nodes[i], ROOMS)) for i in (*MAJORITY, *MINORITY)
            ]
            writers = [stack.enter_context(Writer(node, ROOMS, RATE)) for node in cluster.nodes]
            time.sleep(2.0)
            cut = time.monotonic()
            lab.part(MAJORITY, MINORITY)
            time.sleep(SECONDS)
            mended = time.monotonic()
            lab.heal()
            wait_healed(cluster)
            time.sleep(3.0)
            for writer in writers:
                writer.stop()
            last = time.monotonic()
            while any(missing(writers, r) for r in readers) and time.monotonic() < last + ARRIVED:
                time.sleep(0.2)
        for i in MINORITY:
            told = writers[i].told(cut + SEALED, mended - REFUSED)
            assert told == {"retry"}, f"node {i}, cut off, said {told}"
        for i in MAJORITY:
            told = writers[i].told(cut + AGREED, mended)
            assert told == {"ok"}, f"node {i}, on the majority's side, said {told}"
        for writer in writers:
            assert "ok" in writer.told(mended, last), "it goes on afterwards"
        slowest = max(
            answered - asked
            for i in MAJORITY
            for asked, answered, what in writers[i].answers
            if what == "ok"
        )
        print(
            f"acknowledged {sum(len(a) for w in writers for a in w.acknowledged.values())},"
            f" slowest on the majority's side {slowest:.2f} s"
        )
        for reader in readers:
            assert not reader.error
            assert not missing(writers, reader), reader.gaps
            for room in ROOMS:
                assert reader.order(room) == readers[0].order(room)
        assert not cluster.complaints()
