"""The application interface on one edge: answers, refusals, and who may ask."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local_edge import Edge
from node.api.application import Application
from node.api.keys import ApiKey, ApiKeys, Scope, digest_of, read_keys
from node.http.head import Head, Shape

KEY = "sesame"


class FakeConnection:
    """Takes one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.body: Any = None
        self.headers: dict[str, str] = {}

    def respond_json(self, body: bytes) -> None:
        self.respond(200, body)

    def respond(self, status: int, body: bytes, *, headers: Any = ()) -> None:
        assert not self.status, "answered twice"
        self.status, self.body, self.headers = status, json.loads(body), dict(headers)


class Api:
    def __init__(self, key: str | None = KEY, rules: str = "", **settings: Any) -> None:
        self.edge = Edge(api_key=key, rules=rules, **settings)
        self.application = Application(
            self.edge.cluster,  # type: ignore[arg-type]
            self.edge.stats,
            self.edge.protocol.message_id,
            self.edge.pipeline.deliver,
            self.edge.rules,
            read_keys(self.edge.config),
        )

    def call(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        authorization: str = f"Bearer {KEY}",
        api_key: str = "",
        query: str = "",
    ) -> FakeConnection:
        shape = Shape(
            method=method,
            path=path,
            query=query,
            content_length=0,
            keep_alive=True,
            http_version="1.1",
            content_type="application/json",
            origin="",
            host="",
            authorization=authorization,
            api_key=api_key,
            last_event_id="",
            upgrade="",
            plain=True,
        )
        conn = FakeConnection()
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.application.handle(conn, Head(shape, cookie=""), raw)  # type: ignore[arg-type]
        return conn


@pytest.fixture
async def api() -> Api:
    return Api()


async def test_publish_answers_with_the_position_once_committed(api: Api) -> None:
    client = api.edge.client()
    client.subscribe("/a")
    first = api.call("/api/publish", {"channel": "/a", "data": {"x": 1}})
    second = api.call("/api/publish", {"channel": "/a", "data": None})
    assert first.status == second.status == 200
    assert first.body == {"channel": "/a", "epoch": 1, "offset": 1}
    assert second.body["offset"] == 2
    assert [message["data"] for message in client.fetch()] == [{"x": 1}, None]


async def test_a_retry_with_the_same_id_is_published_once(api: Api) -> None:
    client = api.edge.client()
    client.subscribe("/a")
    answers = [
        api.call("/api/publish", {"channel": "/a", "data": 1, "id": "order-7"}).body
        for _ in range(3)
    ]
    assert answers[0] == answers[1] == answers[2]
    (message,) = client.fetch()
    assert message["id"] == "order-7"


async def test_send_takes_the_id_or_the_address(api: Api) -> None:
    client = api.edge.client()
    for name in (client.id, client.address):
        answer = api.call("/api/send", {"session": name, "data": "psst"})
        assert answer.status == 200
        assert answer.body["connected"] is True
        assert answer.body["session"] == name
    assert [message["channel"] for message in client.fetch()] == ["/service/inbox"] * 2


async def test_send_to_a_named_service_channel(api: Api) -> None:
    client = api.edge.client()
    api.call("/api/send", {"session": client.id, "data": 1, "channel": "/service/alerts"})
    assert [message["channel"] for message in client.fetch()] == ["/service/alerts"]


@pytest.mark.parametrize("session", ["", "nobody", "abcde." + "A" * 22, "abcde." + "A" * 20])
async def test_an_unknown_session_is_404(api: Api, session: str) -> None:
    answer = api.call("/api/send", {"session": session, "data": 1})
    assert answer.status == 404
    assert answer.body["error"] == {
        "code": "unknown_session",
        "message": answer.body["error"]["message"],
        "retry": False,
    }


async def test_a_batch_is_answered_in_order_and_failures_stand_alone(api: Api) -> None:
    client = api.edge.client()
    client.subscribe("/a")
    answer = api.call(
        "/api/batch",
        {
            "commands": [
                {"publish": {"channel": "/a", "data": 1}},
                {"send": {"session": "nobody", "data": 1}},
                {"publish": {"channel": "/a/*", "data": 1}},
                {},
                {"send": {"session": client.address, "data": 2}},
            ]
        },
    )
    assert answer.status == 200
    kinds = [sorted(reply) for reply in answer.body["replies"]]
    assert kinds[0] == ["channel", "epoch", "offset"]
    assert kinds[1] == kinds[2] == kinds[3] == ["error"]
    assert kinds[4] == ["connected", "epoch", "offset", "session"]
    assert sorted(message["data"] for message in client.fetch()) == [1, 2]


