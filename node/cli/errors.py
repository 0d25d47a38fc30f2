"""What ends a command.

    Exception
    ├── OperationFailed    status 1: what was asked could not be done
    ├── UsageFailed        status 2: what was asked makes no sense
    └── node.config.ConfigError, typer's own usage errors: status 2

Each message is one line that says what to do.
"""

from __future__ import annotations


class OperationFailed(Exception):
    """The command was understood and could not be carried out."""


class UsageFailed(Exception):
    """The command's words are wrong."""
