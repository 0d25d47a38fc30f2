"""`binary`: bytes in JSON (CometD's extension).

A message with ``ext: {"binary": {}}`` has ``data: {"data": "…", …}``, and that text is
Z85 (ZeroMQ RFC 32; CometD lets the last group be short: 2 to 4 characters for 1
to 3 bytes). It goes on as it is, marked in the same way, so that the client's own
extension decodes it; text that nobody could decode is refused with 400.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from node.bayeux.extensions.api import Delivery, Exchange, Extension, Veto

if TYPE_CHECKING:
    from node.config import Config

_KEY: Final = "binary"
_META: Final = "/meta/"
_REFUSED: Final = Veto(400, 'binary data is {"data": text in Z85}')

# Characters by their values, 0 to 84. Five of them are four bytes: at most "%nSc0", 0xFFFFFFFF.
_ALPHABET: Final = (
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
)


def _below(character: str) -> str:
    return f"[{re.escape(_ALPHABET[: _ALPHABET.index(character)])}]"


_ANY: Final = f"[{re.escape(_ALPHABET)}]"
_LOW, _N, _S, _C = (_below(character) for character in "%nSc")
_Z85: Final = re.compile(
    rf"(?:{_LOW}{_ANY}{{4}}|%(?:{_N}{_ANY}{{3}}|n(?:{_S}{_ANY}{{2}}|S(?:{_C}{_ANY}|c0))))*+"
    rf"(?:{_LOW}{_ANY}{{1,3}}|%(?:{_N}{_ANY}{{0,2}}|n(?:{_S}{_ANY}?|S{_C})))?"
)


class _Data(msgspec.Struct):
    data: str


_decode: Final = msgspec.json.Decoder(_Data).decode


class BinaryExtension(Extension):
    """Checks what is marked as binary, and marks it for its readers."""

    always: ClassVar[bool] = False

    def __init__(self, config: Config) -> None:
        del config

    def incoming(self, exchange: Exchange) -> Veto | None:
        if not _is_marked(exchange):
            return None
        try:
            text = _decode(exchange.message.data).data
        except msgspec.MsgspecError:
            return _REFUSED
        return None if is_z85(text) else _REFUSED

    def outgoing(self, delivery: Delivery) -> Veto | None:
        if delivery.exchange is not None and _is_marked(delivery.exchange):
            delivery.ext[_KEY] = {}
        return None


def _is_marked(exchange: Exchange) -> bool:
    """Whether a publish says that its data is binary: by whatever JavaScript holds for true."""
    mark = exchange.asked.get(_KEY)
    return (isinstance(mark, dict) or bool(mark)) and not exchange.channel.startswith(_META)


def is_z85(text: str) -> bool:
    """Whether `text` stands for bytes, and for which ones without doubt."""
    return _Z85.fullmatch(text) is not None
