"""The opening handshake (RFC 6455 section 4.2), by wsproto."""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

import h11
import wsproto
from wsproto.events import AcceptConnection, Request
from wsproto.utilities import RemoteProtocolError as HandshakeError

from node.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsproto.extensions import Extension

    from node.http.head import Head


def accept(
    head: Head,
    subprotocols: tuple[str, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
    extensions: Sequence[Extension] = (),
) -> bytes:
    """The bytes that answer a proper handshake request.

    `subprotocols` are those that we speak, best first; the first that the client
    offers is chosen, none if it offers none of them. `extensions` are asked for
    what they accept of the client's offers.

    Raises RemoteProtocolError: 400, or 426 for another version of the protocol;
    LocalProtocolError for a header of ours that is not one line of text.
    """
    if head.upgrade != "websocket" or head.http_version != "1.1":
        raise RemoteProtocolError("not a WebSocket handshake")
    if not _is_key(head.header("sec-websocket-key")):
        raise RemoteProtocolError("Sec-WebSocket-Key is not 16 bytes in base64")
    machine = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    try:
        machine.receive_data(head.raw)
        request = next(iter(machine.events()), None)
    except HandshakeError as error:
        raise _refusal(error) from error
    except UnicodeError as error:  # a Host that is no host name, a token that is not ASCII
        raise RemoteProtocolError("header not in ASCII") from error
    if not isinstance(request, Request):
        raise RemoteProtocolError("not a WebSocket handshake")
    chosen = next((name for name in subprotocols if name in request.subprotocols), None)
    try:
        more = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers]
        return machine.send(AcceptConnection(chosen, list(extensions), more))
    except (UnicodeError, h11.LocalProtocolError) as error:
        raise LocalProtocolError("not a header") from error


def _is_key(key: str | None) -> bool:
    try:
        return key is not None and len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except ValueError:
        return False


def _refusal(error: HandshakeError) -> RemoteProtocolError:
    hint = error.event_hint
    status = getattr(hint, "status_code", 400)
    named = [
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in getattr(hint, "headers", [])
    ]
    return RemoteProtocolError(str(error), status, headers=tuple(named))
