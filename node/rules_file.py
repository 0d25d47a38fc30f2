"""The channel-rules file: TOML tables ``[[channel]]``, checked strictly.

Whatever is wrong raises `RulesError`, whose one line names the file, the line
and the key. tomllib tells no line numbers, so they are looked for in the text.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec

from node.bayeux.channels import Kind, kind_of
from node.config import Config, ConfigError
from node.rules import SERVICE_SEND, Rule, Who

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

MAX_RULES: Final = 10_000
MAX_BATCH: Final = 10.0  # seconds
_HEADER: Final = re.compile(r"\s*\[\[\s*(channel|\"channel\"|'channel')\s*\]\]")
_FUTURE: Final = frozenset(
    ("mode", "key", "history", "history_ttl", "snapshot", "max_rate", "slow", "presence")
)


class RulesError(ConfigError):
    """A rules file will not do; the message is one line that says where and why."""


def read_rules(config: Config) -> list[Rule]:
    """The rules that a node is told, from `config.channels`. Raises RulesError."""
    if config.channels is None:
        return []
    return load_rules(config.channels, others=Config.model_fields.keys())


def load_rules(path: Path, *, others: Collection[str] = ()) -> list[Rule]:
    """The rules of a file. `others`: top-level keys that are somebody else's.

    Raises RulesError.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"cannot read the channel rules in {path}: {error.strerror}"
        raise RulesError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path} is not text"
        raise RulesError(msg) from None
    try:
        return parse_rules(text, others)
    except RulesError as error:
        msg = f"{path}{error}"
        raise RulesError(msg) from None


def parse_rules(text: str, others: Collection[str] = ()) -> list[Rule]:
    """As `load_rules`; errors begin with ``, line N: `` or ``: ``."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f" is not TOML: {error}"
        raise RulesError(msg) from None
    for key in document:
        if key != "channel" and key not in others:
            msg = f": unknown key {key}: rules are written as [[channel]] tables"
            raise RulesError(msg)
    tables = document.get("channel", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        msg = ": write each rule as a table of its own, under [[channel]]"
        raise RulesError(msg)
    if len(tables) > MAX_RULES:
        msg = f": {len(tables)} rules, at most {MAX_RULES}"
        raise RulesError(msg)
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    rules: dict[str, Rule] = {}
    for index, table in enumerate(tables):
        own = _own_lines(lines, starts, index)
        rule = _rule(table, own)
        if rule.match in rules:
            raise _error(own, "match", f"{rule.match} has a rule already")
        rules[rule.match] = rule
    return list(rules.values())


# -- where a table stands ----------------------------------------------------------


def _own_lines(lines: Sequence[str], starts: Sequence[int], index: int) -> list[tuple[int, str]]:
    """The numbered lines of table `index`; none where it is not written as a table."""
    if index >= len(starts):
        return []
    end = starts[index + 1] if index + 1 < len(starts) else len(lines)
    return [(number + 1, lines[number]) for number in range(starts[index], end)]


def _error(own: Sequence[tuple[int, str]], key: str, why: str) -> RulesError:
    line = next((n for n, text in own if re.match(rf"\s*[\"']?{re.escape(key)}\b", text)), None)
    if line is None and own:
        line = own[0][0]
    where = "" if line is None else f", line {line}"
    return RulesError(f"{where}: {key}: {why}")


# -- what it says -------------------------------------------------------------------


def _rule(table: dict[str, Any], own: Sequence[tuple[int, str]]) -> Rule:
    for key in table:
        if key in _FUTURE:
            raise _error(own, key, "not served yet")
        if key not in _CHECKS:
            near = get_close_matches(key, _CHECKS, n=1)
            raise _error(own, key, "unknown" + (f", did you mean {near[0]}?" if near else ""))
    if "match" not in table:
        raise _error(own, "match", "missing: name a channel or a pattern such as /a/**")
    values = {}
    for key, value in table.items():
        try:
            values[key] = _CHECKS[key](value)
        except ValueError as error:
            raise _error(own, key, str(error)) from None
    rule = msgspec.convert(values, Rule)
    if rule.direct is not Who.NOBODY and not _reaches_send(rule.match):
        raise _error(own, "direct", f"only a rule that matches {SERVICE_SEND} can allow it")
    return rule


def _reaches_send(match: str) -> bool:
    return match in {SERVICE_SEND, "/service/*", "/service/**", "/**"}


def _name(value: object) -> str:
    if not isinstance(value, str):
        msg = "write a string"
        raise ValueError(msg)  # noqa: TRY004 - every complaint about a value is a ValueError
    kind = kind_of(value)
    if kind is Kind.INVALID:
        msg = f"{value!r} is neither a channel nor a pattern (wildcards stand last: /a/*, /a/**)"
        raise ValueError(msg)
    if kind is Kind.META:
        msg = f"{value!r}: meta channels have no rules"
        raise ValueError(msg)
    return value


def _one_of(*allowed: Who) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in allowed:
            msg = f"{value!r} is none of {', '.join(allowed)}"
            raise ValueError(msg)
        return str(value)

    return check


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        msg = f"{value!r} is neither true nor false"
        raise ValueError(msg)  # noqa: TRY004 - see _name
    return value


def _copies(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 3:
        msg = f"{value!r} is not 1, 2 or 3"
        raise ValueError(msg)
    return value


def _seconds(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not isfinite(value)
        or not 0 <= value <= MAX_BATCH
    ):
        msg = f"{value!r} is not a number of seconds between 0 and {MAX_BATCH:g}"
        raise ValueError(msg)
    return float(value)


_CHECKS: Final[dict[str, Callable[[object], object]]] = {
    "match": _name,
    "publish": _one_of(Who.API, Who.SESSION, Who.NOBODY),
    "subscribe": _one_of(Who.SESSION, Who.TOKEN, Who.NOBODY),
    "lazy": _switch,
    "direct": _one_of(Who.SESSION, Who.NOBODY),
    "replicas": _copies,
    "batch": _seconds,
}
