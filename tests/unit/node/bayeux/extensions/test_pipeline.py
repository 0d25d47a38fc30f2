"""The pipeline, with extensions from outside: what they see, what they may add and stop."""

from __future__ import annotations

from typing import Any

import pytest

from local_edge import Edge, FakeSocket
from node.bayeux.extensions import Exchange, Extension, Veto
from node.bayeux.extensions.loading import OURS, find_factory, load_pipeline
from node.bayeux.extensions.pipeline import Pipeline
from node.bayeux.messages import ClientMessage, decode_batch
from node.config import ConfigError, load_config
from outside_extension import Moderator

MODERATOR = "outside_extension:Moderator"
BROKEN = "outside_extension:broken"


@pytest.fixture
async def edge() -> Edge:
    return Edge(extensions=f"ack,{MODERATOR}")


# -- what an application's extension can do -------------------------------------------------


async def test_a_veto_is_told_and_the_message_goes_nowhere(edge: Edge) -> None:
    reader, sender = edge.client(), edge.client()
    reader.subscribe("/a")
    reply = sender.ask("/a", data="rude", id="7")
    assert reply["successful"] is False
    assert reply["error"] == "404:/a:message_deleted"
    assert reply["id"] == "7"
    assert sender.ask("/a", data="x" * 101)["error"] == "403:/a:too long"
    assert sender.ask("/a", data="secret")["error"] == "404:/a:not for others"
    assert reader.fetch() == []


async def test_deliveries_are_changed_once_for_all_readers(edge: Edge) -> None:
    readers, sender = [edge.client() for _ in range(2)], edge.client()
    for reader in readers:
        reader.subscribe("/a")
    assert sender.ask("/a", data="polite")["successful"]
    assert sender.ask("/a", data="shout")["successful"]
    for reader in readers:
        message, other = reader.fetch()
        assert message["data"] == "POLITE"
        assert other["data"] == "LOUD"
        assert message["ext"] == {"signed": "/a"}
        assert "clientId" not in message


async def test_direct_messages_pass_through_it_and_still_say_from_whom(edge: Edge) -> None:
    reader, sender = edge.client(), edge.client()
    sender.ask("/service/send", data={"to": reader.address, "data": "psst"})
    (message,) = reader.fetch()
    assert message["data"] == "PSST"
    assert message["ext"] == {"from": sender.address, "signed": "/service/inbox"}


async def test_replies_of_every_kind_carry_what_it_adds(edge: Edge) -> None:
    client = edge.client()
    assert client.ext["address"] == client.address
    client.subscribe("/a")
    assert client.ask("/b", data=1)["ext"] == {"turn": 1}
    reply = client.ask("/b", data=2)
    assert reply["ext"] == {"turn": 2}
    assert reply["seen"] is True
    held = client.poll()
    assert held.status is None
    edge.publish("/a", "x")
    edge.flush()
    assert held.body[-1]["channel"] == "/meta/connect"
    assert held.body[-1]["seen"] is True
    assert client.ask("/meta/unsubscribe", subscription="/a")["seen"] is True
    assert client.ask("/meta/disconnect")["seen"] is True


async def test_a_connect_on_a_websocket_carries_it_too(edge: Edge) -> None:
    socket = FakeSocket()
    client = edge.client()
    (reply,) = edge.request(client.connect_message("websocket", 0), socket=socket)
    assert reply["seen"] is True


async def test_it_may_end_a_session(edge: Edge) -> None:
    client, socket = edge.client(), FakeSocket()
    edge.request(client.connect_message("websocket"), socket=socket)
    released, reply = edge.request(
        {"channel": "/a", "clientId": client.id, "data": "goodbye"}, socket=socket
    )
    assert released["channel"] == "/meta/connect"
    assert reply["error"].startswith("402:")
    assert reply["advice"] == {"reconnect": "none"}
    assert not socket.closed
    assert edge.sessions.get(client.address) is None


async def test_it_hears_service_channels(edge: Edge) -> None:
    client = edge.client()
    assert client.ask("/service/of/mine", data=1)["ext"] == {"turn": 1}
    assert client.ask("/service/of/mine", data="rude")["successful"] is False


