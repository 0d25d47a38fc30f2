"""The settings of one node, their types, their defaults, and what must hold among them."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    NoDecode,
)

from node.endpoint import LOOPBACK, Endpoint, parse_endpoint
from node.origin import ANY, check_origin

CLIENT_PORT = 8080
PEER_PORT = 7400
OPS_PORT = 9100
ENV_PREFIX = "COMETRING_"
AUTO = "auto"
MIN_SECRET = 16  # characters; `cometring secret` prints 43

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class ConfigError(Exception):
    """A setting is wrong; the message is one line that says which and what to do."""


def _endpoint(value: object) -> object:
    return parse_endpoint(value) if isinstance(value, str) else _port(value)


def _port(value: object) -> object:
    return parse_endpoint(str(value)) if type(value) is int else value


Listen = Annotated[Endpoint, NoDecode, BeforeValidator(_endpoint)]


class Config(BaseModel):
    """Everything that one node is told. Times are seconds, sizes are bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    client: Listen = Endpoint(LOOPBACK, CLIENT_PORT)
    peer: Listen = Endpoint(LOOPBACK, PEER_PORT)
    ops: Listen = Endpoint(LOOPBACK, OPS_PORT)
    advertise: str | None = None  # HOST[:PORT] that other nodes dial, or auto; else the listener
    join: Annotated[tuple[str, ...], NoDecode] = ()  # HOST:PORT of seeds, names unresolved
    expect: Annotated[int, Field(ge=1, le=10_000)] = 1  # members that form the first view
    zone: Annotated[str, Field(max_length=255)] = Field(default_factory=socket.gethostname)
    state_dir: Path | None = None
    cluster_secret: str | None = Field(default=None, repr=False)
    cluster_secret_file: Path | None = None
    tls_cert: Path | None = None  # PEM: the client listener's certificate and its chain
    tls_key: Path | None = None  # PEM, not encrypted
    api_key: str | None = Field(default=None, repr=False, min_length=1)
    api_keys: Path | None = None  # TOML: several keys, with scopes
    api_key_file: Path | None = None
    token_secret_file: Path | None = None  # sessions need a token signed with it (HS256)
    token_public_key: Path | None = None  # or under this key's other half; PEM
    token_audience: str = ""  # what the token's `aud` must say
    token_issuer: str = ""  # what its `iss` must say
    session_rate: Annotated[float, Field(ge=0, le=1e6)] = 0.0  # messages/s of one; 0: any
    address_rate: Annotated[float, Field(ge=0, le=1e6)] = 0.0  # new sessions/s from one; 0: any
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()  # whose X-Forwarded-For counts
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    reuse_port: bool = False  # several workers of one host share the client port
    channels: Path | None = None  # TOML: the channel rules
    demo: bool = False  # the page at / and what it needs (direct messages between sessions)
    flat_limit: Annotated[int, Field(ge=0, le=10_000)] = 32  # members of a ring without forwarders
    suspect_after: Annotated[Seconds, Field(ge=0.65, le=60)] = 0.65  # silence that costs a place
    timeout: Annotated[Seconds, Field(gt=0)] = 30.0  # a poll is held this long
    interval: Seconds = 0.0  # a client waits this long between polls
    max_interval: Annotated[Seconds, Field(gt=0)] = 10.0  # a silent session is swept after it
    max_message_size: Annotated[ByteSize, Field(ge=1_024, le=64 << 20)] = ByteSize(1 << 20)
    multi_session_interval: Seconds = 2.0  # between polls of a browser's surplus sessions; 0: none
    hosts: Annotated[tuple[str, ...], NoDecode] = ()  # told to clients, which may go there
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = (ANY,)  # pages that may come here
    keep_alive: Annotated[Seconds, Field(ge=1)] = 25.0  # between comments on a stream of events
    max_partial_bytes: Annotated[ByteSize, Field(ge=64 << 20)] = ByteSize(256 << 20)  # unfinished
    max_log_bytes: Annotated[ByteSize, Field(ge=1 << 20)] = ByteSize(512 << 20)  # all logs here
    websocket_deflate: bool = False  # agree to permessage-deflate
    max_sessions: Annotated[int, Field(ge=1)] = 1_000_000
    shed_lag: Seconds = 1.0  # the loop's lag past which polls are put off; 0: never
    shed_polls: Annotated[int, Field(ge=0)] = 0  # polls held at once; 0: no limit of its own
    shed_interval: Annotated[Seconds, Field(ge=1)] = 30.0  # the longest that clients are put off
    refuse_lag: Seconds = 5.0  # the loop's lag past which new sessions are refused; 0: never
    max_patterns: Annotated[int, Field(ge=1, le=100_000)] = 1_000  # wildcards of the whole cluster
    max_lazy_timeout: Annotated[Seconds, Field(gt=0)] = 5.0  # lazy messages wait at most this long
    drain_delay: Seconds = 1.0  # served as ever, but not ready: balancers take that long to see
    extensions: Annotated[tuple[str, ...], NoDecode] = ("ack", "timesync", "binary")  # in order
    activity: Literal["client", "client-server"] = "client"  # whose messages count (`activity`)
    max_inactivity: Seconds = 1800.0  # the `activity` extension ends sessions after it
    drain_grace: Seconds = 10.0  # a drain ends after this long, finished or not
    channel_metrics: Annotated[int, Field(ge=0, le=1_000)] = 20  # channels that metrics name
    trace: Annotated[float, Field(ge=0, le=1)] = 0.0  # part of all messages that logs follow
    log_requests: Annotated[float, Field(ge=0, le=1)] = 0.0  # part of all requests that get a line
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "pretty", "json"] = "auto"  # auto: pretty on a terminal

    _secrets: tuple[bytes, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _expect_by_seeds(cls, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("expect") is None:
            data = {**data, "expect": 3 if data.get("join") else 1}
        return data

    @model_validator(mode="before")
    @classmethod
    def _read_api_key(cls, data: dict[str, Any]) -> dict[str, Any]:
        file = data.get("api_key_file")
        if file is None:
            return data
        try:
            key = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise ValueError(f"cannot read the API key in {file}: {reason}") from None
        if not key:
            raise ValueError(f"{file} is empty: put the API key in")
        return {**data, "api_key": key}

    @field_validator("advertise")
    @classmethod
    def _check_advertise(cls, text: str | None) -> str | None:
        if text is None or text == AUTO:
            return text
        if parse_endpoint(text, default_port=PEER_PORT).is_wildcard:
            msg = f"{text!r} cannot be dialled: name a host that the other nodes reach"
            raise ValueError(msg)
        return text

    @field_validator("join", mode="before")
    @classmethod
    def _split_join(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            msg = "write HOST:PORT,HOST:PORT or a list of strings"
            raise ValueError(msg)
        return tuple(
            str(parse_endpoint(part, default_port=PEER_PORT)) for part in parts if part.strip()
        )

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(proxy)) for proxy in proxies)

    @field_validator("hosts", "allowed_origins", "extensions", "trusted_proxies", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)) or not all(isinstance(p, str) for p in parts):
            msg = "write A,B or a list of strings"
            raise ValueError(msg)
        return tuple(part.strip() for part in parts if part.strip())

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_origin(origin) for origin in origins)

    @field_validator("workers", mode="before")
    @classmethod
    def _count_workers(cls, value: object) -> object:
        return len(os.sched_getaffinity(0)) if value == "auto" else value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self._check_listeners()
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "--tls-cert and --tls-key go together: give both, or neither"
            raise ValueError(msg)
        found = tuple(self._read_secrets())
        if not found:
            if not self.peer.is_loopback:
                raise ValueError(_secret_wanted(f"the peer listener {self.peer} is open to others"))
            if self.join or self.expect > 1:
                raise ValueError(_secret_wanted("nodes link only under a shared secret"))
            # Nobody knows this one, so nobody can link: a ring of one is all it can be.
            found = (secrets.token_bytes(32),)
        self._secrets = found
        return self

    def _check_listeners(self) -> None:
        if self.peer.is_wildcard and self.advertise is None:
            msg = f"nobody can dial {self.peer}: name this host with --advertise HOST, or auto"
            raise ValueError(msg)
        taken: dict[Endpoint, str] = {}
        for name in ("client", "peer", "ops"):
            endpoint: Endpoint = getattr(self, name)
            other = taken.setdefault(endpoint, name)
            if other != name and endpoint.port:
                msg = f"--{other} and --{name} are both {endpoint}: give each its own port"
                raise ValueError(msg)

    def _read_secrets(self) -> list[bytes]:
        text = self.cluster_secret or ""
        if self.cluster_secret_file is not None:
            try:
                text = self.cluster_secret_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                msg = f"cannot read the cluster secret in {self.cluster_secret_file}: {reason}"
                raise ValueError(msg) from None
            if not text.split():
                msg = (
                    f"{self.cluster_secret_file} is empty: put the output of 'cometring secret' in"
                )
                raise ValueError(msg)
        found = text.replace(",", " ").split()
        if any(len(secret) < MIN_SECRET for secret in found):
            msg = f"a cluster secret has {MIN_SECRET} characters or more: see 'cometring secret'"
            raise ValueError(msg)
        return [secret.encode() for secret in found]

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The cluster secrets: links are opened under the first, accepted under any.

        Never empty; two while a secret is being rotated.
        """
        return self._secrets

    @property
    def longest_pause(self) -> float:
        """Seconds between two polls that a node may tell a client to wait, at most.

        Load spreads them from half of `shed_interval` to one and a half.
        """
        return max(1.5 * self.shed_interval, self.interval, self.multi_session_interval)

    @property
    def reloads(self) -> bool:
        """Whether there is something to read again on SIGHUP."""
        files = (
            self.tls_cert,
            self.channels,
            self.api_keys,
            self.token_secret_file,
            self.token_public_key,
        )
        return any(file is not None for file in files)

    def peer_address(self, bound_port: int | None = None) -> str:
        """HOST:PORT that other nodes dial. `bound_port`: what the kernel chose for port 0."""
        port = bound_port or self.peer.port
        if self.advertise is None:
            return str(Endpoint(self.peer.host, port))
        return str(parse_endpoint(self.advertise, default_port=port or PEER_PORT))

    def client_address(self, bound_port: int | None = None) -> str:
        """HOST:PORT where clients reach this node, as the ring's pages name it."""
        host = self.client.host
        if self.client.is_wildcard:
            host = parse_endpoint(self.peer_address(), default_port=PEER_PORT).host
        return str(Endpoint(host, bound_port or self.client.port))

    def file_warnings(self) -> list[str]:
        """What is wrong with who may read the files that hold secrets, if anything."""
        warnings = []
        for file, others in (
            (self.cluster_secret_file, 0o077),
            (self.api_key_file, 0o077),
            (self.api_keys, 0o077),
            (self.token_secret_file, 0o077),
            (self.tls_key, 0o007),  # (systems have a group for these)
        ):
            mode = stat.S_IMODE(file.stat().st_mode) if file is not None and file.exists() else 0
            if mode & others:
                warnings.append(f"{file} can be read by others (mode {mode:03o}): chmod 600 {file}")
        return warnings


def _secret_wanted(why: str) -> str:
    return (
        f"{why}: make one with 'cometring secret > F' on one node, copy it to all,"
        " and pass --cluster-secret-file F (or set COMETRING_CLUSTER_SECRET)"
    )
