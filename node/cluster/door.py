"""The accepting side: strangers come in, authenticated links go out.

A stranger may hold a connection for `AUTH_WITHIN` seconds and a greeting's
worth of memory. There are at most `MAX_STRANGERS`; for one more the oldest has
to go, so that idle connections cannot lock the peers out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import trio

from node.cluster.greetings import Verdict
from node.cluster.handshake import Acceptor, State
from node.cluster.opening import admit, fresh_nonce, peer_name
from node.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.cluster.frames import FrameBuffer
    from node.cluster.link import Link
    from node.cluster.pairing import Pairing
    from node.cluster.refusals import Refusals

MAX_STRANGERS: Final = 64
AUTH_WITHIN: Final = 5.0
"""Seconds from the connection to the end of the handshake."""

_TURNED_AWAY: Final = {
    Verdict.DUPLICATE: ("duplicate", "there is a link to it already"),
    Verdict.MYSELF: ("self", "this process has dialled itself"),
    Verdict.SAME_ID: (
        "same_id",
        "it has the id of another live node: was a state directory copied?",
    ),
}


class Door:
    """Admits accepted connections."""

    def __init__(
        self,
        pairing: Pairing[Link],
        secrets: Sequence[bytes],
        refusals: Refusals,
        max_strangers: int = MAX_STRANGERS,
        auth_within: float = AUTH_WITHIN,
    ) -> None:
        self._pairing = pairing
        self._secrets = tuple(secrets)
        self._refusals = refusals
        self._max_strangers = max_strangers
        self._auth_within = auth_within
        self._strangers: OrderedDict[trio.CancelScope, str] = OrderedDict()  # why it was cancelled

    @property
    def strangers(self) -> int:
        """Connections that have not proven anything yet."""
        return len(self._strangers)

    def turn_all_out(self) -> None:
        """End the handshakes under way: this node's introduction has changed."""
        for scope in self._strangers:
            self._turn_out(scope, "renamed")

    async def admit(
        self, stream: trio.SocketStream, opened: Callable[[Acceptor, FrameBuffer], Link]
    ) -> Link | None:
        """Shake hands; what `opened` makes of a peer that may stay, or None."""
        where = peer_name(stream)
        handshake = Acceptor(self._pairing.me, self._secrets, fresh_nonce(), self._pairing.judge)
        link: Link | None = None
        why = ""
        with trio.CancelScope(deadline=trio.current_time() + self._auth_within) as scope:
            self._enter(scope)
            try:
                buffer = await admit(stream, handshake)
                if handshake.state is State.OPEN and handshake.me is self._pairing.me:
                    link = opened(handshake, buffer)
                elif handshake.verdict in _TURNED_AWAY:
                    reason, text = _TURNED_AWAY[handshake.verdict]
                    self._refusals.note(reason, where, text)
            except RemoteProtocolError as error:
                self._refusals.note(error.code, where, str(error))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._refusals.note("closed", where, "the connection was reset")
            finally:
                why = self._strangers.pop(scope)
                if handshake.verdict is Verdict.ACCEPTED and handshake.peer is not None:
                    self._pairing.withdraw(handshake.peer.id)
        if scope.cancelled_caught:
            self._refusals.note(why, where, "the handshake was not finished in time")
        return link

    def _enter(self, scope: trio.CancelScope) -> None:
        self._strangers[scope] = "timeout"
        waiting = [each for each, why in self._strangers.items() if why == "timeout"]
        if len(waiting) > self._max_strangers:
            self._turn_out(waiting[0], "crowded")

    def _turn_out(self, scope: trio.CancelScope, why: str) -> None:
        self._strangers[scope] = why
        scope.cancel()