async def test_it_is_not_shown_what_a_stranger_sends(edge: Edge) -> None:
    client = edge.client()
    reply = edge.client().ask("/a", data=1, clientId=client.address)
    assert reply["error"].startswith("402:")
    assert "seen" not in reply
    assert client.ask("/a", data=1)["ext"] == {"turn": 1}


async def test_what_the_node_says_in_ext_it_cannot_replace() -> None:
    class Liar(Extension):
        def reply(self, exchange: Exchange) -> None:
            exchange.ext["address"] = "mine"

    edge = Edge()
    edge.protocol._pipeline = Pipeline([Liar()])
    assert edge.client().address != "mine"


# -- one that fails --------------------------------------------------------------------------


async def test_one_that_raises_stops_its_message_not_the_node() -> None:
    edge = Edge(extensions=BROKEN)
    client = edge.client()
    client.subscribe("/broken/out")
    assert client.ask("/broken/in", data=1)["error"] == "500:/broken/in:an extension failed"
    assert client.ask("/broken/out", data=1)["error"] == "500:/broken/out:an extension failed"
    assert client.ask("/broken/reply", data=1)["successful"] is True
    assert client.fetch() == []
    client.subscribe("/a")
    assert edge.client().ask("/a", data=1)["successful"] is True
    assert [message["data"] for message in client.fetch()] == [1]


# -- order, and what is not asked -----------------------------------------------------------


def message_of(text: bytes) -> ClientMessage:
    (message,) = decode_batch(text)
    return message


def test_in_by_the_list_out_against_it() -> None:
    seen: list[str] = []

    class Named(Extension):
        def __init__(self, name: str) -> None:
            self.name = name

        def incoming(self, exchange: Exchange) -> Veto | None:
            seen.append(f"in {self.name}")
            return Veto() if self.name == "c" else None

        def reply(self, exchange: Exchange) -> None:
            seen.append(f"out {self.name}")

    pipeline = Pipeline([Named("a"), Named("b")])
    shown = pipeline.incoming(message_of(b'{"channel":"/x"}'), None)
    assert isinstance(shown, Exchange)
    pipeline.finish(shown)
    assert seen == ["in a", "in b", "out b", "out a"]
    seen.clear()
    stopping = Pipeline([Named("c"), Named("d")])
    assert stopping.incoming(message_of(b'{"channel":"/x"}'), None) == Veto()
    assert seen == ["in c"]


async def test_without_ext_and_without_extensions_that_look_nothing_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the pipeline ran")

    edge = Edge()
    client = edge.client()
    session = edge.sessions.get(client.address)
    assert session is not None
    monkeypatch.setattr(Pipeline, "incoming", never)
    monkeypatch.setattr(Pipeline, "finish", never)
    client.subscribe("/a")
    client.poll(timeout=0)
    held = client.poll()
    edge.publish("/a", 1)
    edge.flush()
    assert held.status == 200
    assert session.notes is None


def test_only_what_a_class_overrides_is_called() -> None:
    class Silent(Extension):
        pass

    assert Pipeline([Silent()]).eager is False


@pytest.mark.parametrize("ext", [b"null", b"1", b"[]", b'""', b"[" * 900 + b"]" * 900])
def test_ext_that_is_no_object_is_none(ext: bytes) -> None:
    assert Exchange(message_of(b'{"channel":"/x","ext":%b}' % ext), None).asked == {}


# -- loading ---------------------------------------------------------------------------------


def test_ours_are_found_by_name_and_others_where_python_finds_them() -> None:
    assert set(OURS) == {"ack", "activity", "binary", "timestamp", "timesync"}
    assert find_factory(MODERATOR) is Moderator
    assert load_pipeline(load_config({"extensions": MODERATOR})).eager
    assert not load_pipeline(load_config({})).eager


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("acks", "'acks' is none of ack, activity, binary"),
        ("no.such.module:X", "cannot import no.such.module:X: No module named 'no'"),
        ("outside_extension:Missing", "cannot import outside_extension:Missing"),
        (":x", "cannot import :x"),
        ("outside_extension:NOT_CALLABLE", "is not callable"),
        ("outside_extension:nothing", "made NoneType, which is no Extension"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(name: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(load_config({"extensions": name}))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