async def test_an_empty_batch_is_answered(api: Api) -> None:
    assert api.call("/api/batch", {"commands": []}).body == {"replies": []}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/publish", b"{"),
        ("/api/publish", b"[]"),
        ("/api/publish", b'{"channel":"/a"}'),
        ("/api/publish", b'{"data":1}'),
        ("/api/publish", b'{"channel":"/a","data":1,"extra":1}'),
        ("/api/publish", b'{"channel":"/a","data":"\xff"}'),
        ("/api/publish", b'{"channel":"/meta/x","data":1}'),
        ("/api/publish", b'{"channel":"/service/x","data":1}'),
        ("/api/publish", b'{"channel":"/a/**","data":1}'),
        ("/api/publish", b'{"channel":"/a","data":1,"id":"' + b"x" * 200 + b'"}'),
        ("/api/send", b'{"session":"abcde.AAAAAAAAAAAAAAAAAAAA","data":1,"channel":"/chat"}'),
        ("/api/batch", b'{"commands":{}}'),
        ("/api/publish", b'{"channel":"/a","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    ],
)
async def test_bad_bodies_are_400_with_a_reason(api: Api, path: str, body: bytes) -> None:
    answer = api.call(path, body)
    assert answer.status == 400
    assert answer.body["error"]["code"] == "bad_request"
    assert answer.body["error"]["message"]


@pytest.mark.parametrize(
    ("authorization", "api_key", "status"),
    [
        (f"Bearer {KEY}", "", 200),
        (f"bearer   {KEY} ", "", 200),
        ("", KEY, 200),
        ("", "", 401),
        ("Bearer wrong", "", 401),
        ("Bearer", "", 401),
        (f"Basic {KEY}", "", 401),
        ("", "wrong", 401),
        ("Bearer \u00e9", "", 401),
    ],
)
async def test_who_may_ask(api: Api, authorization: str, api_key: str, status: int) -> None:
    answer = api.call(
        "/api/publish", {"channel": "/a", "data": 1}, authorization=authorization, api_key=api_key
    )
    assert answer.status == status
    if status == 401:
        assert answer.body["error"]["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_without_a_key_the_interface_is_closed() -> None:
    api = Api(key=None)
    for authorization in ("", "Bearer ", "Bearer None"):
        assert api.call("/api/ring", method="GET", authorization=authorization).status == 401


async def test_wrong_methods_and_paths(api: Api) -> None:
    assert api.call("/api/publish", method="GET").status == 405
    assert api.call("/api/publish", method="GET").headers["Allow"] == "POST"
    assert api.call("/api/nothing").status == 404


async def test_locate_is_a_function_of_the_view_for_unknown_names_too(api: Api) -> None:
    for query in ("session=abcde.x", "channel=/chat/room", "session=never%20seen"):
        answer = api.call("/api/locate", method="GET", query=query)
        assert answer.status == 200
        assert answer.body["node"]["id"] == api.edge.cluster.me.hex()
        assert answer.body["view"] == 1
    for query in ("", "session=a&channel=/b", "x=1"):
        assert api.call("/api/locate", method="GET", query=query).status == 400


async def test_ring_lists_members_and_shares(api: Api) -> None:
    answer = api.call("/api/ring", method="GET")
    (member,) = answer.body["members"]
    assert member["state"] == "active"
    assert member["share"] == 1.0
    assert answer.body["view"] == 1


async def test_the_application_is_held_to_the_rules_too() -> None:
    api = Api(
        rules="[[channel]]\nmatch='/a'\npublish='api'\n[[channel]]\nmatch='/b'\npublish='nobody'"
    )
    assert api.call("/api/publish", {"channel": "/a", "data": 1}).status == 200
    conn = api.call("/api/publish", {"channel": "/b", "data": 1})
    assert (conn.status, conn.body["error"]["code"]) == (403, "forbidden")


# -- scopes ---------------------------------------------------------------------------


@pytest.fixture
async def scoped(api: Api) -> Api:
    """Keys of one scope each, named and written like it."""
    api.application.keys = ApiKeys(
        ApiKey(scope.value, digest_of(scope.value), frozenset({scope})) for scope in Scope
    )
    return api


CALLS = {
    Scope.PUBLISH: ("POST", "/api/publish", {"channel": "/a", "data": 1}),
    Scope.SEND: ("POST", "/api/send", {"session": "abcde." + "A" * 20, "data": 1}),
    Scope.READ: ("GET", "/api/ring", b""),
}


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("held", Scope)
async def test_a_key_opens_what_its_scopes_name(scoped: Api, scope: Scope, held: Scope) -> None:
    method, path, body = CALLS[scope]
    answer = scoped.call(path, body, method=method, authorization=f"Bearer {held.value}")
    if held is scope:
        assert answer.status in {200, 404}  # (nobody has the address)
    else:
        assert answer.status == 403
        assert answer.body["error"]["code"] == "forbidden"
        assert scope.value in answer.body["error"]["message"]
        assert scoped.edge.stats.refused["forbidden"] == 1


async def test_in_a_batch_every_command_wants_its_scope(scoped: Api) -> None:
    commands = [
        {"publish": {"channel": "/a", "data": 1}},
        {"send": {"session": "abcde." + "A" * 20, "data": 1}},
    ]
    body = {"commands": commands}
    answer = scoped.call("/api/batch", body, authorization="Bearer publish")
    published, sent = answer.body["replies"]
    assert published["offset"] == 1
    assert sent["error"]["code"] == "forbidden"
    assert scoped.edge.stats.refused == {"forbidden": 1}


async def test_one_key_s_message_ids_are_not_another_s(api: Api) -> None:
    api.application.keys = ApiKeys(ApiKey(name, digest_of(name)) for name in ("one", "two"))
    body = {"channel": "/a", "data": 1, "id": "x"}
    offsets = [
        api.call("/api/publish", body, authorization=f"Bearer {name}").body["offset"]
        for name in ("one", "two", "one")
    ]
    assert offsets == [1, 2, 1]


async def test_a_key_that_was_taken_away_opens_nothing(api: Api) -> None:
    assert api.call("/api/ring", b"", method="GET").status == 200
    api.application.keys = ApiKeys()
    assert api.call("/api/ring", b"", method="GET").status == 401
