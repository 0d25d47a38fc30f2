"""`cometring ring …`: what the ring looks like, asked of one node's ops listener."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from dht.errors import NoMembers
from dht.ids import slot_of
from dht.placement import Placement
from node.cli.errors import OperationFailed
from node.cli.report import RingReport, fetch_ring
from node.config import OPS_PORT
from node.endpoint import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(help="Members, view and slots; where a session or channel lives.")

Ops = Annotated[
    str, typer.Option("--ops", envvar="COMETRING_OPS", help="Any node's ops listener, HOST:PORT.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_OPS = f"{LOOPBACK}:{OPS_PORT}"
PIPE_WIDTH = 400
SHORT_ID = 8  # hex digits that tell nodes apart for a person


@app.callback()
def _group() -> None:
    pass


@app.command()
def status(ops: Ops = DEFAULT_OPS, as_json: AsJson = False) -> None:
    """Members, view and shares, as one node sees them."""
    ring = fetch_ring(_url(ops))
    if as_json:
        print(msgspec.json.encode(ring).decode(), flush=True)
        return
    # Into a pipe nothing is to be cut off; a terminal has the width it has.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    health = "frozen: no majority of voters" if ring.frozen else "healthy"
    if ring.suspected:
        health = f"{len(ring.suspected)} suspected"
    console.print(
        f"ring {ring.ring[:SHORT_ID]}  view {ring.view}  {len(ring.members)} members  {health}",
        highlight=False,
    )
    console.print(_table(ring))


def _table(ring: RingReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("node", "state", "client", "peer", "zone"):
        table.add_column(title, no_wrap=True)
    table.add_column("share", justify="right")
    for member in ring.members:
        mark = " (suspected)" if member.id in ring.suspected else ""
        here = " *" if member.id == ring.node else ""
        table.add_row(
            member.id[:SHORT_ID] + here,
            member.state + mark,
            member.client,
            member.peer,
            member.zone,
            f"{member.share:.1%}",
        )
    return table


@app.command()
def locate(
    keys: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY...",
            help="Channels, session ids or addresses; - reads lines of standard input.",
        ),
    ],
    ops: Ops = DEFAULT_OPS,
    as_json: AsJson = False,
) -> None:
    """Say where a session or channel lives: its slot, its home, its replicas.

    A pure function of the view: what is named need not exist.
    """
    ring = fetch_ring(_url(ops))
    placement = Placement(ring.to_view())
    places = {member.id: member for member in ring.members}
    for key in _read_keys(keys):
        slot = slot_of(key)
        try:
            replicas = [places[node.hex()] for node in placement.replicas(slot)]
        except NoMembers:
            msg = "the ring has no active member yet: try again"
            raise OperationFailed(msg) from None
        if as_json:
            nodes = [{"id": m.id, "client": m.client, "peer": m.peer} for m in replicas]
            answer = {
                "key": key,
                "slot": slot,
                "view": ring.view,
                "node": nodes[0],
                "replicas": nodes,
            }
            print(msgspec.json.encode(answer).decode())
        else:
            home, others = replicas[0], ", ".join(m.client for m in replicas[1:])
            held = f"  replicas {others}" if others else ""
            print(f"{key}  slot {slot}  home {home.id[:SHORT_ID]} at {home.client}{held}")
    sys.stdout.flush()


def _read_keys(keys: list[str]) -> Iterator[str]:
    for key in keys:
        if key == "-":
            yield from (line.strip() for line in sys.stdin if line.strip())
        else:
            yield key


def _url(ops: str) -> str:
    return ops if "://" in ops else f"http://{ops}"
