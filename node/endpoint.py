"""HOST:PORT as people write it: ``127.0.0.1:8080``, ``[::1]:8080``, ``:8080``, ``8080``."""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

LOOPBACK = "127.0.0.1"
WILDCARD = "0.0.0.0"  # noqa: S104 - named here so that it is chosen, never the default
MAX_PORT = 65_535


class Endpoint(NamedTuple):
    """Where a listener binds or a peer is dialled; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """HOST:PORT, with the brackets that an IPv6 host needs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every interface, and so nothing that can be dialled."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False


def parse_endpoint(text: str, default_host: str = LOOPBACK, default_port: int = 0) -> Endpoint:
    """Read HOST:PORT, HOST (where `default_port` is set), PORT, or :PORT for all interfaces.

    Raises ValueError with a sentence for the person who wrote it.
    """
    text = text.strip()
    wrong = ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    if text.isascii() and text.isdigit():
        host, port_text = default_host, text
    elif text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise wrong
        port_text = rest[1:] if rest else str(default_port or "")
        _require_address(host, wrong)
    elif text.count(":") > 1:
        msg = f"{text!r}: write an IPv6 address in brackets, such as [::1]:8080"
        raise ValueError(msg)
    else:
        host, colon, port_text = text.partition(":")
        if not colon:
            port_text = str(default_port or "")
        elif not host:
            host = WILDCARD
    if not host or any(c.isspace() or c in "/@?#" for c in host):
        raise wrong
    if not (port_text.isascii() and port_text.isdigit()):
        raise wrong
    port = int(port_text)
    if port > MAX_PORT:
        msg = f"{text!r}: a port is at most {MAX_PORT}"
        raise ValueError(msg)
    return Endpoint(host, port)


def _require_address(host: str, wrong: ValueError) -> None:
    try:
        ip_address(host)
    except ValueError:
        raise wrong from None
