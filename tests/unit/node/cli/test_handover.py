from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.handover import handed_over

READ = "import sys; print(open(sys.argv[1]).read())"


def read_in_child(path: str, descriptors: tuple[int, ...]) -> str:
    words = [sys.executable, "-c", READ, path]
    done = subprocess.run(words, pass_fds=descriptors, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def test_children_read_their_secrets_as_often_as_they_are_started() -> None:
    with handed_over({"A": "first", "B": "second"}) as (paths, descriptors):
        for _ in range(2):
            assert read_in_child(paths["A"], descriptors) == "first"
            assert read_in_child(paths["B"], descriptors) == "second"
        assert not read_in_child(paths["A"], ()), "a process that was not meant to have it"
    assert not Path(f"/proc/self/fd/{descriptors[0]}").exists()


def test_what_is_handed_over_cannot_be_changed() -> None:
    with handed_over({"A": "first"}) as (_, (descriptor,)), pytest.raises(PermissionError):
        os.write(descriptor, b"x")


def test_only_the_same_user_may_read_it() -> None:
    with handed_over({"A": "first"}) as (_, (descriptor,)):
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600
