"""Message ids of what clients publish: the same one at every try, so that a retry is recognised.

A client may give an id of its own, `ext.messageId`, and then repeat a publish
whose answer it has not seen: readers get it once. Without it the node that
received the request names its messages after the request; nodes that handle
the request again, because a link broke before the answer, give the same names.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from node.bayeux.messages import ClientMessage

MAX_GIVEN: Final = 128  # characters of an id that a client gives
_DIGEST: Final = 15  # bytes of what it becomes
_FIELD: Final = b'"messageId"'


class _Ext(msgspec.Struct, rename="camel"):
    message_id: str = ""


_decode: Final = msgspec.json.Decoder(_Ext).decode


def given_id(message: ClientMessage) -> str:
    """The client's own id of what it publishes, empty if it gives none.

    Raises ValueError for one that is no string, or too long.
    """
    if _FIELD not in bytes(message.ext):
        return ""
    try:
        given = _decode(message.ext).message_id
    except msgspec.MsgspecError as error:
        raise ValueError(f"ext.messageId is no string: {error}") from error
    if len(given) > MAX_GIVEN:
        raise ValueError(f"ext.messageId is over {MAX_GIVEN} characters")
    return given


def id_for(address: str, given: str) -> str:
    """The message id that readers see for the id which the session `address` gave.

    A hash: two sessions may give the same one, and readers do not learn who published.
    """
    digest = blake2b(f"{address} {given}".encode(), digest_size=_DIGEST, person=b"publish")
    return urlsafe_b64encode(digest.digest()).decode()
