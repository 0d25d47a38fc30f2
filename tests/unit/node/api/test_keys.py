"""API keys: which files will do, and that no message quotes a key."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from node.api.keys import ALL, ApiKeys, KeysError, Scope, load_keys, read_keys
from node.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a-key-of-some-length"


def keys(tmp_path: Path, text: str) -> ApiKeys:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    return ApiKeys(load_keys(file))


def test_a_key_is_found_by_what_it_is_or_by_its_hash(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"another").hexdigest()
    found = keys(
        tmp_path,
        f'[[key]]\nname="one"\nkey="{SECRET}"\nscopes=["send"]\n'
        f'[[key]]\nname="two"\nsha256="{digest}"\n',
    )
    one, two = found.find(SECRET), found.find("another")
    assert one is not None
    assert two is not None
    assert (one.name, one.scopes) == ("one", frozenset({Scope.SEND}))
    assert (two.name, two.scopes) == ("two", ALL)
    assert found.find("") is None
    assert found.find(digest) is None
    assert found.find("\udcff") is None  # what is not UTF-8 either


def test_every_key_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = keys(tmp_path, "".join(f'[[key]]\nname="k{n}"\nkey="{SECRET}{n}"\n' for n in range(9)))
    compared = []

    def look(mine: bytes, given: bytes) -> bool:
        compared.append(mine)
        return mine == given

    monkeypatch.setattr("node.api.keys.hmac.compare_digest", look)
    assert found.find(f"{SECRET}0") is not None
    assert len(compared) == 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("key = 1", "Expected `array`"),
        ('[[keys]]\nname="a"', "unknown field `keys`"),
        ("[[key]]", "missing required field `name`"),
        (f'[[key]]\nname="a b"\nkey="{SECRET}"', "name"),
        ('[[key]]\nname="a"', "key 1 (a): give key or sha256"),
        (f'[[key]]\nname="a"\nkey="{SECRET}"\nsha256="00"', "one of them"),
        ('[[key]]\nname="a"\nkey="short"', "16 characters"),
        ('[[key]]\nname="a"\nsha256="zz"', "64 hexadecimal digits"),
        (f'[[key]]\nname="a"\nkey="{SECRET}"\nscopes=[]', "no scopes"),
        (f'[[key]]\nname="a"\nkey="{SECRET}"\nscopes=["all"]', "scopes"),
        (f'[[key]]\nname="a"\nkey="{SECRET}', "is not TOML"),
    ],
)
def test_what_will_not_do_is_told_without_a_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(KeysError, match=r".") as error:
        keys(tmp_path, text)
    assert told in str(error.value)
    assert SECRET not in str(error.value)
    assert "short" not in str(error.value)
    assert "\n" not in str(error.value)


def test_both_sources_are_accepted_together(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(f'[[key]]\nname="one"\nkey="{SECRET}"')
    found = read_keys(load_config({"api_key": "sesame", "api_keys": str(file)}))
    assert len(found) == 2
    assert found.find("sesame") is not None
    assert not read_keys(load_config({}))
    file.write_text(f'[[key]]\nname="api"\nkey="{SECRET}"')
    with pytest.raises(KeysError, match="two keys are named"):
        read_keys(load_config({"api_key": "sesame", "api_keys": str(file)}))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="cannot read"):
        load_keys(tmp_path / "none")
