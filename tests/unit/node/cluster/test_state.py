from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import msgpack
import msgspec
import pytest

from dht.ballots import Ballot, Electorate, Memory
from dht.delta import Delta
from node.cluster.state import (
    FILE_NAME,
    VOTES_NAME,
    Identity,
    StateError,
    load_identity,
    load_votes,
    lock_directory,
    save_identity,
    save_votes,
)
from node.config import ConfigError
from ring_views import random_view

if TYPE_CHECKING:
    from pathlib import Path

RNG = random.Random(1)
ID = b"i" * 20


def test_without_a_directory_everyone_is_new() -> None:
    first, second = load_identity(None, RNG), load_identity(None, RNG)
    assert first.id != second.id
    assert len(first.id) == 20
    assert not first.kept
    assert abs(first.incarnation / 1000 - time.time()) < 10


def test_an_id_is_kept_and_the_incarnation_grows(tmp_path: Path) -> None:
    directory = tmp_path / "not" / "there" / "yet"
    assert not load_identity(directory, RNG).kept
    far_ahead = time.time_ns()
    save_identity(directory, Identity(ID, far_ahead, kept=True))
    again = load_identity(directory, RNG)
    assert again == Identity(ID, far_ahead + 1, kept=True)
    save_identity(directory, Identity(ID, 1, kept=True))
    assert load_identity(directory, RNG).incarnation > 1_000_000
    assert [path.name for path in directory.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"garbage",
        msgpack.packb(["cometring identity 1", b"short", 1]),
        msgpack.packb(["cometring identity 2", ID, 1]),
        msgpack.packb({"id": ID}),
        bytes(100_000),
    ],
)
def test_a_damaged_file_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StateError, match="remove it") as caught:
        load_identity(tmp_path, RNG)
    assert isinstance(caught.value, ConfigError)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_or_written(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(StateError, match="cannot read"):
        load_identity(tmp_path, RNG)
    with pytest.raises(StateError, match="cannot write"):
        save_identity(tmp_path, Identity(ID, 1, kept=True))


def test_a_directory_that_will_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="cannot make"):
        load_identity(tmp_path / "file", RNG)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(StateError, match="not writable"):
        load_identity(tmp_path, RNG)


def test_a_crash_while_writing_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_identity(tmp_path, Identity(ID, 7, kept=True))

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StateError, match="No space"):
        save_identity(tmp_path, Identity(b"j" * 20, 9, kept=True))
    assert load_identity(tmp_path, RNG).id == ID


MEMORY = Memory(
    ID,
    7,
    Electorate(b"r" * 16, 4, ((ID, 7), (b"j" * 20, 1))),
    Ballot(3, 7, ID),
    Ballot(2, 7, ID),
    Delta(b"r" * 16, 4, b"base....", (), (b"k" * 20,), ((ID, 7),), b"digest.."),
)


def test_votes_are_kept_whole(tmp_path: Path) -> None:
    assert load_votes(tmp_path) is None
    save_votes(tmp_path, MEMORY)
    assert load_votes(tmp_path) == MEMORY
    assert MEMORY.delta is not None
    many = msgspec.structs.replace(
        MEMORY,
        delta=msgspec.structs.replace(MEMORY.delta, changed=random_view(RNG, 500).members),
    )
    save_votes(tmp_path, many)
    assert load_votes(tmp_path) == many


@pytest.mark.parametrize("data", [b"", b"noise", msgpack.packb(["cometring votes 0", [ID, 7]])])
def test_damaged_votes_are_not_guessed_at(tmp_path: Path, data: bytes) -> None:
    (tmp_path / VOTES_NAME).write_bytes(data)
    with pytest.raises(StateError, match="damaged"):
        load_votes(tmp_path)


def test_votes_that_cannot_be_written_or_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot write"):
        save_votes(tmp_path / "not there", MEMORY)
    (tmp_path / VOTES_NAME).mkdir()
    with pytest.raises(StateError, match="cannot read"):
        load_votes(tmp_path)


def test_a_directory_is_for_one_process(tmp_path: Path) -> None:
    lock = lock_directory(tmp_path)
    with pytest.raises(StateError, match="in use by another node"):
        lock_directory(tmp_path)
    lock.close()
    lock_directory(tmp_path).close()
    (tmp_path / "file").touch()
    with pytest.raises(StateError):
        lock_directory(tmp_path / "file")
