"""Whether a listener can be bound, asked before a node is started on it."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from node.cli.errors import OperationFailed

if TYPE_CHECKING:
    from node.endpoint import Endpoint


def require_bindable(endpoint: Endpoint, option: str, *, shared: bool = False) -> None:
    """Bind `endpoint` and let it go; raises OperationFailed that names `option` if it cannot be.

    `shared`: other processes may hold it too, with SO_REUSEPORT. Nothing listens meanwhile.
    """
    try:
        found = socket.getaddrinfo(*endpoint, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        msg = f"{endpoint.host!r} is no address of this machine: choose another with {option}"
        raise OperationFailed(msg) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise OperationFailed(_complaint(endpoint, option, error)) from None


def _complaint(endpoint: Endpoint, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{endpoint} is taken: end what listens there, or choose other ports with {option}"
    if error.errno == errno.EACCES:
        return f"{endpoint} is not allowed to this user: choose a port from 1024 up with {option}"
    return f"cannot listen on {endpoint} ({error.strerror}): choose another with {option}"
