"""Entry point: the tree of commands, exit statuses, and errors in one line.

Exit status: 0 fine, 1 the operation failed, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from node.cli import bench, client, cluster, doctor, listen, ring, secret, serve
from node.cli.errors import OperationFailed, UsageFailed
from node.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="cometring",
    help="Bayeux messaging on a ring of nodes: any client on any node.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("cluster")(cluster.cluster)
app.command("publish")(client.publish)
app.command("send")(client.send)
app.command("listen")(listen.listen)
app.command("secret")(secret.secret)
app.command("doctor")(doctor.doctor)
app.add_typer(ring.app, name="ring")
app.command(
    "bench",
    add_help_option=False,  # the load tests' own
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(bench.bench)


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"cometring {version('cometring')}")
        except PackageNotFoundError:
            print("cometring (not installed)")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    command = typer.main.get_command(app)
    given = None if arguments is None else list(arguments)
    try:
        status: Any = command.main(args=given, prog_name="cometring", standalone_mode=False)
        sys.stdout.flush()
    except OperationFailed as error:
        return _fail(str(error), 1)
    except (UsageFailed, ConfigError) as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "cometring"
        message = error.format_message().rstrip(".")
        return _fail(f"{message}: see '{path} --help'", error.exit_code)
    except typer.Abort:
        return 1
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter must not find that out again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    print("cometring:", " ".join(message.split()), file=sys.stderr)
    return status


def run() -> NoReturn:
    """Run the command of this process and end it."""
    sys.exit(main())
