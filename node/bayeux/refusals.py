"""How a message is refused: the error that the protocol names, the advice that helps, a count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux import channels
from node.bayeux.advice import REHANDSHAKE, RETRY, STOP
from node.bayeux.messages import ClientMessage, error_reply
from pubsub.errors import RETRYABLE, Code

if TYPE_CHECKING:
    from node.bayeux.batch import Batch
    from node.stats import Stats
    from pubsub.messages import Failed

_LATER = frozenset({429, 503})  # refusals that pass


class Refusals:
    """Answers messages with errors. `advice`: what goes with a 503, raw JSON."""

    def __init__(self, stats: Stats, advice: bytes) -> None:
        self._stats = stats
        self._advice = advice

    def refuse(
        self,
        batch: Batch,
        index: int,
        message: ClientMessage,
        code: int,
        arguments: str,
        text: str,
        advice: bytes = b"",
    ) -> None:
        self._stats.refused[str(code)] += 1
        advice = advice or {402: REHANDSHAKE, 503: self._advice}.get(code, b"")
        if message.channel == channels.META_HANDSHAKE:
            advice = RETRY if code in _LATER else STOP
        batch.reply(index, error_reply(message, code, arguments, text, advice))

    def refuse_with(self, batch: Batch, index: int, message: ClientMessage, failed: Failed) -> None:
        """As `refuse`, with what the cluster said.

        A session that has moved to another edge lives: its client finds it there.
        """
        if failed.code == Code.UNKNOWN_SESSION:
            self.refuse(batch, index, message, 402, "", "session_unknown")
        elif failed.code in RETRYABLE or failed.code == Code.MOVED:
            self.refuse(batch, index, message, 503, failed.code, "not now, retry")
        elif failed.code == Code.TOO_MANY:
            text = "the cluster has as many wildcard channels as it may"
            self.refuse(batch, index, message, 413, failed.code, text)
        else:
            self.refuse(batch, index, message, 500, failed.code, "the cluster refused")
