"""Long-polling by whole request cycles: a broadcast to pollers, and polls answered at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report import Report
from loadtest.scenarios import broadcast, connect
from loadtest.settings import option

if TYPE_CHECKING:
    from loadtest.settings import Progress


@dataclass(frozen=True, slots=True)
class LongPoll:
    """Server CPU a long-polling delivery (a whole request cycle), and connects a second."""

    subscribers: int = option(10_000, "Clients that wait for a broadcast.")
    messages: int = option(20, "Messages a round.")
    clients: int = option(200, "Clients that poll without a pause.")
    seconds: float = option(4.0, "Length of a round of these.")
    rounds: int = option(5, "Rounds; the table shows their median.")


def run(settings: LongPoll, progress: Progress) -> Report:
    """A broadcast's rounds, then those of `connect`."""
    report = Report(
        "longpoll", {"subscribers": settings.subscribers, "messages a round": settings.messages}
    )
    progress("longpoll: opening")
    wanted = broadcast.Broadcast(settings.subscribers, settings.messages, settings.rounds)
    broadcast.measure(wanted, "long-polling", report, progress)
    at_once = connect.run(
        connect.Connect(settings.clients, settings.seconds, settings.rounds), progress
    )
    report.figures += at_once.figures
    return report
