"""`cometring serve`: one node in this process, or several workers behind one client port."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import trio
import typer

from node.cli.advertise import settle_advertise
from node.cli.launcher import Launcher
from node.cli.ports import require_bindable
from node.cli.workers import plan_workers
from node.config import Config, ConfigError, load_config
from node.log_setup import configure_logging

if TYPE_CHECKING:
    from collections.abc import Mapping

ORPHAN_GRACE = 10.0  # seconds that a node has to leave once its launcher has gone

_log = structlog.get_logger(__name__)


def _option(
    name: str, panel: str, text: str, *, envvar: str | None = None, hidden: bool = False
) -> object:
    return typer.Option(
        f"--{name}",
        help=text,
        rich_help_panel=panel,
        show_default=False,
        envvar=envvar,
        hidden=hidden,
    )


# Values stay text here: `node.config` reads them, so that a mistake in a flag, a variable and
# the file is told in the same words.
def serve(
    client: Annotated[
        str | None, _option("client", "Clients", "HOST:PORT to listen on [127.0.0.1:8080].")
    ] = None,
    api_key: Annotated[
        str | None, _option("api-key", "Clients", "Opens /api to who shows it; closed without.")
    ] = None,
    api_keys: Annotated[
        str | None, _option("api-keys", "Clients", "A TOML file of keys with scopes [none].")
    ] = None,
    api_key_file: Annotated[
        str | None, _option("api-key-file", "Clients", "A file that holds the API key.")
    ] = None,
    token_secret_file: Annotated[
        str | None,
        _option("token-secret-file", "Clients", "Sessions need a token signed with it, HS256."),
    ] = None,
    token_public_key: Annotated[
        str | None,
        _option("token-public-key", "Clients", "Or under the other half of this key, PEM."),
    ] = None,
    token_audience: Annotated[
        str | None, _option("token-audience", "Clients", "What a token's aud must say [any].")
    ] = None,
    token_issuer: Annotated[
        str | None, _option("token-issuer", "Clients", "What a token's iss must say [any].")
    ] = None,
    session_rate: Annotated[
        str | None, _option("session-rate", "Clients", "Messages/s of a session; 0: any [0].")
    ] = None,
    address_rate: Annotated[
        str | None, _option("address-rate", "Clients", "New sessions/s of an address; 0: any [0].")
    ] = None,
    trusted_proxies: Annotated[
        str | None,
        _option("trusted-proxies", "Clients", "NETWORK,… whose X-Forwarded-For counts [none]."),
    ] = None,
    demo: Annotated[
        bool | None, _option("demo/--no-demo", "Clients", "Serve the demo page at / [no].")
    ] = None,
    channels: Annotated[
        str | None, _option("channels", "Clients", "A TOML file of channel rules [none].")
    ] = None,
    timeout: Annotated[
        str | None, _option("timeout", "Clients", "Seconds that a poll is held [30].")
    ] = None,
    interval: Annotated[
        str | None, _option("interval", "Clients", "Seconds between a client's polls [0].")
    ] = None,
    max_interval: Annotated[
        str | None, _option("max-interval", "Clients", "Seconds until a silent session ends [10].")
    ] = None,
    max_message_size: Annotated[
        str | None, _option("max-message-size", "Clients", "Largest body, such as 1MiB [1MiB].")
    ] = None,
    max_partial_bytes: Annotated[
        str | None,
        _option("max-partial-bytes", "Clients", "Unfinished requests, in all [256MiB]."),
    ] = None,
    max_log_bytes: Annotated[
        str | None,
        _option("max-log-bytes", "Clients", "Payload in the logs of this node, in all [512MiB]."),
    ] = None,
    websocket_deflate: Annotated[
        bool | None,
        _option("websocket-deflate/--no-websocket-deflate", "Clients", "Compress frames [no]."),
    ] = None,
    tls_cert: Annotated[
        str | None, _option("tls-cert", "Clients", "Certificate and chain, PEM: clients use TLS.")
    ] = None,
    tls_key: Annotated[
        str | None, _option("tls-key", "Clients", "Its private key, PEM, not encrypted.")
    ] = None,
    max_sessions: Annotated[
        str | None, _option("max-sessions", "Clients", "Sessions on this node [1000000].")
    ] = None,
    shed_lag: Annotated[
        str | None, _option("shed-lag", "Clients", "Loop lag past which polls are put off [1].")
    ] = None,
    shed_polls: Annotated[
        str | None, _option("shed-polls", "Clients", "Polls held at most; 0: no limit [0].")
    ] = None,
    shed_interval: Annotated[
        str | None, _option("shed-interval", "Clients", "Longest put-off between polls [30].")
    ] = None,
    refuse_lag: Annotated[
        str | None, _option("refuse-lag", "Clients", "Loop lag past which none is let in [5].")
    ] = None,
    max_patterns: Annotated[
        str | None,
        _option("max-patterns", "Clients", "Wildcard channels in the whole cluster [1000]."),
    ] = None,
    max_lazy_timeout: Annotated[
        str | None,
        _option("max-lazy-timeout", "Clients", "Seconds that lazy messages may wait [5]."),
    ] = None,
    multi_session_interval: Annotated[
        str | None,
        _option("multi-session-interval", "Clients", "Seconds between polls of a second tab [2]."),
    ] = None,
    hosts: Annotated[
        str | None, _option("hosts", "Clients", "HOST[:PORT],… told to clients, to go to [none].")
    ] = None,
    allowed_origins: Annotated[
        str | None,
        _option("allowed-origins", "Clients", "https://HOST,… of pages, * or same-origin [*]."),
    ] = None,
    keep_alive: Annotated[
        str | None,
        _option("keep-alive", "Clients", "Seconds between comments on event streams [25]."),
    ] = None,
    extensions: Annotated[
        str | None,
        _option("extensions", "Clients", "NAME or module:Factory,… [ack,timesync,binary]."),
    ] = None,
    activity: Annotated[
        str | None, _option("activity", "Clients", "Of the client, or client-server [client].")
    ] = None,
    max_inactivity: Annotated[
        str | None,
        _option("max-inactivity", "Clients", "Seconds that `activity` allows without any [1800]."),
    ] = None,
    peer: Annotated[
        str | None, _option("peer", "Ring", "HOST:PORT for links from nodes [127.0.0.1:7400].")
    ] = None,
    advertise: Annotated[
        str | None,
        _option("advertise", "Ring", "HOST[:PORT] that other nodes dial, or auto [--peer]."),
    ] = None,
    join: Annotated[
        str | None, _option("join", "Ring", "HOST:PORT,… of nodes to join; names may be many.")
    ] = None,
    expect: Annotated[
        str | None, _option("expect", "Ring", "Members of the first view [3 with --join, else 1].")
    ] = None,
    zone: Annotated[
        str | None, _option("zone", "Ring", "Replicas prefer other zones [the host's name].")
    ] = None,
    state_dir: Annotated[
        str | None, _option("state-dir", "Ring", "Where the node's id survives a restart [none].")
    ] = None,
    cluster_secret_file: Annotated[
        str | None,
        _option("cluster-secret-file", "Ring", "The secret that nodes share; see `secret`."),
    ] = None,
    flat_limit: Annotated[
        str | None, _option("flat-limit", "Ring", "Members up to which trees are flat [32].")
    ] = None,
    suspect_after: Annotated[
        str | None,
        _option("suspect-after", "Ring", "Seconds of silence that cost a node its place [0.65]."),
    ] = None,
    ops: Annotated[
        str | None, _option("ops", "Process", "HOST:PORT of metrics and health [127.0.0.1:9100].")
    ] = None,
    workers: Annotated[
        str | None, _option("workers", "Process", "Nodes behind this client port; N or auto [1].")
    ] = None,
    drain_delay: Annotated[
        str | None, _option("drain-delay", "Process", "Seconds not ready before leaving [1].")
    ] = None,
    drain_grace: Annotated[
        str | None, _option("drain-grace", "Process", "Seconds that leaving may take [10].")
    ] = None,
    channel_metrics: Annotated[
        str | None,
        _option("channel-metrics", "Process", "Busiest channels that metrics name [20]."),
    ] = None,
    trace: Annotated[
        str | None,
        _option("trace", "Process", "Part of all messages whose way is logged, 0 to 1 [0]."),
    ] = None,
    log_requests: Annotated[
        str | None,
        _option("log-requests", "Process", "Part of all requests that are logged, 0 to 1 [0]."),
    ] = None,
    log_level: Annotated[
        str | None, _option("log-level", "Process", "debug, info, warning or error [info].")
    ] = None,
    log_format: Annotated[
        str | None, _option("log-format", "Process", "auto, pretty or json [auto].")
    ] = None,
    config: Annotated[
        Path | None,
        _option("config", "Process", "A TOML file with these options.", envvar="COMETRING_CONFIG"),
    ] = None,
    reuse_port: Annotated[bool | None, _option("reuse-port", "Process", "", hidden=True)] = None,
    launcher_fd: Annotated[int | None, _option("launcher-fd", "Process", "", hidden=True)] = None,
) -> int:
    """Run one node until SIGTERM or SIGINT.

    Every option is also a COMETRING_… variable and a key of the TOML file;
    a flag beats the environment, and that beats the file.
    """
    flags = {name: value for name, value in locals().items() if name in Config.model_fields}
    settings = settle_advertise(load_config(flags, config))
    if launcher_fd is not None:
        _end_with_launcher(launcher_fd)
    if settings.workers > 1:
        return _run_workers(settings, flags, config)
    _run_node(settings)
    return 0


def _run_node(config: Config) -> None:
    configure_logging(config.log_level, config.log_format, client=str(config.client))
    _warn_of_files(config)
    _check_listeners(config)
    _check_certificate(config)
    _check_rules(config)
    _check_extensions(config)
    _check_keys(config)
    _raise_descriptor_limit()
    from node.app import serve as serve_node  # noqa: PLC0415 - other commands need none of it

    trio.run(serve_node, config)


def _run_workers(config: Config, flags: Mapping[str, object], file: Path | None) -> int:
    configure_logging(config.log_level, config.log_format)
    _warn_of_files(config)
    _check_certificate(config)
    _check_rules(config)
    _check_extensions(config)
    _check_keys(config)
    plans, environ, secrets = plan_workers(config, flags, file)
    launcher = Launcher(
        plans,
        environ,
        respawn=True,
        grace=config.drain_delay + config.drain_grace + 2,
        passes_on_hangup=config.reloads,
        secrets=secrets,
    )
    return trio.run(launcher.run)


def _warn_of_files(config: Config) -> None:
    for warning in config.file_warnings():
        _log.warning("a secret is not private", advice=warning)


def _check_listeners(config: Config) -> None:
    require_bindable(config.client, "--client", shared=config.reuse_port)
    require_bindable(config.peer, "--peer")
    require_bindable(config.ops, "--ops")


def _check_certificate(config: Config) -> None:
    if config.tls_cert is not None and config.tls_key is not None:
        from node.tls import CertificateError, build_context  # noqa: PLC0415 - as for node.app

        try:
            build_context(config.tls_cert, config.tls_key)
        except CertificateError as error:
            msg = f"--tls-cert, --tls-key: {error}"
            raise ConfigError(msg) from None


def _check_keys(config: Config) -> None:
    from node.api.keys import read_keys  # noqa: PLC0415 - as for node.app
    from node.identity.tokens import read_tokens  # noqa: PLC0415

    read_keys(config)
    read_tokens(config)


def _check_rules(config: Config) -> None:
    from node.rules_file import read_rules  # noqa: PLC0415 - as for node.app

    for rule in read_rules(config):
        if rule.subscribe == "token" and not (config.token_secret_file or config.token_public_key):
            _log.warning("nobody can subscribe: no key checks tokens", channels=rule.match)


def _check_extensions(config: Config) -> None:
    from node.bayeux.extensions.loading import find_factory  # noqa: PLC0415 - as for node.app

    for name in config.extensions:
        find_factory(name)


def _raise_descriptor_limit() -> None:
    """A connection is a descriptor: take as many as the system lets this user have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _end_with_launcher(descriptor: int) -> None:
    """Leave when the launcher's end of a pipe closes, however the launcher ended.

    A thread, so that a node whose loop hangs is not left behind. (PR_SET_PDEATHSIG
    follows the thread that forked, which need not live as long as the launcher.)
    """

    def wait_for_end() -> None:
        os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE)
        os._exit(1)

    threading.Thread(target=wait_for_end, name="launcher-watch", daemon=True).start()
