"""Names of sessions, and the compact form in which nodes keep their records.

A session id is ``<tag>.<22 characters>``: the tag decides the slot, the rest is
128 random bits, and the whole is a secret. The address is ``<tag>.<20
characters>``, a hash of the whole id: it lives in the same slot and is safe to
show. The two differ in length, so one is never taken for the other.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from binascii import b2a_base64
from hashlib import blake2b
from typing import Final

SECRET_BYTES: Final = 16
ADDRESS_BYTES: Final = 15
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")  # (every poll asks: two calls are saved)
_TAG: Final = r"[A-Za-z0-9_-]{1,32}"
# Sixteen bytes leave four bits unused in the last character: it is one of AQgw.
_ID: Final = re.compile(rf"{_TAG}\.[A-Za-z0-9_-]{{21}}[AQgw]")
_ADDRESS: Final = re.compile(rf"{_TAG}\.[A-Za-z0-9_-]{{20}}")


def session_id(tag: str, secret: bytes) -> str:
    """The id of a new session: `secret` is 16 random bytes. Raises ValueError for others."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a session's secret has {SECRET_BYTES} bytes, not {len(secret)}")
    return f"{tag}.{urlsafe_b64encode(secret)[:22].decode()}"


def address_of(session: str) -> str:
    """The public address of a session id (not checked: see `parse_secret`)."""
    tag = session.partition(".")[0]
    key = blake2b(session.encode(), digest_size=ADDRESS_BYTES).digest()
    return f"{tag}.{b2a_base64(key, newline=False).translate(_URL_SAFE).decode()}"


def parse_secret(name: str) -> str | None:
    """The address, if `name` is a well-formed session id, else None.

    Strict: an address does not pass. This is what authenticates a client.
    """
    return address_of(name) if _ID.fullmatch(name) else None


def address_for(name: str) -> str | None:
    """The address that `name`, a session id or an address, stands for; None if neither."""
    if _ADDRESS.fullmatch(name):
        return name
    return parse_secret(name)
