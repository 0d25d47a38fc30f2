"""Reads a Dockerfile, as far as ours goes, so that tests can perform it without Docker."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FLAG = re.compile(r"--([a-z-]+)=(\S+)\s+")


@dataclass(frozen=True)
class Copy:
    """``COPY``: from the build context, or from a stage."""

    sources: tuple[str, ...]
    target: str
    stage: str | None


@dataclass(frozen=True)
class Run:
    """``RUN``, as an argument vector, where and with what variables it runs."""

    words: tuple[str, ...]
    directory: str
    environ: tuple[tuple[str, str], ...]


@dataclass
class Stage:
    """One ``FROM`` and what follows it."""

    base: str
    name: str | None
    steps: list[Copy | Run] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    exposed: list[str] = field(default_factory=list)


def read_dockerfile(file: Path, arguments: dict[str, str] | None = None) -> list[Stage]:
    """The stages of `file`; `arguments`: of the build. Raises ValueError for what is strange."""
    given = dict(arguments or {})
    stages: list[Stage] = []
    for instruction, rest in _instructions(file.read_text()):
        if instruction == "ARG":
            name, _, default = rest.partition("=")
            given.setdefault(name, default)
        elif instruction == "FROM":
            base, _, name = _filled(rest, given).partition(" AS ")
            stages.append(Stage(base, name or None))
        else:
            _add(stages[-1], instruction, rest)
    return stages


def _instructions(text: str) -> list[tuple[str, str]]:
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = kept.replace("\\\n", " ").splitlines()
    split = [line.split(None, 1) for line in lines if line.strip()]
    return [(words[0].upper(), words[1].strip()) for words in split]


def _add(stage: Stage, instruction: str, rest: str) -> None:  # noqa: C901, PLR0912 - a table
    environ = stage.environ
    match instruction:
        case "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                environ[name] = _filled(value, environ)
        case "WORKDIR":
            stage.directory = rest
        case "USER":
            stage.user = rest
        case "COPY":
            flags = dict(FLAG.findall(rest))
            *sources, target = FLAG.sub("", rest).split()
            if not target.startswith("/"):
                target = f"{stage.directory}/{target.removeprefix('./')}"
            stage.steps.append(Copy(tuple(sources), target, flags.get("from")))
        case "RUN":
            words = _words(rest)
            stage.steps.append(Run(tuple(words), stage.directory, tuple(environ.items())))
        case "ENTRYPOINT":
            stage.entrypoint = _words(rest)
        case "CMD":
            stage.command = _words(rest)
        case "HEALTHCHECK":
            stage.health = _words(FLAG.sub("", rest).removeprefix("CMD").strip())
        case "VOLUME":
            stage.volumes = _words(rest)
        case "STOPSIGNAL":
            stage.stop_signal = rest
        case "EXPOSE":
            stage.exposed = rest.split()
        case "LABEL":
            pass
        case _:
            raise ValueError(f"a Dockerfile with {instruction}")


def _words(text: str) -> list[str]:
    """The argument vector of an exec form, or of the shell that runs a shell form."""
    if text.startswith("["):
        return [str(word) for word in json.loads(text)]
    return ["/bin/sh", "-c", text]


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found.group(1), found.group(0)), text)
