from __future__ import annotations

import errno
import socket

import pytest

from node.cli.errors import OperationFailed
from node.cli.ports import require_bindable
from node.endpoint import Endpoint


def test_a_free_port_may_be_bound_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    require_bindable(Endpoint("127.0.0.1", port), "--client")
    socket.create_server(("127.0.0.1", port)).close()


def test_a_taken_port_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = Endpoint("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(OperationFailed, match=f"{taken} is taken.*--client-port"):
            require_bindable(taken, "--client-port")


def test_workers_share_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:
        require_bindable(Endpoint("127.0.0.1", listener.getsockname()[1]), "--client", shared=True)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(OperationFailed, match="--client"):
        require_bindable(Endpoint(host, 8080), "--client")


def test_a_port_for_root_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(OperationFailed, match="from 1024 up"):
        require_bindable(Endpoint("127.0.0.1", 80), "--client")
