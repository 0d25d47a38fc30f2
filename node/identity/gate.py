"""The gate: the one place that decides who may begin a session, and how fast clients go."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import trio

from node.identity.rates import Rates
from node.identity.tokens import Claims, TokenError, Tokens

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    from node.config import Config
    from node.connection import Connection
    from node.http import Head

_SITE = 64  # bits of an IPv6 address that one customer has


class Denied(NamedTuple):
    """Why not, as Bayeux and HTTP both number it."""

    status: int
    text: str


class _Ext(msgspec.Struct):
    token: str = ""


def token_in(ext: msgspec.Raw) -> str:
    """The token that a message's `ext` carries; empty where there is none."""
    try:
        return msgspec.json.decode(ext, type=_Ext).token
    except msgspec.MsgspecError:
        return ""


class Gate:
    """Tokens, rates by client address and by session. Without settings it stands open."""

    def __init__(self, config: Config, tokens: Tokens | None = None) -> None:
        self.tokens = tokens
        self.sessions = Rates(config.session_rate)
        self._addresses = Rates(config.address_rate)
        self._proxies: tuple[IPv4Network | IPv6Network, ...] = tuple(
            ip_network(proxy) for proxy in config.trusted_proxies
        )

    # -- sessions ---------------------------------------------------------------

    def deny_session(self, token: str, client: str) -> Denied | None:
        """Why whoever shows `token` from `client` (see `client_of`) may not begin a session."""
        if self._addresses and client and not self._addresses.take(client, trio.current_time()):
            return Denied(429, "too many sessions from this address, retry later")
        if self.tokens is not None:
            try:
                self.tokens.verify(token)
            except TokenError as error:
                return Denied(401, str(error))
        return None

    def claims(self, token: str) -> Claims:
        """What `token` grants; nothing, where there is none. Raises TokenError."""
        if not token or self.tokens is None:
            return Claims()
        return self.tokens.verify(token)

    def lets_send(self, address: str) -> bool:
        """Whether the session of this address may send one more message now."""
        return self.sessions.take(address, trio.current_time())

    # -- where they come from ----------------------------------------------------

    def client_of(self, conn: Connection, head: Head) -> str:
        """Under what a client's address is counted; empty where none is.

        `X-Forwarded-For` is believed as far as trusted proxies wrote it: read
        from its end, the first that is no trusted proxy is the client. An IPv6
        address counts with its whole site.
        """
        if not self._addresses:
            return ""
        try:
            address = _plain(conn.sock.getpeername()[0])
        except (OSError, ValueError, IndexError):
            return ""  # it has gone, or has no address
        for hop in reversed(head.forwarded.split(",")):
            if not self._trusts(address):
                break
            try:
                address = _plain(hop.strip())
            except ValueError:
                break
        if isinstance(address, IPv6Address):
            return str(ip_network((address, _SITE), strict=False))
        return str(address)

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._proxies)


def _plain(text: str) -> IPv4Address | IPv6Address:
    """An address; an IPv4 one also where IPv6 carries it (RFC 4291, section 2.5.5.2)."""
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
