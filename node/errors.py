"""What can go wrong with bytes, who is at fault, and what dies of it.

    Exception
    └── ProtocolError
        ├── LocalProtocolError        this program's mistake: propagates, to be fixed
        ├── RemoteProtocolError       the peer's mistake: ends one request or connection
        └── SlowConsumerError         the peer does not read what it is sent

Only these leave the byte layers; an `OSError` of a client's socket never does
(the connection is simply gone).
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Base of everything that is wrong with a conversation."""


class LocalProtocolError(ProtocolError):
    """We were about to break the protocol: a bug here, not the peer's doing."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    `status` is the HTTP status that says so, `code` the word for it in an
    error body (`bad_request`, `too_large`, …). `headers` go with the answer
    (an RFC 6455 version mismatch names the version that would do).
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        code: str = "bad_request",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


class SlowConsumerError(ProtocolError):
    """The peer's socket is full, and so is what we are willing to keep for it."""
