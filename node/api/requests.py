"""Bodies of the application interface, decoded and checked by their types."""

from __future__ import annotations

from typing import TypeVar

import msgspec

MAX_ID_LENGTH = 128
MAX_COMMANDS = 10_000


class Publish(msgspec.Struct, forbid_unknown_fields=True):
    """POST /api/publish."""

    channel: str
    data: msgspec.Raw
    id: str = ""


class SendTo(msgspec.Struct, forbid_unknown_fields=True):
    """POST /api/send. `session` is an id or an address."""

    session: str
    data: msgspec.Raw
    channel: str = "/service/inbox"
    id: str = ""


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """One command of POST /api/batch: exactly one of the fields."""

    publish: Publish | None = None
    send: SendTo | None = None


class Commands(msgspec.Struct, forbid_unknown_fields=True):
    """POST /api/batch."""

    commands: list[Command]


T = TypeVar("T")


class BadRequestError(ValueError):
    """The body is not what the call takes; the message says why."""


def decode(body: bytes, shape: type[T]) -> T:
    """Decode a JSON body. Raises BadRequestError."""
    try:
        body.decode()
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequestError(str(error)) from error
