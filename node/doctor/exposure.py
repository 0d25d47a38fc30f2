"""What is open, and to whom: listeners, keys, tokens, origins, files."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from node.api.keys import read_keys
from node.config import ConfigError
from node.doctor.findings import Finding, Level
from node.identity.tokens import read_tokens
from node.origin import ANY
from node.rules_file import read_rules
from node.tls import CertificateError, build_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from node.config import Config
    from node.endpoint import Endpoint


def check_exposure(config: Config) -> Iterator[Finding]:
    """Everything that the settings leave open, and files that will not do."""
    yield _inner("--ops", config.ops, "metrics and the console are for the operator alone")
    yield _inner("--peer", config.peer, "links are authenticated, but not encrypted")
    yield from _clients(config)
    yield from _files(config)


def is_public(endpoint: Endpoint) -> bool:
    """Whether others than this machine and private networks may reach it."""
    if endpoint.is_loopback:
        return False
    try:
        address = ip_address(endpoint.host)
    except ValueError:
        return True  # a name: nobody knows
    return address.is_unspecified or address.is_global


def _inner(option: str, endpoint: Endpoint, why: str) -> Finding:
    if not is_public(endpoint):
        return Finding(Level.OK, option, f"{endpoint}")
    advice = f"bind {option} to a private address ({why}), or let a firewall close it"
    return Finding(Level.WARN, option, f"{endpoint} may be reached from anywhere", advice)


def _clients(config: Config) -> Iterator[Finding]:
    if is_public(config.client) and config.tls_cert is None:
        advice = "set --tls-cert and --tls-key, or let a proxy in front speak TLS"
        yield Finding(Level.WARN, "--client", f"{config.client} speaks plain text", advice)
    else:
        yield Finding(Level.OK, "--client", f"{config.client}")
    open_to_all = is_public(config.client)
    if ANY in config.allowed_origins and open_to_all:
        advice = "name the pages that may come: --allowed-origins https://HOST,…"
        yield Finding(Level.WARN, "origins", "pages of any site may use this node", advice)
    if open_to_all and config.token_secret_file is None and config.token_public_key is None:
        advice = "let your application sign tokens: --token-secret-file or --token-public-key"
        yield Finding(Level.WARN, "sessions", "anybody may begin one", advice)
    if open_to_all and not (config.session_rate and config.address_rate):
        advice = "set --session-rate and --address-rate"
        yield Finding(Level.WARN, "rates", "clients may go as fast as they can", advice)
    if config.demo:
        advice = "--no-demo: its page and direct messages between sessions are for trying out"
        yield Finding(Level.WARN if open_to_all else Level.OK, "demo", "is on", advice)


def _files(config: Config) -> Iterator[Finding]:
    for warning in config.file_warnings():
        yield Finding(Level.WARN, "files", warning, "a secret is its owner's alone")
    checks: tuple[tuple[str, Callable[[], str]], ...] = (
        ("/api", lambda: _api(config)),
        ("tokens", lambda: "checked" if read_tokens(config) else "none are wanted"),
        ("channel rules", lambda: f"{len(read_rules(config))}"),
    )
    for subject, check in checks:
        try:
            yield Finding(Level.OK, subject, check())
        except ConfigError as error:
            yield Finding(Level.FAIL, subject, str(error), "correct the file")
    if config.tls_cert is not None and config.tls_key is not None:
        try:
            build_context(config.tls_cert, config.tls_key)
            yield Finding(Level.OK, "certificate", f"{config.tls_cert} and its key fit")
        except CertificateError as error:
            yield Finding(Level.FAIL, "certificate", str(error), "--tls-cert, --tls-key")


def _api(config: Config) -> str:
    keys = read_keys(config)
    return f"open to {len(keys)} key{'s' if len(keys) > 1 else ''}" if keys else "closed: no key"
