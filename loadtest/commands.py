"""Commands made of settings: each field of a scenario's dataclass is an option."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


def settings_command(
    settings: type[Any],
    carry_out: Callable[..., None],
    common: dict[str, tuple[Any, Any]],
) -> Callable[..., None]:
    """A function that typer can make a command of.

    Its parameters are the fields of the dataclass `settings`, then the `common` ones
    (name to annotation and default). It calls ``carry_out(settings, **common)``.
    Raises `typer.BadParameter` for a word that is none of a field's choices.
    """
    fields = {field.name: field for field in dataclasses.fields(settings)}
    kinds = get_type_hints(settings)

    def command(**given: Any) -> None:  # noqa: ANN401 - as the fields are
        values = {name: _checked(field, given.pop(name)) for name, field in fields.items()}
        carry_out(settings(**values), **given)

    parameters = []
    for name, field in fields.items():
        kind, default = kinds[name], field.default
        if isinstance(default, tuple):
            kind, default = list[str], None
        declared = [field.metadata["name"]] if field.metadata["name"] else []
        asked = typer.Option(*declared, help=_help(field))
        parameters.append(_parameter(name, Annotated[kind, asked], default))
    parameters += [_parameter(name, kind, default) for name, (kind, default) in common.items()]
    command.__doc__ = inspect.getdoc(settings)
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:  # noqa: ANN401
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _help(field: dataclasses.Field[Any]) -> str:
    text: str = field.metadata["help"]
    choices: tuple[str, ...] = field.metadata["choices"]
    return f"{', '.join(choices)}. {text}" if choices else text


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:  # noqa: ANN401
    if not isinstance(field.default, tuple):
        return value
    choices: tuple[str, ...] = field.metadata["choices"]
    for word in value or ():
        if choices and word not in choices:
            raise typer.BadParameter(f"{word} is none of {', '.join(choices)}")
    return tuple(value) if value else field.default
