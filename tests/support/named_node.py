"""A node for whose resolver one name stands for several addresses of loopback.

As a service's name does where nodes are containers. The name is `NAME`; what it
stands for is in the environment, under `ADDRESSES`, separated by commas.
"""

from __future__ import annotations

import os
import runpy
import socket
from typing import Any, Final

NAME: Final = "ring.test"
ADDRESSES: Final = "RING_TEST_ADDRESSES"


def main() -> None:
    """Run `cometring` with the arguments of this program."""
    addresses = os.environ[ADDRESSES].split(",")
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> list[Any]:
        if host != NAME:
            return list(resolve(host, *rest, **options))
        return [found for each in addresses for found in resolve(each, *rest, **options)]

    socket.getaddrinfo = getaddrinfo
    runpy.run_module("node.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
