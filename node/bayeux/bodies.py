"""What HTTP requests carry: JSON, or forms with JSON in their `message` fields.

A form may have several `message` fields, each an object or an array. Faye's
cross-origin transport posts a form without saying so (as text/plain, which
needs no preflight); a body that begins like one is taken for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from node.bayeux.messages import ClientMessage, decode_batch
from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    from node.http import Head

_FORM: Final = "application/x-www-form-urlencoded"
_FORM_START: Final = b"message="
_MAX_FIELDS: Final = 1_000


class Fields:
    """The fields of a form or a query, those that Bayeux knows."""

    __slots__ = ("_fields",)

    def __init__(self, text: str) -> None:
        """Raises RemoteProtocolError (400) for what is not UTF-8, or for too many fields."""
        try:
            self._fields = parse_qsl(
                text,
                keep_blank_values=True,
                encoding="utf-8",
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        except ValueError as error:  # (UnicodeDecodeError is one)
            raise RemoteProtocolError("not a form in UTF-8, or too many fields") from error

    def all(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return [value for key, value in self._fields if key == name]

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`."""
        return next((value for key, value in self._fields if key == name), default)

    def batch(self) -> tuple[list[ClientMessage], bytes]:
        """The messages of all `message` fields, and a JSON body that says the same.

        Raises RemoteProtocolError (400) where there are none, or one is malformed.
        """
        bodies = [value.encode() for value in self.all("message")]
        if not bodies:
            raise RemoteProtocolError("no message: send JSON, or a field named message")
        messages = [message for body in bodies for message in decode_batch(body)]
        if len(bodies) == 1:
            return messages, bodies[0]
        stripped = [body.strip() for body in bodies]
        inner = [body[1:-1] if body.startswith(b"[") else body for body in stripped]
        return messages, b"[%b]" % b",".join(inner)


def read_body(head: Head, body: bytes) -> tuple[list[ClientMessage], bytes]:
    """The messages of a POST, and its body as JSON. Raises RemoteProtocolError (400)."""
    if head.content_type != _FORM and not body.startswith(_FORM_START):
        return decode_batch(body), body
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError("a form is percent-encoded ASCII") from error
    return Fields(text).batch()
