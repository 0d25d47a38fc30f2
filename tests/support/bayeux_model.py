"""A small model of Bayeux, and clients that hold the real edge to it.

The model knows who is subscribed to what and what each client is owed, by
channel and in order; nothing of how that comes about. Clients poll, hold polls,
hold a WebSocket, or acknowledge (and then lose answers, as networks do).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import trio

from local_edge import Client, Edge, FakePoll, FakeSocket

CHANNELS = ("/a", "/a/b", "/a/c", "/b")
PATTERNS = ("/a/*", "/a/**", "/**")
MODES = ("polls", "socket", "acks")
TIMEOUT, MAX_INTERVAL = 30.0, 10.0  # seconds: the defaults
WAITS = (3.0, 31.0)  # neither adds up to a limit exactly

# What is refused whoever asks, and with which code.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "publish to a pattern": ({"channel": "/**", "data": 1}, "405"),
    "publish to no name": ({"channel": "a b", "data": 1}, "405"),
    "no data": ({"channel": "/a"}, "400"),
    "subscribe to meta": ({"channel": "/meta/subscribe", "subscription": "/meta/*"}, "403"),
    "subscribe to nothing": ({"channel": "/meta/subscribe"}, "400"),
    "subscribe to no name": ({"channel": "/meta/subscribe", "subscription": "a"}, "405"),
    "not subscribed": ({"channel": "/meta/unsubscribe", "subscription": "/never"}, "400"),
    "unknown meta": ({"channel": "/meta/nothing"}, "404"),
    "no such transport": ({"channel": "/meta/connect", "connectionType": "pigeon"}, "400"),
}


def matches(name: str, channel: str) -> bool:
    """Whether a subscription to `name` covers `channel` (Bayeux 1.0, section 2.2.1)."""
    if not name.endswith("*"):
        return name == channel
    stem = name.rstrip("*")
    rest = channel.removeprefix(stem)
    deep = name.endswith("**")
    return channel.startswith(stem) and bool(rest) and (deep or "/" not in rest)


class Twin:
    """One client, and what the model says of it."""

    def __init__(self, edge: Edge, mode: str) -> None:
        self.edge = edge
        self.mode = mode
        self.socket = FakeSocket() if mode == "socket" else None
        ext = {"ack": True} if mode == "acks" else None
        self.client = Client(edge).handshake(self.socket, ext)
        self.alive = True
        self.names: set[str] = set()
        self.owed: dict[str, list[int]] = defaultdict(list)
        self.got: dict[str, list[int]] = defaultdict(list)
        self.held: FakePoll | None = None
        self.holding = 0.0  # seconds that a connect has been held; the socket's too
        self.has_connect = False  # one is held, here or on the socket
        self.silent = 0.0  # seconds without a connect
        self._ack = -1
        self._read = 0  # messages of the socket that have been looked at
        self._numbers = 0

    # -- requests -----------------------------------------------------------------

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The one reply to `message`; deliveries on the same response are taken too."""
        self._numbers += 1
        name = str(self._numbers)
        sent = {"clientId": self.client.id, "id": name, **message}
        if self.socket is not None and self.socket.closed:
            assert not self.alive
            self.socket = None  # the client comes again, over HTTP
        if self.socket is not None:
            self.edge.post([sent], self.socket)
            self._take(self.socket.messages[self._read :])
            found = [m for m in self.socket.messages[self._read :] if m.get("id") == name]
            self._read = len(self.socket.messages)
        else:
            poll = self.edge.post([sent])
            assert poll.status == 200, poll.status
            self._take(poll.body)
            found = [m for m in poll.body if m.get("id") == name and "successful" in m]
        (reply,) = [m for m in found if "successful" in m]
        assert reply["channel"] == message["channel"]
        return dict(reply)

    def connect(self, *, hold: bool, lost: bool = False) -> None:
        """A `/meta/connect`; `lost`: its answer never comes."""
        message: dict[str, Any] = {
            "channel": "/meta/connect",
            "clientId": self.client.id,
            "connectionType": "websocket" if self.socket else "long-polling",
            "id": "c",
        }
        if not hold:
            message["advice"] = {"timeout": 0}
        if self.mode == "acks":
            message["ext"] = {"ack": self._ack}
        self.silent = self.holding = 0.0
        former, self.held = self.held, None
        if self.socket is not None:
            self.edge.post([message], self.socket)
            self.has_connect = hold and self.alive
            return
        poll = self.edge.post([message])
        if former is not None and self.alive:
            assert former.status == 500  # a newer connect ends the older
        if lost:
            self.has_connect = False
        elif poll.status is None:
            assert hold
            self.held, self.has_connect = poll, True
        else:
            self.has_connect = False
            self._answered(poll)

    def _answered(self, poll: FakePoll) -> None:
        assert poll.status == 200, poll.status
        self._take(poll.body)
        (reply,) = [m for m in poll.body if m["channel"] == "/meta/connect"]
        assert reply["successful"] is self.alive, reply
        if self.alive and self.mode == "acks":
            self._ack = reply["ext"]["ack"]

    def collect(self) -> None:
        """Take what has come meanwhile."""
        if self.socket is not None:
            self._take(self.socket.messages[self._read :])
            self._read = len(self.socket.messages)
        elif self.held is not None and self.held.status is not None:
            poll, self.held, self.has_connect = self.held, None, False
            self.silent = 0.0
            if poll.status == 200:
                self._answered(poll)

    def _take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if "successful" not in message:
                assert "clientId" not in message, "a delivery tells the sender's secret"
                self.got[message["channel"]].append(message["data"])

    # -- what the model says -----------------------------------------------------------

    def owe(self, channel: str, number: int) -> None:
        if self.alive and any(matches(name, channel) for name in self.names):
            self.owed[channel].append(number)

    def wait(self, seconds: float) -> None:
        """So much time has passed: is the session still there?"""
        if not self.alive:
            return
        if self.has_connect:
            self.holding += seconds
            if self.holding > TIMEOUT:
                self.has_connect, self.silent = False, 0.0
        else:
            self.silent += seconds
            if self.silent > MAX_INTERVAL:
                self.end()

    def end(self) -> None:
        """The session is over: nothing is owed any more."""
        self.alive = self.has_connect = False
        self.names.clear()

    def check(self, *, whole: bool) -> None:
        """Nothing twice, nothing out of order, nothing foreign; `whole`: nothing missing."""
        for channel in {*self.owed, *self.got}:
            owed, got = self.owed[channel], self.got[channel]
            assert got == owed[: len(got)], (self.mode, channel, owed, got)
            if whole:
                assert got == owed, (self.mode, channel, owed, got)


