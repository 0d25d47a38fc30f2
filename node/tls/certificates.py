"""The certificate that clients see, and how it is renewed while they stay.

A new pair of files makes a new context, and only a whole one takes the old
one's place. Connections keep the context they began with, so nobody is dropped.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import structlog
import trio

from node.config import ConfigError
from node.tls.expiry import not_after

if TYPE_CHECKING:
    from pathlib import Path

    from node.stats import Stats

log = structlog.get_logger()

CHECK_EVERY: Final = 60.0  # seconds between looks at the files

_Signature = tuple[tuple[int, int, int], ...]


class CertificateError(ConfigError):
    """The pair of files cannot be used; the message is one line that says why."""


def build_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A server's context: TLS 1.2 or newer, HTTP/1.1 by ALPN, nothing renegotiated.

    `cert` has the certificate and its chain, `key` the private key, both PEM.
    Raises CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    try:
        _look_at(cert.read_bytes(), key.read_bytes(), cert, key)
        context.load_cert_chain(cert, key, _no_password)
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        reason = "the key belongs to another certificate" if mismatch else str(error)
        raise CertificateError(f"{cert} and {key} are no pair: {reason}") from error
    except OSError as error:
        raise CertificateError(f"cannot read {error.filename}: {error.strerror}") from error
    return context


def _look_at(cert_pem: bytes, key_pem: bytes, cert: Path, key: Path) -> None:
    """Refuse what OpenSSL would refuse without saying why."""
    if b"-----BEGIN CERTIFICATE-----" not in cert_pem:
        raise CertificateError(f"{cert} has no certificate in PEM")
    if b"PRIVATE KEY-----" not in key_pem:
        raise CertificateError(f"{key} has no private key in PEM")
    if b"ENCRYPTED" in key_pem:
        raise CertificateError(f"{key} is encrypted, and nobody is there to type its password")


def _no_password() -> bytes:
    """Rather than a question on the terminal."""
    return b""


class Certificates:
    """The current context, from two files that may be replaced at any time."""

    def __init__(self, cert: Path, key: Path, stats: Stats) -> None:
        """Raises CertificateError."""
        self._cert = cert
        self._key = key
        self._stats = stats
        self._seen = self._signature()
        self.context = build_context(cert, key)
        self._note_end()

    async def reload(self) -> bool:
        """Use what the files have now; if they are no good, go on with the old."""
        self._seen = self._signature()
        try:
            self.context = await trio.to_thread.run_sync(build_context, self._cert, self._key)
        except CertificateError as error:
            self._stats.tls_reloads["refused"] += 1
            log.warning("certificate_refused", error=str(error), using="the one before")
            return False
        self._stats.tls_reloads["ok"] += 1
        await trio.to_thread.run_sync(self._note_end)
        log.info("certificate_loaded", file=str(self._cert))
        return True

    async def watch(self, every: float = CHECK_EVERY) -> None:
        """Reload whenever the files have changed, until cancelled."""
        while True:
            await trio.sleep(every)
            if self._signature() != self._seen:
                await self.reload()

    def _note_end(self) -> None:
        """Tell metrics until when the certificate is valid."""
        try:
            self._stats.certificate_ends = not_after(self._cert.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:  # (replaced at this moment: the next look tells)
            log.warning("certificate_end_unknown", file=str(self._cert), error=str(error))

    def _signature(self) -> _Signature:
        """What changes when a file does; empty while one is missing."""
        try:
            found = [file.stat() for file in (self._cert, self._key)]
        except OSError:
            return ()
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in found)
