"""Secrets for the processes that a launcher starts: not in their arguments, nor their environment.

Every user of a machine can read the arguments of a process, and every process of
the same user its environment (``ps e``). A file without a name, which the child
inherits and reads as ``/dev/fd/N``, is seen by neither.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SEALS = fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


@contextmanager
def handed_over(secrets: Mapping[str, str]) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """For each variable a path that children can read its secret from, and what they must inherit.

    Valid while the block runs, for any number of children.
    """
    descriptors: list[int] = []
    environ: dict[str, str] = {}
    try:
        for name, secret in secrets.items():
            descriptor = os.memfd_create("cometring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            descriptors.append(descriptor)
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, secret.encode())
            fcntl.fcntl(descriptor, *_SEALS)
            environ[name] = f"/dev/fd/{descriptor}"
        yield environ, tuple(descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
