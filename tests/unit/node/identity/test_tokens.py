"""Tokens: which pass, and that no complaint quotes one."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from node.config import ConfigError, load_config
from node.identity.tokens import MAX_TOKEN, Claims, Key, TokenError, Tokens, read_tokens

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"


def signed(secret: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"exp": time.time() + 60, **claims}, secret, algorithm)


def tokens(*secrets: bytes, **more: str) -> Tokens:
    return Tokens([Key("HS256", secret) for secret in secrets or (SECRET,)], **more)


def why(checker: Tokens, token: str) -> str:
    with pytest.raises(TokenError) as error:
        checker.verify(token)
    return str(error.value)


def test_what_it_says() -> None:
    assert tokens().verify(signed(sub="ann", channels=["/a/*"])) == Claims("ann", ("/a/*",))
    assert tokens().verify(signed()) == Claims()


def test_while_the_secret_is_changed_both_are_good() -> None:
    both = tokens(OTHER, SECRET)
    both.verify(signed(SECRET))
    both.verify(signed(OTHER))
    assert why(tokens(OTHER), signed(SECRET)) == "token invalid"


def test_expired_or_not_yet_valid_but_for_the_leeway() -> None:
    now = time.time()
    assert why(tokens(), signed(exp=now - 30)) == "token expired"
    tokens().verify(signed(exp=now - 2))
    assert why(tokens(), signed(nbf=now + 30)) == "token not valid yet"
    assert why(tokens(OTHER, SECRET), signed(exp=now - 30)) == "token expired"


def test_one_that_never_expires_is_refused() -> None:
    assert why(tokens(), jwt.encode({"sub": "ann"}, SECRET, "HS256")) == "token lacks a claim"


def test_audience_and_issuer() -> None:
    strict = tokens(audience="ring", issuer="shop")
    strict.verify(signed(aud="ring", iss="shop"))
    strict.verify(signed(aud=["ring", "more"], iss="shop"))
    assert why(strict, signed(aud="else", iss="shop")) == "token is for another audience"
    assert why(strict, signed(aud="ring", iss="else")) == "token is of another issuer"
    assert why(strict, signed(iss="shop")) == "token lacks a claim"
    tokens().verify(signed(aud="whatever"))


@pytest.mark.parametrize("claims", [{"channels": "/a"}, {"channels": [1]}, {"channels": {"a": 1}}])
def test_channels_of_another_shape(claims: dict[str, Any]) -> None:
    assert "channels" in why(tokens(), signed(**claims))


def test_an_unsigned_token_is_refused() -> None:
    assert why(tokens(), jwt.encode({"exp": time.time() + 60}, "", "none")) == "token invalid"


def pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


KEYS = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_public_keys(algorithm: str, tmp_path: Path) -> None:
    private = KEYS[algorithm]()
    file = tmp_path / "key.pem"
    file.write_bytes(pem(private))
    checker = read_tokens(load_config({"token_public_key": str(file)}))
    assert checker is not None
    checker.verify(signed(private, algorithm))
    assert why(checker, signed(KEYS[algorithm](), algorithm)) == "token invalid"
    # Whoever signs with the public key, as if it were a shared secret (RFC 8725, 3.1):
    head = urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).rstrip(b"=")
    body = signed().split(".")[1].encode()
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    mac = hmac.new(pem(private), head + b"." + body, hashlib.sha256).digest()
    forged = b".".join((head, body, urlsafe_b64encode(mac).rstrip(b"="))).decode()
    assert why(checker, forged) == "token invalid"


def test_both_kinds_together(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(pem(private))
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    checker = read_tokens(
        load_config(
            {
                "token_public_key": str(tmp_path / "key.pem"),
                "token_secret_file": str(tmp_path / "secret"),
                "token_audience": "ring",
            }
        )
    )
    assert checker is not None
    checker.verify(signed(aud="ring"))
    checker.verify(signed(private, "ES256", aud="ring"))
    assert why(checker, signed()) == "token lacks a claim"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("token_secret_file", b"", "32 bytes"),
        ("token_secret_file", b"short", "32 bytes"),
        ("token_secret_file", SECRET + b"\nshort", "32 bytes"),
        ("token_public_key", b"hello", "no public key"),
        ("token_public_key", pem(ec.generate_private_key(ec.SECP384R1())), "must be"),
        ("token_public_key", None, "cannot read"),
    ],
)
def test_files_that_will_not_do(
    name: str, content: bytes | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_tokens(load_config({name: str(file)}))
    assert told in str(error.value)
    assert SECRET.decode() not in str(error.value)


def test_a_private_key_is_no_public_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="no public key"):
        read_tokens(load_config({"token_public_key": str(file)}))


def test_without_keys_none_is_taken() -> None:
    assert read_tokens(load_config({})) is None


@given(st.text(max_size=200) | st.just("a" * (MAX_TOKEN + 1)))
def test_garbage_is_refused_and_not_quoted(text: str) -> None:
    told = why(tokens(), text)
    assert told in {"token missing", "token too long", "token invalid"}
