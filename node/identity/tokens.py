"""Tokens that an application signs for its users: JSON Web Tokens (RFC 7519).

Checked where a session begins (the handshake's `ext.token`, `token=` of an
event stream) and where a rule wants one to subscribe. A key is good for its
own algorithm only, so that nobody signs with a public key as if it were a
shared secret (RFC 8725, section 3.1). Nothing of a token is kept or logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from node.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_TOKEN: Final = 8 * 1024  # characters
MIN_SECRET: Final = 32  # bytes: as many as HS256 hashes into (RFC 7518, section 3.2)
LEEWAY: Final = 5.0  # seconds that clocks may differ
_WHY: Final[dict[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "token expired",
    jwt.ImmatureSignatureError: "token not valid yet",
    jwt.InvalidAudienceError: "token is for another audience",
    jwt.InvalidIssuerError: "token is of another issuer",
    jwt.MissingRequiredClaimError: "token lacks a claim",
}


class TokenError(Exception):
    """A token will not do; the message says why, and quotes nothing of it."""


class Claims(msgspec.Struct, frozen=True):
    """What a token says that matters here."""

    subject: str = ""  # `sub`: the application's name of the user
    channels: tuple[str, ...] = ()  # channels and patterns that it may subscribe to


class Key(msgspec.Struct, frozen=True):
    """A key, and the one algorithm that it is for."""

    algorithm: str  # RFC 7518's name
    material: Any


class Tokens:
    """Checks tokens against the keys that are accepted now."""

    def __init__(self, keys: Sequence[Key], audience: str = "", issuer: str = "") -> None:
        """`audience`, `issuer`: what `aud` and `iss` must say; empty: anything."""
        self._keys = tuple(keys)
        self._audience = audience or None
        self._issuer = issuer or None

    def verify(self, token: str) -> Claims:
        """What `token` says. Raises TokenError."""
        if not token:
            msg = "token missing"
            raise TokenError(msg)
        if len(token) > MAX_TOKEN:
            msg = "token too long"
            raise TokenError(msg)
        error: TokenError | None = None
        for key in self._keys:
            try:
                return self._verify(token, key)
            except TokenError as failed:
                error = error or failed
                if isinstance(failed.__cause__, tuple(_WHY)):
                    raise  # the signature is right
        raise error or TokenError("no token is accepted")

    def _verify(self, token: str, key: Key) -> Claims:
        try:
            claims = jwt.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp"], "verify_aud": self._audience is not None},
            )
        except jwt.InvalidTokenError as error:
            why = _WHY.get(type(error), "token invalid")
            raise TokenError(why) from error
        subject, channels = claims.get("sub", ""), claims.get("channels", ())
        if not isinstance(channels, (list, tuple)) or not all(isinstance(c, str) for c in channels):
            msg = "channels must be a list of strings"
            raise TokenError(msg)
        return Claims(str(subject), tuple(channels))


def read_tokens(config: Config) -> Tokens | None:
    """What a node is told to check tokens with; None: it takes none. Raises ConfigError."""
    keys: list[Key] = []
    if config.token_secret_file is not None:
        secrets = _read(config.token_secret_file, "--token-secret-file").split()
        if not secrets or any(len(secret) < MIN_SECRET for secret in secrets):
            msg = (
                f"{config.token_secret_file} must hold a secret of {MIN_SECRET} bytes or more"
                " (two while it is changed): see 'cometring secret'"
            )
            raise ConfigError(msg)
        keys += [Key("HS256", secret) for secret in secrets]
    if config.token_public_key is not None:
        keys.append(_public_key(config.token_public_key))
    return Tokens(keys, config.token_audience, config.token_issuer) if keys else None


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        msg = f"{option}: cannot read {path}: {error.strerror}"
        raise ConfigError(msg) from None


def _public_key(path: Path) -> Key:
    pem = _read(path, "--token-public-key")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        msg = f"{path} holds no public key in PEM"
        raise ConfigError(msg) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return Key("RS256", key)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return Key("ES256", key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Key("EdDSA", key)
    msg = f"{path} must be an RSA key of 2048 bits or more, an EC key on P-256, or Ed25519"
    raise ConfigError(msg)
