"""``--advertise auto``: the address of this machine from which the seeds are reached.

Containers and instances of a cloud do not know their addresses beforehand, and
often have several. The kernel knows which of them it would use.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

from node.config import AUTO, PEER_PORT, ConfigError
from node.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from node.config import Config

PATIENCE: Final = 30.0
"""Seconds for a seed's name to resolve: a network's names may come up after its containers."""
PAUSE: Final = 0.5


def settle_advertise(config: Config, patience: float = PATIENCE) -> Config:
    """`config` with an address in place of ``auto``. Raises ConfigError; may take `patience`."""
    if config.advertise != AUTO:
        return config
    host = own_address(config.join, patience)
    return config.model_copy(update={"advertise": f"[{host}]" if ":" in host else host})


def own_address(seeds: Sequence[str], patience: float) -> str:
    """The address of this machine towards the first of `seeds` that resolves; else its name's."""
    if not seeds:
        seeds = (str(Endpoint(socket.gethostname(), PEER_PORT)),)
    until = time.monotonic() + patience
    while True:
        for seed in seeds:
            for address in _ways(seed):
                return address
        if time.monotonic() > until:
            msg = (
                f"--advertise auto: {', '.join(seeds)} cannot be resolved or reached from here:"
                " name this host with --advertise HOST"
            )
            raise ConfigError(msg)
        time.sleep(PAUSE)


def _ways(seed: str) -> Iterator[str]:
    """The source addresses that the kernel would use towards `seed`. Sends nothing."""
    host, port = parse_endpoint(seed, default_port=PEER_PORT)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.connect(address)
            except OSError:  # no way there
                continue
            yield probe.getsockname()[0]
