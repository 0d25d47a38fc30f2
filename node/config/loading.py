"""Where settings come from: the one place that looks at the environment and at files."""

from __future__ import annotations

import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from node.config.model import ENV_PREFIX, Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


def load_config(flags: Mapping[str, object], file: Path | None = None) -> Config:
    """Read all sources into a `Config`. Flags that are None were not given.

    `file` defaults to what ``COMETRING_CONFIG`` names. Raises ConfigError.
    """
    if file is None and os.environ.get(f"{ENV_PREFIX}CONFIG"):
        file = Path(os.environ[f"{ENV_PREFIX}CONFIG"])
    table = _read_toml(file) if file is not None else {}
    if "channel" in table:  # the rules stand in the same file
        del table["channel"]
        table.setdefault("channels", str(file))
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    # A secret has two names; the nearer source wins here too.
    for name in ("cluster_secret", "api_key"):
        if f"{name}_file" in given:
            given[name] = None
        elif name in given:
            given[f"{name}_file"] = None
        elif os.environ.get(f"{ENV_PREFIX}{name.upper()}"):
            table.pop(f"{name}_file", None)
        elif os.environ.get(f"{ENV_PREFIX}{name.upper()}_FILE"):
            table.pop(name, None)

    class Loaded(Config, BaseSettings):
        model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the overridden signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, table))

    try:
        return Loaded(**given)
    except ValidationError as error:
        raise ConfigError(_one_line(error, given, file)) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror}"
        raise ConfigError(msg) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{file} is not TOML: {error}"
        raise ConfigError(msg) from None
    for key in table:
        if key == "cluster_secret":
            msg = f"keep the secret itself out of {file}: name a file with cluster_secret_file"
            raise ConfigError(msg)
        if key == "channel" and "channels" in table:
            msg = f"{file} has channels and [[channel]] tables: put the rules in one place"
            raise ConfigError(msg)
        if key != "channel" and key not in Config.model_fields:
            near = get_close_matches(key, Config.model_fields, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            msg = f"{file} has an unknown key {key}{hint}"
            raise ConfigError(msg)
    return table


def _one_line(error: ValidationError, flags: Mapping[str, object], file: Path | None) -> str:
    """The first complaint, under the name by which the person gave the setting."""
    first = error.errors(include_url=False, include_context=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # about several settings together: the sentence names them
        return message
    name = str(first["loc"][0])
    variable = ENV_PREFIX + name.upper()
    if name in flags:
        return f"--{name.replace('_', '-')}: {message}"
    if os.environ.get(variable):
        return f"{variable}: {message}"
    return f"{name} in {file}: {message}"
