"""Bayeux messages as they come in, and the replies that go out, as JSON bytes.

Payloads are validated and carried raw (`msgspec.Raw`): a publish's `data` is
never decoded and encoded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Raw = msgspec.Raw
ABSENT = msgspec.Raw()

_MAX_ID_BYTES = 256
_LINE_BREAKS = (b"\n", b"\r")


class ClientAdvice(msgspec.Struct):
    """The part of a client's own advice that a server honours (milliseconds)."""

    timeout: int | None = None
    interval: int | None = None


class ClientMessage(msgspec.Struct, rename="camel"):
    """One message from a client, any channel (Bayeux 1.0, section 3)."""

    channel: str = ""
    id: Raw = ABSENT
    client_id: str | None = None
    data: Raw = ABSENT
    subscription: str | list[str] | None = None
    connection_type: str | None = None
    version: str | None = None
    supported_connection_types: list[str] | None = None
    advice: ClientAdvice | None = None
    ext: Raw = ABSENT


_decode_many = msgspec.json.Decoder(list[ClientMessage]).decode
_decode_one = msgspec.json.Decoder(ClientMessage).decode
_encode = msgspec.json.Encoder().encode


def decode_batch(body: bytes) -> list[ClientMessage]:
    """The messages of a body: an array, or a single object.

    Raises RemoteProtocolError (status 400) for anything else, an empty array
    included. UTF-8 is checked here because raw payloads travel on unparsed,
    and one bad byte would close the WebSocket of every reader.
    """
    try:
        if not body.isascii():
            body.decode()
        many = _decode_many(body) if body.lstrip()[:1] == b"[" else [_decode_one(body)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"not a Bayeux message: {error}", status=400) from error
    if not many:
        raise RemoteProtocolError("an empty array of messages", status=400)
    if len(body) > _MAX_ID_BYTES:
        for message in many:
            if len(message.id) > _MAX_ID_BYTES:
                raise RemoteProtocolError("a message id is too long", status=400)
    return many


def compact(data: Raw | bytes) -> bytes:
    """Raw JSON on one line: line breaks would end an SSE `data:` field."""
    raw = bytes(data)
    if _LINE_BREAKS[0] in raw or _LINE_BREAKS[1] in raw:
        return msgspec.json.format(raw, indent=-1)
    return raw


def quote(text: str) -> bytes:
    """`text` as a JSON string."""
    return _encode(text)


def delivery(
    channel: str,
    data: Raw | bytes,
    message_id: str,
    ext: Mapping[str, Any] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> bytes:
    """The JSON object that readers of `channel` get; built once, shared by all.

    `ext` and `fields` are what else is in it.
    """
    more = b"" if not fields else b"," + _encode(fields)[1:-1]
    if ext:
        more += b',"ext":' + _encode(ext)
    return b'{"channel":%b,"data":%b,"id":%b%b}' % (
        _encode(channel),
        compact(data),
        _encode(message_id),
        more,
    )


def reply(message: ClientMessage, fields: bytes, *, successful: bool = True) -> bytes:
    """A reply echoing channel and id; `fields` is extra JSON, starting with a comma."""
    echoed = b',"id":' + bytes(message.id) if message.id else b""
    return b'{"channel":%b,"successful":%b%b%b}' % (
        _encode(message.channel),
        b"true" if successful else b"false",
        echoed,
        fields,
    )


def connect_reply(echoed_id: bytes, fields: bytes = b"", *, successful: bool = True) -> bytes:
    """The answer to `/meta/connect`; `echoed_id` is raw JSON or empty, `fields` as in `reply`."""
    if echoed_id:
        fields = b',"id":%b%b' % (echoed_id, fields)
    told = b"true" if successful else b"false"
    return b'{"channel":"/meta/connect","successful":%b%b}' % (told, fields)


def error_reply(
    message: ClientMessage, code: int, arguments: str, text: str, advice: bytes = b""
) -> bytes:
    """A failed reply with `error` as ``code:args:message`` (Bayeux 1.0, section 3.4)."""
    told = b',"error":' + _encode(f"{code}:{arguments}:{text}")
    if message.subscription is not None and message.channel != "/meta/handshake":
        told += b',"subscription":' + _encode(message.subscription)
    if advice:
        told += b',"advice":' + advice
    return reply(message, told, successful=False)


def array(parts: Iterable[bytes]) -> bytes:
    """A JSON array of JSON objects."""
    return b"[%b]" % b",".join(parts)
