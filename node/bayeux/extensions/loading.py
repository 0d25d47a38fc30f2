"""The extensions that a node is told to have: ours by name, an application's by where they are.

`package.module:Factory` is imported from where Python finds packages; `Factory`
(a class of `Extension`, or any function that makes one) is called with the node's
`Config`, once a process.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from node.bayeux.extensions.ack import AckExtension
from node.bayeux.extensions.activity import ActivityExtension
from node.bayeux.extensions.api import Extension
from node.bayeux.extensions.binary import BinaryExtension
from node.bayeux.extensions.pipeline import Pipeline
from node.bayeux.extensions.timestamp import TimestampExtension
from node.bayeux.extensions.timesync import TimesyncExtension
from node.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.config import Config

    Factory = Callable[[Config], Extension]

OURS: Final[dict[str, Factory]] = {
    "ack": AckExtension,
    "activity": ActivityExtension,
    "binary": BinaryExtension,
    "timestamp": TimestampExtension,
    "timesync": TimesyncExtension,
}


def find_factory(name: str) -> Factory:
    """The factory that `name` names. Raises ConfigError."""
    ours = OURS.get(name)
    if ours is not None:
        return ours
    module_name, colon, attribute = name.partition(":")
    if not colon:
        known = ", ".join(OURS)
        msg = f"--extensions: {name!r} is none of {known}; write package.module:Factory"
        raise ConfigError(msg)
    try:
        factory = getattr(import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"--extensions: cannot import {name}: {error}"
        raise ConfigError(msg) from error
    if not callable(factory):
        msg = f"--extensions: {name} is not callable: name a class or a function"
        raise ConfigError(msg)
    made: Factory = factory
    return made


def load_pipeline(config: Config) -> Pipeline:
    """All extensions of `config`, in its order. Raises ConfigError."""
    extensions = []
    for name in config.extensions:
        extension = find_factory(name)(config)
        if not isinstance(extension, Extension):
            msg = f"--extensions: {name} made {type(extension).__name__}, which is no Extension"
            raise ConfigError(msg)
        extensions.append(extension)
    return Pipeline(extensions)
