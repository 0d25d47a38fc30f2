"""Settings of scenarios: frozen dataclasses whose fields are options on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

Progress = Callable[[str], None]
"""Told what is being done now, in a few words."""


def option(
    default: Any,  # noqa: ANN401 - as the field is
    text: str,
    *,
    name: str | None = None,
    choices: tuple[str, ...] = (),
) -> Any:  # noqa: ANN401
    """A field with a default and a line of help.

    A tuple of words becomes an option that may be repeated: called `name`, and each
    one of `choices`.
    """
    return field(default=default, metadata={"help": text, "name": name, "choices": choices})
