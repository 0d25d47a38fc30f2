"""Messages to bytes and back: the one place where a peer's bytes become objects.

Everything between nodes is msgpack, by two implementations with one job each:

- `decode_stranger` is for whatever nobody has vouched for (the frames before
  authentication, files of the state directory). It goes through the ``msgpack``
  package, whose ``max_*_len`` limits refuse what is too long or too many before
  anything is built, and only then through typed conversion.
- `Encoder` and `decode_batch` are for batches of typed messages whose MAC has
  been checked. They go through msgspec's msgpack codec, which decodes straight
  into the message types: measured 0.4 / 0.9 us to encode / decode a message
  against 2.4 / 6.1 us for the package plus conversion. Both write the same
  bytes; a property test holds them to it.

Whatever is malformed raises `RemoteProtocolError` and nothing else. Length is
limited before (a frame is at most `frames.MAX_FRAME`), the number of messages
here, depth by the types: none is recursive, and what no type asks for is
skipped under the interpreter's recursion limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, get_args

import msgpack
import msgspec

from dht.messages import RingMessage
from node.cluster.messages import LinkMessage, NodeMessage
from node.errors import LocalProtocolError, RemoteProtocolError
from pubsub.messages import PubSubMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

Message: TypeAlias = RingMessage | PubSubMessage | NodeMessage | LinkMessage
T = TypeVar("T")

MAX_BATCH: Final = 8_192
"""Messages in one frame: bounds how long the decoder holds the loop (some 5 ms)."""

RING_MESSAGES: Final = frozenset(get_args(RingMessage))
PUBSUB_MESSAGES: Final = frozenset(get_args(PubSubMessage))
NODE_MESSAGES: Final = frozenset(get_args(NodeMessage))
LINK_MESSAGES: Final = frozenset(get_args(LinkMessage))

_SHORT_ARRAY: Final = 15  # elements that a one-byte array header can count
_ARRAY16: Final = 0xDC

_decoder: Final = msgspec.msgpack.Decoder(list[Message])


class Encoder:
    """Encodes messages; one that goes to many nodes in a row is encoded once."""

    __slots__ = ("_bytes", "_encoder", "_message")

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._message: msgspec.Struct | None = None
        self._bytes = b""

    def encode(self, message: msgspec.Struct) -> bytes:
        """The msgpack form of one message."""
        # Identity, not equality: forwarding sends one object down several links.
        if message is not self._message:
            self._bytes = self._encoder.encode(message)
            self._message = message
        return self._bytes


def join_batch(messages: Sequence[bytes]) -> bytes:
    """The payload of a frame that carries these encoded messages."""
    size = len(messages)
    if size > MAX_BATCH:
        msg = f"{size} messages in one batch"
        raise LocalProtocolError(msg)
    if size <= _SHORT_ARRAY:
        return b"".join((bytes((0x90 | size,)), *messages))
    return b"".join((bytes((_ARRAY16, size >> 8, size & 0xFF)), *messages))


def decode_batch(payload: bytes) -> list[Message]:
    """The messages of an authenticated frame. Raises RemoteProtocolError."""
    if _batch_size(payload) > MAX_BATCH:
        msg = "too many messages in one frame"
        raise RemoteProtocolError(msg, code="malformed")
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"malformed message: {error}"
        raise RemoteProtocolError(msg, code="malformed") from None


def _batch_size(payload: bytes) -> int:
    """How many messages the array header announces; too many where it is not one of ours."""
    if payload and payload[0] & 0xF0 == 0x90:
        return payload[0] & 0x0F
    if len(payload) >= 3 and payload[0] == _ARRAY16:
        return int.from_bytes(payload[1:3], "big")
    return MAX_BATCH + 1


def decode_stranger(
    data: bytes, kind: type[T], *, max_text: int = 300, max_bytes: int = 1024, max_items: int = 16
) -> T:
    """One value of type `kind` from bytes that nobody has vouched for.

    Limits are per value: bytes of a string, bytes of a byte string, elements of
    an array. Maps and extension types are refused. Raises RemoteProtocolError.
    """
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            max_str_len=max_text,
            max_bin_len=max_bytes,
            max_array_len=max_items,
            max_map_len=0,
            max_ext_len=0,
        )
        return msgspec.convert(value, kind)
    except (ValueError, RecursionError):
        # msgpack's and msgspec's complaints are all ValueErrors. Their texts can
        # quote a stranger's bytes, which belong in no log.
        msg = "malformed frame"
        raise RemoteProtocolError(msg, code="malformed") from None