class World:
    """An edge, and the clients on it."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self.edge = Edge()
        self.twins: dict[int, Twin] = {}
        self._clock = clock
        self._number = 0

    def step(self, op: tuple[Any, ...]) -> None:
        """One operation, and what must hold after it."""
        name, *rest = op
        if name == "handshake":
            index, mode = rest
            if index not in self.twins or not self.twins[index].alive:
                self.twins[index] = Twin(self.edge, mode)
        elif name in {"wait", "api"}:
            getattr(self, name)(*rest)
        elif rest[0] in self.twins:
            getattr(self, name)(self.twins[rest[0]], *rest[1:])
        self.edge.flush()
        for twin in self.twins.values():
            twin.collect()
            twin.check(whole=False)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _refused(self, reply: dict[str, Any], code: str) -> None:
        assert reply["successful"] is False
        assert reply["error"].startswith(f"{code}:"), reply

    def publish(self, twin: Twin, channel: str) -> None:
        number = self._next()
        if twin.alive:
            for each in self.twins.values():
                each.owe(channel, number)
        reply = twin.ask({"channel": channel, "data": number})
        if twin.alive:
            assert reply["successful"], reply
        else:
            self._refused(reply, "402")

    def api(self, channel: str) -> None:
        number = self._next()
        for each in self.twins.values():
            each.owe(channel, number)
        self.edge.publish(channel, number)

    def direct(self, twin: Twin, index: int) -> None:
        to = self.twins.get(index)
        if to is None:
            return
        number = self._next()
        if twin.alive and to.alive:
            to.owed["/service/inbox"].append(number)
        data = {"to": to.client.address, "data": number}
        reply = twin.ask({"channel": "/service/send", "data": data})
        if not twin.alive:
            self._refused(reply, "402")
        elif to.alive:
            assert reply["successful"], reply
        else:
            self._refused(reply, "404")

    def subscribe(self, twin: Twin, channel: str) -> None:
        reply = twin.ask({"channel": "/meta/subscribe", "subscription": channel})
        if twin.alive:
            assert reply["successful"], reply
            assert reply["subscription"] == channel
            twin.names.add(channel)
        else:
            self._refused(reply, "402")

    def unsubscribe(self, twin: Twin, channel: str) -> None:
        if twin.alive and channel in twin.names:  # what is still owed to it comes first
            self.edge.flush()
            twin.collect()
            twin.connect(hold=False)
            twin.collect()
        reply = twin.ask({"channel": "/meta/unsubscribe", "subscription": channel})
        if not twin.alive:
            self._refused(reply, "402")
        elif channel in twin.names:
            assert reply["successful"], reply
            twin.names.discard(channel)
        else:
            self._refused(reply, "400")

    def connect(self, twin: Twin, hold: bool) -> None:
        twin.connect(hold=hold)

    def lose(self, twin: Twin) -> None:
        """The answer to a connect is lost on its way; only who acknowledges can bear that."""
        if twin.mode == "acks" and twin.alive:
            twin.connect(hold=False, lost=True)

    def disconnect(self, twin: Twin) -> None:
        was_alive = twin.alive
        if was_alive:
            twin.end()
        reply = twin.ask({"channel": "/meta/disconnect"})
        if was_alive:
            assert reply["successful"], reply
        else:
            self._refused(reply, "402")

    def wrong(self, twin: Twin, what: str) -> None:
        message, code = WRONG[what]
        known = twin.alive or what in {"publish to a pattern", "publish to no name", "unknown meta"}
        self._refused(twin.ask(message), code if known else "402")

    def stranger(self, twin: Twin, channel: str) -> None:
        """Somebody guesses a client's id from its address."""
        poll = self.edge.post([{"channel": channel, "clientId": twin.client.address, "data": 0}])
        (reply,) = poll.body
        self._refused(reply, "402")

    def wait(self, seconds: float) -> None:
        for twin in self.twins.values():
            twin.wait(seconds)
        self._clock.jump(seconds)
        self.edge.sessions.wheel.advance(trio.current_time())

    def finish(self) -> None:
        """Everybody who is there fetches what is left; then nobody lacks anything."""
        self.edge.flush()
        for twin in self.twins.values():
            twin.collect()
            if twin.alive:
                for _ in range(3):
                    twin.connect(hold=False)
                    self.edge.flush()
                    twin.collect()
            twin.check(whole=twin.alive)
            assert (self.edge.sessions.get(twin.client.address) is not None) is twin.alive
        alive = [twin for twin in self.twins.values() if twin.alive]
        assert len(self.edge.sessions) == len(alive)


def run(ops: list[tuple[Any, ...]]) -> None:
    """Hold an edge of its own to the model. Raises AssertionError where they differ."""
    clock = trio.testing.MockClock()

    async def main() -> None:
        world = World(clock)
        for op in ops:
            world.step(op)
        world.finish()

    trio.run(main, clock=clock)
