"""`cometring bench`: hands over to the load tests, which only this command imports."""

from __future__ import annotations

import typer


def bench(context: typer.Context) -> int:
    """Run a load test; `cometring bench` alone lists them."""
    from loadtest.cli import app  # noqa: PLC0415 - a node must never load it

    command = typer.main.get_command(app)
    status = command.main(
        args=context.args or ["--help"], prog_name="cometring bench", standalone_mode=False
    )
    return status if isinstance(status, int) else 0
