from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import msgpack
import pytest

from node.cluster.state import FILE_NAME, Identity, StateError, load_identity, save_identity
from node.config import ConfigError

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
