"""One node's console: what its parts are, and what the ops listener asks of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from node.console.feed import EVERY, Feed
from node.console.find import NotFindableError, find
from node.console.survey import Surveyor
from node.http import error_body
from node.static_files import load

if TYPE_CHECKING:
    from dht.ids import NodeId
    from node.cluster.driver import Cluster
    from node.console.messages import Survey, SurveyAsk
    from node.console.sight import Sight

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: what is ours, from here."""
_OWN: Final = (
    "app.js", "console.css", "detail.js", "feed.js", "find.js", "flights.js", "health.js",
    "history.js", "ring.js", "shapes.js", "tables.js", "words.js",
)  # fmt: skip
_FILES: Final = {
    "/console": ("node.console", "index.html"),
    **{f"/console/{name}": ("node.console", name) for name in _OWN},
    # Names of colours and the small parts are those of the demo page.
    **{f"/console/{name}": ("node.demo", name) for name in ("base.css", "favicon.svg")},
}


@cache
def _assets() -> dict[str, tuple[str, bytes]]:
    return load(_FILES)


def asset(path: str) -> tuple[str, bytes] | None:
    """Content type and bytes of what stands at `path` (no query), or None if nothing does."""
    return _assets().get(path)


class Console:
    """Feed, survey and search of one node. `run` it."""

    def __init__(self, cluster: Cluster, sight: Sight, every: float = EVERY) -> None:
        """`sight`: of this node itself. `every`: as in `Feed`."""
        self._cluster = cluster
        self._surveyor = Surveyor(cluster, sight)
        self.feed = Feed(cluster, self._surveyor, every)

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._surveyor.run)
            nursery.start_soon(self.feed.run)

    def receive(self, sender: NodeId, message: SurveyAsk | Survey) -> None:
        """Another node asks, or answers."""
        self._surveyor.receive(sender, message)

    async def find(self, name: str) -> tuple[int, bytes]:
        """Status and JSON of what is known of a channel, address or session id."""
        try:
            found = await find(self._cluster, self._surveyor, name)
        except NotFindableError as error:
            code = "bad_request" if error.status == 400 else "unavailable"
            return error.status, error_body(code, str(error), retry=error.status != 400)
        return 200, msgspec.json.encode(found)
