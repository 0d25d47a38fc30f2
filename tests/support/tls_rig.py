"""Certificates made for a test, and clients that speak TLS to a reactor under test."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio
import trustme

from node.tls import Certificates, TlsListener
from wire import Client, Served, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from node.http import HttpSettings
    from node.http.connection import HttpHandler

NAMES = ("localhost", "127.0.0.1")


@dataclass
class Issued:
    """A certificate authority, and the pair of files that a node is told of."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority.cert_pem.write_to_path(self.authority_file)
        self.issue()

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def authority_file(self) -> Path:
        """For clients that are told whom to trust by a file."""
        return self.folder / "authority.pem"

    @property
    def options(self) -> list[str]:
        """For `cometring serve`."""
        return ["--tls-cert", str(self.cert), "--tls-key", str(self.key)]

    def issue(self, *names: str) -> bytes:
        """Write a new pair over the old one; returns the certificate (DER)."""
        leaf = self.authority.issue_cert(*(names or NAMES), not_after=self.not_after)
        self.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(self.key)
        return ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())

    def client_context(self) -> ssl.SSLContext:
        """Trusts this authority alone."""
        context = ssl.create_default_context(cafile=str(self.authority_file))
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


@dataclass
class TlsClient(Client):
    """As `Client`, encrypted."""

    stream: trio.SSLStream[trio.SocketStream] | None = None

    @property
    def tls(self) -> trio.SSLStream[trio.SocketStream]:
        assert self.stream is not None
        return self.stream

    async def send(self, data: bytes) -> None:
        await self.tls.send_all(data)

    async def receive(self) -> bytes:
        try:
            return bytes(await self.tls.receive_some(65536))
        except trio.BrokenResourceError:
            return b""


@dataclass
class TlsServed:
    """A running reactor whose clients speak TLS."""

    served: Served
    listener: TlsListener
    issued: Issued

    @property
    def outcomes(self) -> dict[str, int]:
        return dict(self.served.stats.tls_handshakes)

    def plain(self) -> Client:
        """A client that has yet to say anything."""
        client, theirs = self.served.pair()
        self.listener.accept(theirs)
        return client

    def begin(self, context: ssl.SSLContext | None = None) -> TlsClient:
        """A client before its handshake."""
        client = self.plain()
        transport = trio.SocketStream(client.sock)
        context = context or self.issued.client_context()
        stream = trio.SSLStream(transport, context, server_hostname="localhost")
        return TlsClient(client.sock, stream=stream)

    async def connect(self, context: ssl.SSLContext | None = None) -> TlsClient:
        client = self.begin(context)
        await client.tls.do_handshake()
        return client


@asynccontextmanager
async def tls_serving(
    issued: Issued,
    handler: HttpHandler,
    settings: HttpSettings | None = None,
    end_of_turn: Callable[[], bool] = lambda: False,
) -> AsyncIterator[TlsServed]:
    """As `serving`, under the certificate of `issued`."""
    async with serving(handler, settings, end_of_turn) as served:
        certificates = Certificates(issued.cert, issued.key, served.stats)
        listener = TlsListener(served.reactor, certificates, served.service.adopt)
        yield TlsServed(served, listener, issued)
