"""When a certificate ends. `ssl` tells that of a peer's certificate, but not of one's own.

X.509 is DER (RFC 5280, section 4.1): a certificate is a sequence of tag, length and
value, and its fifth or sixth part, after an optional version, is the validity.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Final

SEQUENCE: Final = 0x30
VERSION: Final = 0xA0
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
BEGIN: Final = "-----BEGIN CERTIFICATE-----"
END: Final = "-----END CERTIFICATE-----"


def not_after(pem: str) -> float:
    """Until when the first certificate in `pem` is valid, in seconds since 1970.

    Raises ValueError where there is none that can be read.
    """
    begin, end = pem.find(BEGIN), pem.find(END)
    if begin < 0 or end < begin:
        raise ValueError("no certificate in PEM")
    der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(END)])
    to_be_signed = _value(_value(der, SEQUENCE), SEQUENCE)
    parts = _parts(to_be_signed)
    if parts and parts[0][0] == VERSION:
        del parts[0]
    if len(parts) < 4 or parts[3][0] != SEQUENCE:  # number, algorithm, issuer, validity
        raise ValueError("a certificate without a validity")
    times = _parts(parts[3][1])
    if len(times) != 2:
        raise ValueError("a validity without its end")
    return _time(*times[1])


def _value(der: bytes, tag: int) -> bytes:
    """The value of the first part, which must have `tag`."""
    found, value, _ = _part(der)
    if found != tag:
        raise ValueError(f"tag {found:#x} where {tag:#x} was to be")
    return value


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    parts = []
    while der:
        tag, value, der = _part(der)
        parts.append((tag, value))
    return parts


def _part(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and value of the first part, and what follows it."""
    if len(der) < 2:
        raise ValueError("cut short")
    tag, length, start = der[0], der[1], 2
    if length & 0x80:  # the length of the length
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    end = start + length
    if end > len(der):
        raise ValueError("cut short")
    return tag, der[start:end], der[end:]


def _time(tag: int, value: bytes) -> float:
    """RFC 5280, section 4.1.2.5: always in UTC, to the second."""
    text = value.decode("ascii")
    if tag == UTC_TIME:  # two digits of the year: 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError(f"tag {tag:#x} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
