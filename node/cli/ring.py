"""`cometring ring …`: what the ring looks like, asked of one node's ops listener."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dht.errors import NoMembers
from dht.ids import slot_of
from dht.placement import Placement
from node.cli.errors import OperationFailed, UsageFailed
from node.cli.health import SHORT_ID, lines, style, verdict
from node.cli.report import LinkReport, RingReport, fetch_ring, fetch_situation
from node.cli.web import Reply, fetch
from node.cluster.recovery import Situation, prove
from node.config import OPS_PORT, load_config
from node.endpoint import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Members, view and health; where a session or channel lives; a new start after a loss."
)

Ops = Annotated[
    str, typer.Option("--ops", envvar="COMETRING_OPS", help="Any node's ops listener, HOST:PORT.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_OPS = f"{LOOPBACK}:{OPS_PORT}"
PIPE_WIDTH = 400


@app.callback()
def _group() -> None:
    pass


@app.command()
def status(
    ops: Annotated[
        str,
        typer.Option(
            "--ops", envvar="COMETRING_OPS", help="A node's ops listener; several, to compare them."
        ),
    ] = DEFAULT_OPS,
    as_json: AsJson = False,
) -> None:
    """Members, view and health, as one node sees them; with several, whether they agree."""
    rings, silent = _ask_all([each.strip() for each in ops.split(",") if each.strip()])
    if as_json:
        told = rings[0] if len(rings) == 1 else rings
        print(msgspec.json.encode(told).decode(), flush=True)
        return
    # Into a pipe nothing is to be cut off; a terminal has the width it has.
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    ring = rings[0]
    state = verdict(rings)
    head = f"  ring {ring.ring[:SHORT_ID]}  view {ring.view}  {len(ring.members)} members"
    console.print(Text.assemble((state, style(state)), head))
    for title, text in [*lines(rings), *(("no answer", each) for each in silent)]:
        console.print(Text(f"{title:<11}{text}"))
    console.print(_table(ring))


def _ask_all(addresses: list[str]) -> tuple[list[RingReport], list[str]]:
    """What those say that answer, and why others do not. Raises OperationFailed if none does."""
    if not addresses:
        msg = "name an ops listener: --ops HOST:PORT"
        raise UsageFailed(msg)
    rings: list[RingReport] = []
    silent: list[str] = []
    for address in addresses:
        try:
            rings.append(fetch_ring(_url(address)))
        except OperationFailed as error:
            silent.append(str(error))
    if not rings:
        raise OperationFailed(silent[0])
    return rings, silent


@app.command()
def recover(
    ops: Ops = DEFAULT_OPS,
    cluster_secret_file: Annotated[
        Path | None,
        typer.Option(
            envvar="COMETRING_CLUSTER_SECRET_FILE",
            help="The secret that nodes share (or set COMETRING_CLUSTER_SECRET).",
        ),
    ] = None,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go on without a majority of voters that is lost for good: an explicit new start.

    The node makes a new ring of the members that it can see, and they follow. If
    the others are alive after all, there are two rings, and they never merge.
    """
    flags = {"cluster_secret_file": cluster_secret_file}
    config = load_config({name: value for name, value in flags.items() if value is not None})
    if config.cluster_secret is None and config.cluster_secret_file is None:
        msg = "only who knows the cluster secret may do this: pass --cluster-secret-file F"
        raise UsageFailed(msg)
    url = _url(ops)
    situation, ring = fetch_situation(url)
    if not sure:
        _ask(situation, ring)
    proof = prove(config.secrets[0], situation)
    reply = fetch(url, "/ring/recover", "POST", b"", {"Authorization": f"Bearer {proof}"})
    if reply.status == 200 or (reply.status == 503 and ring is None):
        print("recovering: see 'cometring ring status'", flush=True)
        return
    raise OperationFailed(_complaint(reply))


def _ask(situation: Situation, ring: RingReport | None) -> None:
    if ring is None:
        question = f"Forget ring {situation.ring[:SHORT_ID]} and found another with who is here?"
    else:
        left = ", ".join(node[:SHORT_ID] for node in ring.missing_voters) or "nobody known"
        question = (
            f"Give up the voters that are missing ({left}), and make a new ring of those that"
            f" node {situation.node[:SHORT_ID]} sees? If they live, there will be two rings."
        )
    if not sys.stdin.isatty():
        msg = "this is not undone by anything: say --yes"
        raise UsageFailed(msg)
    typer.confirm(question, abort=True)


def _complaint(reply: Reply) -> str:
    try:
        error = msgspec.json.decode(reply.body)["error"]
        return f"refused: {error['message']}"
    except (msgspec.DecodeError, LookupError, TypeError):
        return f"refused with status {reply.status}"


def _table(ring: RingReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("node", "state", "role", "client", "peer", "zone"):
        table.add_column(title, no_wrap=True)
    for title in ("share", "link"):
        table.add_column(title, justify="right")
    links = {link.node: link for link in ring.links}
    for member in ring.members:
        suspected = member.id in ring.suspected
        mark = " (suspected)" if suspected else ""
        here = " *" if member.id == ring.node else ""
        role = "leads" if member.id == ring.leader and not ring.frozen else ""
        role = role or ("votes" if member.id in ring.voters else "")
        table.add_row(
            member.id[:SHORT_ID] + here,
            member.state + mark,
            role,
            member.client,
            member.peer,
            member.zone,
            f"{member.share:.1%}",
            _distance(links.get(member.id)) if not here else "",
            style="red" if suspected else "",
        )
    return table


def _distance(link: LinkReport | None) -> str:
    """How far away a member is from the node that was asked."""
    if link is None:
        return "none"
    return f"{link.rtt * 1000:.1f} ms" if link.rtt is not None else "open"


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
    if ops.startswith(":"):  # as a listener on all addresses is told
        ops = LOOPBACK + ops
    return ops if "://" in ops else f"http://{ops}"
