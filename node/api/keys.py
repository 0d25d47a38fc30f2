"""Who may call the application interface: keys, each with scopes.

One key by `--api-key` may do everything. A file (`--api-keys`) names several,
so that each caller has its own and one can be taken away:

    [[key]]
    name = "shop"
    sha256 = "…"                  # of the key: the file then holds no secret; or key = "…"
    scopes = ["publish", "send"]  # and read; all three where nothing is said
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from node.config import MIN_SECRET, Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_KEYS: Final = 1_000
DEFAULT_NAME: Final = "api"  # of the key that --api-key gives


class KeysError(ConfigError):
    """A file of keys will not do; the message is one line that says where and why."""


class Scope(StrEnum):
    """What a key lets its holder do."""

    PUBLISH = "publish"
    SEND = "send"
    READ = "read"


ALL: Final = frozenset(Scope)


class ApiKey(msgspec.Struct, frozen=True):
    """`name` stands in logs and parts one caller's message ids from another's."""

    name: str
    digest: bytes  # SHA-256 of the key
    scopes: frozenset[Scope] = ALL


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """One `[[key]]`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    key: str = ""
    sha256: str = ""
    scopes: list[Scope] = msgspec.field(default_factory=lambda: list(Scope))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    key: Annotated[list[_Table], msgspec.Meta(max_length=MAX_KEYS)]


def digest_of(key: str) -> bytes:
    """By what a key is known: its SHA-256, which cannot be turned into it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


class ApiKeys:
    """The keys that are accepted now."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, given: str) -> ApiKey | None:
        """The key that was given. Takes as long whether it is known or not."""
        digest = digest_of(given)
        found: ApiKey | None = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def read_keys(config: Config) -> ApiKeys:
    """The keys that a node is told. Raises KeysError."""
    keys = [ApiKey(DEFAULT_NAME, digest_of(config.api_key))] if config.api_key else []
    if config.api_keys is not None:
        keys += load_keys(config.api_keys)
    names = [key.name for key in keys]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        msg = f"{config.api_keys}: two keys are named {twice!r}"
        raise KeysError(msg)
    return ApiKeys(keys)


def load_keys(path: Path) -> list[ApiKey]:
    """The keys of a file. Raises KeysError; no message quotes a key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read the API keys in {path}: {error.strerror}"
        raise KeysError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        msg = f"{path} is not TOML"  # (what tomllib says may quote a line)
        raise KeysError(msg) from None
    return [_key(path, number, each) for number, each in enumerate(_tables(path, table), 1)]


def _tables(path: Path, table: dict[str, Any]) -> list[_Table]:
    try:
        return msgspec.convert(table, _File).key
    except msgspec.ValidationError as error:
        msg = f"{path}: {error}"
        raise KeysError(msg) from None


def _key(path: Path, number: int, table: _Table) -> ApiKey:
    where = f"{path}: key {number} ({table.name})"
    if bool(table.key) == bool(table.sha256):
        msg = f"{where}: give key or sha256, one of them"
        raise KeysError(msg)
    if not table.scopes:
        msg = f"{where}: no scopes: name publish, send or read"
        raise KeysError(msg)
    if table.key:
        if len(table.key) < MIN_SECRET:
            msg = f"{where}: a key has {MIN_SECRET} characters or more: see 'cometring secret'"
            raise KeysError(msg)
        return ApiKey(table.name, digest_of(table.key), frozenset(table.scopes))
    try:
        digest = bytes.fromhex(table.sha256)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        msg = f"{where}: sha256 is 64 hexadecimal digits: see sha256sum"
        raise KeysError(msg)
    return ApiKey(table.name, digest, frozenset(table.scopes))
