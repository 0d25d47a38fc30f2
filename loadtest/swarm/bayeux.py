"""Bayeux 1.0 bodies that the swarm sends, and what it looks for in the answers."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

HANDSHAKE: Final = (
    b'[{"channel":"/meta/handshake","version":"1.0","minimumVersion":"1.0",'
    b'"supportedConnectionTypes":["long-polling","websocket"],"id":"1"}]'
)
CONNECT_MARK: Final = b'"/meta/connect"'
FAILURE_MARK: Final = b'"successful":false'
ADVICE_MARK: Final = b'"advice":'
_INTERVAL: Final = re.compile(rb'"advice":\{[^{}]*"interval":(\d+)')


class Refused(Exception):
    """A meta request was answered with ``successful: false``, or not at all."""


class Message(msgspec.Struct):
    """The fields of a Bayeux message that the swarm reads."""

    channel: str = ""
    clientId: str = ""  # noqa: N815 - the protocol's name
    successful: bool = True
    error: str = ""
    data: Any = None


_messages = msgspec.json.Decoder(list[Message])
_single = msgspec.json.Decoder(Message)


def messages_of(body: bytes) -> list[Message]:
    """The messages of an array or single-object body. Raises `Refused` if it is neither."""
    try:
        return _messages.decode(body) if body.startswith(b"[") else [_single.decode(body)]
    except msgspec.MsgspecError as error:
        raise Refused(f"not Bayeux: {error}: {body[:200]!r}") from error


def reply_to(channel: str, body: bytes) -> Message:
    """The successful reply on `channel` in `body`. Raises `Refused` if there is none."""
    for message in messages_of(body):
        if message.channel == channel:
            if not message.successful:
                raise Refused(f"{channel}: {message.error}")
            return message
    raise Refused(f"no reply on {channel}: {body[:200]!r}")


def subscribe(client_id: str, *channels: str) -> bytes:
    """A subscription request; several channels in one message."""
    names = f'"{channels[0]}"' if len(channels) == 1 else "[" + _quoted(channels) + "]"
    return (
        f'[{{"channel":"/meta/subscribe","clientId":"{client_id}",'
        f'"subscription":{names},"id":"2"}}]'
    ).encode()


def _quoted(names: tuple[str, ...]) -> str:
    return ",".join(f'"{name}"' for name in names)


def connect_prefix(client_id: str, transport: str, timeout: int | None) -> bytes:
    """A connect request up to its id, which `connect` adds.

    `timeout` (milliseconds) is the client's own ``advice.timeout``; 0 asks for
    an answer at once.
    """
    advice = "" if timeout is None else f'"advice":{{"timeout":{timeout}}},'
    return (
        f'[{{"channel":"/meta/connect","clientId":"{client_id}",'
        f'"connectionType":"{transport}",{advice}"id":"'
    ).encode()


def pause_of(answer: bytes) -> float | None:
    """Seconds that the `advice` in an answer asks clients to wait before they connect again.

    None where it says nothing of that.
    """
    found = _INTERVAL.search(answer)
    return int(found[1]) / 1000 if found is not None else None


def connect(prefix: bytes, turn: int) -> bytes:
    """The connect request number `turn`."""
    return b'%b%d"}]' % (prefix, turn)
