"""`cometring serve --workers N`: N members of the ring behind one client port.

One core, one node: each worker is a whole node, with a peer and an ops port of
its own, counted up from the given ones. The kernel spreads connections over
them (SO_REUSEPORT).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from node.cli.launcher import NodePlan
from node.cli.ports import require_bindable
from node.cli.secret import fresh_secret
from node.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from node.config import Config


def plan_workers(
    config: Config, flags: Mapping[str, object], file: Path | None
) -> tuple[list[NodePlan], dict[str, str], dict[str, str]]:
    """The plans, environment and secrets (see `Launcher`) of the workers that `config` asks for.

    `flags` and `file` are what `config` was read from. Raises OperationFailed
    where a port is taken.
    """
    environ = dict(os.environ)
    environ.pop("COMETRING_API_KEY", None)
    environ.pop("COMETRING_CLUSTER_SECRET", None)
    secrets = {}
    if config.api_key is not None:
        secrets["COMETRING_API_KEY_FILE"] = config.api_key
    if config.cluster_secret_file is None:
        secrets["COMETRING_CLUSTER_SECRET_FILE"] = config.cluster_secret or fresh_secret()
    given = _words({name: value for name, value in flags.items() if name != "api_key"})
    if file is not None:
        given += ("--config", str(file))
    peers = [_up(config.peer, i) for i in range(config.workers)]
    host = config.peer.host
    if config.advertise is not None:
        host = parse_endpoint(config.advertise, default_port=config.peer.port).host
    dialled = [str(Endpoint(host, peer.port)) for peer in peers]
    require_bindable(config.client, "--client")
    plans = []
    for i, peer in enumerate(peers):
        ops = _up(config.ops, i)
        require_bindable(peer, "--peer")
        require_bindable(ops, "--ops")
        own = {
            "workers": 1,
            "reuse_port": True,
            "peer": peer,
            "ops": ops,
            "join": ",".join([*config.join, *(d for d in dialled if d != dialled[i])]),
            "expect": config.expect if config.join else config.workers,
        }
        if config.advertise is not None:
            own["advertise"] = dialled[i]
        if config.state_dir is not None:
            own["state_dir"] = config.state_dir / f"worker-{i}"
        plans.append(NodePlan(i, config.client, peer, ops, given + _words(own)))
    return plans, environ, secrets


def _up(endpoint: Endpoint, by: int) -> Endpoint:
    return Endpoint(endpoint.host, endpoint.port + by)


def _words(options: Mapping[str, object]) -> tuple[str, ...]:
    """Options as a command line has them; a later word beats an earlier one."""
    words: list[str] = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if value is True or value is False:
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += (f"--{flag}", str(value))
    return tuple(words)
