"""Ask all members what they see, and answer who asks.

A round asks this node and up to `MAX_ASKED` - 1 others, and takes what has come
in within a time. Nothing is asked again, nothing is kept of who did not answer.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Final

import trio

from node.console.messages import MAX_NAMES, Survey, SurveyAsk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dht.ids import NodeId
    from node.cluster.driver import Cluster
    from node.console.sight import Sight

MAX_ASKED: Final = 128
"""Members of a round; of a larger ring those that follow this one are asked."""
WITHIN: Final = 0.4
"""Seconds for all answers: a node that takes longer is shown as silent."""
UNASKED: Final = 5.0
"""Seconds after the last question until a node stops to watch itself."""


class Round:
    """One question, and the answers so far."""

    __slots__ = ("answers", "complete", "waiting")

    def __init__(self, waiting: set[NodeId]) -> None:
        self.waiting = waiting
        self.answers: dict[NodeId, Survey] = {}
        self.complete = trio.Event()

    def take(self, sender: NodeId, answer: Survey) -> None:
        """An answer; from whoever was not asked, or has answered, it changes nothing."""
        if sender in self.waiting:
            self.waiting.discard(sender)
            self.answers[sender] = answer
            if not self.waiting:
                self.complete.set()


class Surveyor:
    """Both sides of a survey, for one node. `run` it, to end the watching when nobody asks."""

    def __init__(self, cluster: Cluster, sight: Sight) -> None:
        self._cluster = cluster
        self._sight = sight
        self._numbers = count(1)
        self._rounds: dict[int, Round] = {}
        self._asked_at = 0.0
        self._asked = trio.Event()
        self._patience = trio.CancelScope()  # until nobody has asked for `UNASKED` seconds

    async def run(self) -> None:
        """Sleep until somebody asks; close the sight when nobody has for `UNASKED` seconds."""
        while True:
            await self._asked.wait()
            with trio.CancelScope(deadline=self._asked_at + UNASKED) as self._patience:
                await trio.sleep_forever()
            self._sight.close()
            self._asked = trio.Event()

    # -- asking ---------------------------------------------------------------------------

    def members(self) -> list[NodeId]:
        """Whom a round asks: this node first."""
        view, me = self._cluster.view, self._cluster.me
        if view is None:
            return [me]
        ids = [member.id for member in view.members]
        start = ids.index(me) if me in view else 0
        others = [node for node in (*ids[start:], *ids[:start]) if node != me]
        return [me, *others[: MAX_ASKED - 1]]

    async def ask(
        self, nodes: Sequence[NodeId], names: Iterable[str] = (), *, figures: bool = False
    ) -> dict[NodeId, Survey]:
        """What `nodes` answer within `WITHIN` seconds. Of `names` the first `MAX_NAMES` count."""
        number = next(self._numbers)
        question = SurveyAsk(number, figures, tuple(islice(names, MAX_NAMES)))
        others = [node for node in nodes if node != self._cluster.me]
        this = Round({node for node in others if self._cluster.post(node, question)})
        if len(others) < len(nodes):
            this.answers[self._cluster.me] = self.look(question)
        if this.waiting:
            self._rounds[number] = this
            try:
                with trio.move_on_after(WITHIN):
                    await this.complete.wait()
            finally:
                del self._rounds[number]
        return this.answers

    # -- what other nodes say ---------------------------------------------------------------

    def receive(self, sender: NodeId, message: SurveyAsk | Survey) -> None:
        """A question is answered at once; an answer goes to its round, if that waits still."""
        if isinstance(message, SurveyAsk):
            self._cluster.post(sender, self.look(message))
        elif message.request in self._rounds:
            self._rounds[message.request].take(sender, message)

    def look(self, question: SurveyAsk) -> Survey:
        """The answer of this node itself."""
        figures = None
        if question.figures:
            self._asked_at = trio.current_time()
            self._asked.set()
            self._patience.deadline = self._asked_at + UNASKED
            figures = self._sight.figures(self._asked_at)
        found = [self._sight.branch(name) for name in question.names[:MAX_NAMES]]
        return Survey(question.request, figures, tuple(each for each in found if each is not None))
