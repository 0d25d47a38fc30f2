"""Frames for sessions that live elsewhere: a connect moves its session here, nothing else does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_edge import Edge, FakeSocket
from node.bayeux.websocket import BayeuxWebSocket
from node.http.origins import Origins
from pubsub.errors import Code
from pubsub.messages import Failed
from pubsub.sessions import address_of, session_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.bayeux.relayed import Frame
    from node.session import Session

SECRET = session_id("tag", bytes(16))
PUBLISH = {"channel": "/a", "data": 1, "clientId": SECRET, "id": "p"}
CONNECT = {"channel": "/meta/connect", "clientId": SECRET, "connectionType": "websocket", "id": "c"}


class FakeRelays:
    def __init__(self) -> None:
        self.frames: list[tuple[Frame, str, bytes, bytes]] = []
        self.claims: list[tuple[Callable[[Session | Failed], None], int]] = []

    def forward(self, frame: Frame, address: str, body: bytes, mark: bytes) -> None:
        self.frames.append((frame, address, body, mark))

    def claim(
        self,
        address: str,
        mark: bytes,
        transport: str,
        on_done: Callable[[Session | Failed], None],
        ack: int,
    ) -> None:
        assert (address, transport) == (address_of(SECRET), "websocket")
        self.claims.append((on_done, ack))


class Socket(FakeSocket):
    mark = b"its browser"
    origin = ""


class Rig:
    def __init__(self) -> None:
        self.relays = FakeRelays()
        self.edge = edge = Edge()
        self.socket = Socket()
        self.sockets = BayeuxWebSocket(
            edge.protocol,
            edge.sessions,
            self.relays,  # type: ignore[arg-type]
            edge.stats,
            Origins(()),
        )

    def say(self, *messages: dict[str, Any]) -> bytes:
        text = json.dumps(messages).encode()
        self.sockets.handle_text(self.socket, text)  # type: ignore[arg-type]
        return text

    @property
    def busy(self) -> bool:
        return self.sockets.busy(self.socket)  # type: ignore[arg-type]


@pytest.fixture
async def rig() -> Rig:
    return Rig()


async def test_a_publish_is_served_where_the_session_lives(rig: Rig) -> None:
    """Moved now, it would begin before what its client has got and not yet said that it has."""
    text = rig.say(PUBLISH)
    ((frame, *asked),) = rig.relays.frames
    assert asked == [address_of(SECRET), text, b"its browser"]
    assert not rig.relays.claims
    assert rig.busy, "it is not to be closed now"
    frame.respond_json(b'[{"channel":"/a","successful":true}]')
    assert rig.socket.messages == [{"channel": "/a", "successful": True}]
    assert not rig.busy


async def test_a_connect_moves_the_session_and_says_what_its_client_has_got(rig: Rig) -> None:
    rig.say(PUBLISH, {**CONNECT, "ext": {"ack": 12}})
    assert not rig.relays.frames
    ((on_done, ack),) = rig.relays.claims
    assert ack == 12
    assert rig.busy
    on_done(Failed(0, Code.UNKNOWN_SESSION))
    assert {reply["error"][:3] for reply in rig.socket.messages} == {"402"}
    assert not rig.busy


async def test_who_cannot_be_served_now_is_told_to_come_again(rig: Rig) -> None:
    rig.say(PUBLISH)
    rig.relays.frames[0][0].respond(503, b"{}")
    assert rig.socket.close_code == 1013
    rig.socket = Socket()
    rig.say(CONNECT)
    rig.relays.claims[0][0](Failed(0, Code.UNAVAILABLE))
    assert rig.socket.close_code == 1013
    assert not rig.busy
