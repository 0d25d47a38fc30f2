"""What a session publishes to `/service/send`: a message to another session."""

from __future__ import annotations

from typing import Final

import msgspec

from node.bayeux.channels import SERVICE_INBOX


class DirectMessage(msgspec.Struct, rename="camel"):
    """The `data` of such a publish."""

    to: str
    data: msgspec.Raw
    channel: str = SERVICE_INBOX


decode_direct: Final = msgspec.json.Decoder(DirectMessage).decode
