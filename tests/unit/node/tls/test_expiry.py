from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from node.tls.expiry import not_after

AUTHORITY = trustme.CA()


def pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def sequence(*parts: bytes) -> bytes:
    body = b"".join(parts)
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def time(tag: int, text: str) -> bytes:
    return bytes([tag, len(text)]) + text.encode()


def certificate(*times: bytes) -> str:
    number, nothing = b"\x02\x01\x07", sequence()
    return pem(sequence(sequence(number, nothing, nothing, sequence(*times), nothing)))


@pytest.mark.parametrize("year", [2027, 2049, 2050, 2999])
def test_real_certificates(year: int) -> None:
    ends = datetime(year, 2, 28, 12, 34, 56, tzinfo=UTC)
    issued = AUTHORITY.issue_cert("localhost", not_after=ends)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode()
    assert not_after(f"a comment\n{chain}") == ends.timestamp()


def test_years_of_two_digits() -> None:
    start = time(0x17, "500101000000Z")
    assert datetime.fromtimestamp(
        not_after(certificate(start, time(0x17, "991231235959Z"))), UTC
    ) == datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----",
        pem(b""),
        pem(b"\x30"),
        pem(b"\x04\x00"),
        pem(b"\x30\x05\x30"),
        pem(sequence(sequence())),
        certificate(),
        certificate(time(0x17, "500101000000Z")),
        certificate(time(0x17, "500101000000Z"), time(0x13, "991231235959Z")),
        certificate(time(0x17, "500101000000Z"), time(0x17, "999931235959Z")),
    ],
)
def test_what_is_no_certificate(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        not_after(text)


@given(st.binary(max_size=200))
def test_garbage_ends_in_one_error_only(der: bytes) -> None:
    try:
        not_after(pem(der))
    except ValueError:
        return


@given(st.binary(min_size=1, max_size=8), st.integers(0, 500))
def test_so_does_a_damaged_certificate(garbage: bytes, at: int) -> None:
    issued = AUTHORITY_DER
    try:
        not_after(pem(issued[:at] + garbage + issued[at + len(garbage) :]))
    except ValueError:
        return


def _der() -> bytes:
    text = AUTHORITY.cert_pem.bytes().decode()
    return base64.b64decode("".join(text.splitlines()[1:-1]))


AUTHORITY_DER = _der()
