"""The parts that make patterns work, put together; what the rest of the engine calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dht.ids import slot_of
from pubsub.effects import Answer
from pubsub.errors import Code
from pubsub.messages import Failed, PatternOpen
from pubsub.patterns import Patterns
from pubsub.patterns_forwarding import Forwarding
from pubsub.patterns_home import PatternHome
from pubsub.patterns_news import PatternNewsDesk
from pubsub.patterns_receiving import Receiving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dht.effects import Effect
    from dht.ids import NodeId
    from dht.view import View
    from pubsub.core import Core
    from pubsub.homes import Homes
    from pubsub.messages import Cursor, Forward
    from pubsub.readers import Readers
    from pubsub.requests import Requests, Response
    from pubsub.slot import Topic


class PatternParts:
    """Patterns of one engine: which are active, who reads them, what is forwarded to them."""

    def __init__(
        self,
        core: Core,
        homes: Homes,
        requests: Requests,
        readers: Readers,
        leased: Callable[[float], bool],
    ) -> None:
        """`leased`: whether this node may acknowledge as a home at a time."""
        self._leased = leased
        self._core = core
        self._requests = requests
        self._readers = readers
        self.active = Patterns(core)
        self.home = PatternHome(core, self.active, requests)
        self.news = PatternNewsDesk(core, self.active)
        self.news.home = self.home
        self.forwarding = Forwarding(core, self.active)
        self.receiving = Receiving(core, homes, self.active)
        self.forwarding.serve, self.forwarding.mark = self.receive_forward, homes.mark
        self.receiving.answer = self.forwarding.receive_forwarded
        homes.patterns, homes.forwarding = self.active, self.forwarding
        homes.receiving = self.receiving
        self._opening: dict[int, tuple[int, str, Cursor | None]] = {}  # requests of local readers

    # -- local readers -----------------------------------------------------------------

    def join(
        self, request: int, pattern: str, cursor: Cursor | None, now: float, out: list[Effect]
    ) -> None:
        """A local reader of a pattern: its home opens it first, unless it is read here already."""
        feed = self._core.feeds.get(pattern)
        if feed is not None and feed.joined and feed.readers:
            self._readers.join(request, pattern, cursor, now, out)
            return
        number = self._requests.internal()
        self._opening[number] = (request, pattern, cursor)
        if not self._requests.submit(number, pattern, PatternOpen(number, pattern), now, out):
            del self._opening[number]
            out.append(Answer(request, Failed(request, Code.OVERLOADED)))

    def opened(self, number: int, response: Response, now: float, out: list[Effect]) -> None:
        """The pattern's home has answered."""
        request, pattern, cursor = self._opening.pop(number)
        if isinstance(response, Failed):
            out.append(Answer(request, Failed(request, response.code)))
        else:
            self._readers.join(request, pattern, cursor, now, out)

    # -- as a home -----------------------------------------------------------------------

    def receive_forward(
        self, sender: NodeId, message: Forward, now: float, out: list[Effect]
    ) -> None:
        """Nothing is taken without a lease, or before this node is ready: it comes again soon."""
        slot = self._core.slots.get(slot_of(message.pattern))
        if slot is not None and self.active.ready and self._leased(now):
            self.receiving.receive_forward(sender, message, slot, now, out)

    def topics_parted(self, topics: Sequence[Topic]) -> None:
        """Somebody else is home to these now."""
        self.forwarding.topics_parted(topics)
        self.receiving.topics_parted(topics)

    # -- views, links, time ---------------------------------------------------------------

    def install_view(self, old_view: View | None, now: float, out: list[Effect]) -> None:
        """`old_view` is None for the first view of a ring."""
        if old_view is None:
            self.home.change_ring()
        self.news.install_view(old_view, now, out)
        self.home.install_view(now, out)

    def link_opened(self, node: NodeId, now: float, out: list[Effect]) -> None:
        self.news.link_opened(node, out)
        self.home.link_opened(node, now, out)
        self.forwarding.resume(node, now, out)

    def next_deadline(self) -> float:
        return min(
            self.news.next_deadline(), self.home.next_deadline(), self.forwarding.next_deadline()
        )

    def handle_timer(self, now: float, out: list[Effect]) -> None:
        self.news.handle_timer(now, out)
        self.home.handle_timer(now, out)
        self.forwarding.handle_timer(now, out)
