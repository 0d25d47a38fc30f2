"""``python -m node.cli``: the same as `cometring`, for children of the launcher."""

from node.cli.main import run

run()
