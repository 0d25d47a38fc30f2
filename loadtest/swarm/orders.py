"""What the scenario and its swarm processes say to each other: one JSON line each.

Orders go in at a swarm process's standard input, answers come out at its
standard output. Each order gets exactly one answer.
"""

from __future__ import annotations

import msgspec

DATA_MARK = b'"sent_ns":'
"""Stands exactly once in every message that a scenario publishes: deliveries are counted by it."""


class Note(msgspec.Struct):
    """The ``data`` of every benchmark message."""

    n: int  # counts up by one per reader, from 1
    sent_ns: int  # monotonic clock, when the message was meant to be sent
    text: str = ""


class Open(msgspec.Struct, tag="open"):
    """Open `count` clients of kind `transport`; answered by `Ready` when all of them wait.

    Kinds: ``long-polling`` and ``websocket`` speak Bayeux, ``sse`` reads a stream of
    events. For other servers: ``frames`` (a WebSocket with a dialogue of its own),
    ``poll`` (a plain GET, again and again), ``engine-polling`` (Socket.IO without
    WebSocket). For the floor: ``raw`` (only reads) and ``raw-cycle`` (answers each
    delivery with a request of a long poll's size).
    """

    transport: str
    host: str
    port: int
    count: int
    seed: int
    source: str = "127.0.0.1"  # local address to bind; one has some 28,000 ports
    channel: str = ""  # subscribed to, if given
    poll_timeout: int | None = None  # milliseconds, the client's own advice.timeout
    sampled: int = 20  # clients that check every message
    frame_bytes: int = 0  # raw kinds: bytes of one delivery on the wire
    at_once: int = 200  # clients being set up at a time: well under any listen backlog
    path: str = "/bayeux"
    rooms: int = 0  # of this many channels below `channel` …
    rooms_each: int = 0  # … each client subscribes to so many
    ports: list[int] = msgspec.field(default_factory=list)  # clients go to them in turn
    dialogue: list[str] = msgspec.field(default_factory=list)  # frames, each after an answer
    heartbeat: tuple[str, str] = ("", "")  # a text frame that is to be answered, and its answer
    numbered: bool = False  # one channel: a client's last message must be the count of all it got
    conditional: bool = False  # polls name the last answer (If-Modified-Since, If-None-Match)


def channels_of(order: Open, number: int) -> list[str]:
    """The channels that client `number` of an order subscribes to."""
    if not order.rooms:
        return [order.channel] if order.channel else []
    step = max(1, order.rooms // max(1, order.rooms_each))
    return [
        f"{order.channel}/{(number + turn * step) % order.rooms}"
        for turn in range(order.rooms_each)
    ]


class Expect(msgspec.Struct, tag="expect"):
    """Answered by `Reached` once all clients together have `deliveries` since they opened."""

    deliveries: int


class Tell(msgspec.Struct, tag="tell"):
    """Answered by `Counts` at once."""


class Publish(msgspec.Struct, tag="publish"):
    """Call the application interface for `seconds`; answered by `Published` at the end.

    With `rate` the load is open: calls are meant for fixed times whether or not
    earlier ones were answered. With `rate` 0 every connection calls as soon as it
    was answered. Each call carries `batch` messages (1: /api/send or /api/publish, else
    /api/batch) to the `targets` in turn: sessions, or channels.
    """

    host: str
    port: int
    api_key: str
    targets: list[str]
    rate: float  # messages a second, 0 for as many as possible
    batch: int
    connections: int
    seconds: float
    text: str = ""


class Quit(msgspec.Struct, tag="quit"):
    """End the process."""


class Ready(msgspec.Struct, tag="ready"):
    """All clients are open. `sessions`: their ids, in order of readiness."""

    clients: int
    seconds: float
    sessions: list[str]


class Reached(msgspec.Struct, tag="reached"):
    """The expected number of deliveries has come. `at_ns`: monotonic clock."""

    deliveries: int
    at_ns: int


class Counts(msgspec.Struct, tag="counts"):
    """Totals since the clients opened; `latency` (encoded) is of the sampled ones, and reset."""

    at_ns: int
    deliveries: int
    fewest: int  # deliveries of the client that got fewest
    most: int
    cycles: int  # answered connects
    turned_away: int  # handshakes that were told to come again
    received_bytes: int
    checked: int  # messages that sampled clients decoded and found right
    faults: list[str]
    latency: str


class Published(msgspec.Struct, tag="published"):
    """`accepted` messages were answered as committed. `latency` (encoded): of the API answers."""

    accepted: int
    refused: int
    seconds: float
    latency: str
    faults: list[str]


class Broken(msgspec.Struct, tag="broken"):
    """The order could not be carried out."""

    reason: str


Order = Open | Expect | Tell | Publish | Quit
Answer = Ready | Reached | Counts | Published | Broken
