"""The application interface: JSON over HTTP, on any node.

Synchronous: a command is handed to the cluster and answered from its callback.
A publish that was not committed is never answered 200.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

import msgspec

from dht.ids import slot_of
from node.api.keys import ApiKey, ApiKeys, Scope
from node.api.requests import (
    MAX_COMMANDS,
    MAX_ID_LENGTH,
    BadRequestError,
    Commands,
    Publish,
    SendTo,
    decode,
)
from node.bayeux.channels import Kind, kind_of
from node.bayeux.extensions.api import Veto
from node.rules import Rules
from pubsub.errors import RETRYABLE, Code
from pubsub.messages import Appended, Failed
from pubsub.sessions import address_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from dht.ids import NodeId
    from node.cluster.driver import Cluster
    from node.http import Head, HttpConnection
    from node.stats import Stats

    _Call: TypeAlias = Callable[[HttpConnection, Head, bytes, ApiKey], None]

_encode = msgspec.json.encode


class Refusal(msgspec.Struct, frozen=True):
    """Why a call failed, and the HTTP status that says so."""

    status: int
    code: str
    message: str

    def body(self) -> dict[str, Any]:
        retry = self.code in RETRYABLE
        return {"error": {"code": self.code, "message": self.message, "retry": retry}}


def refusal_of(failed: Failed) -> Refusal:
    """What the cluster's refusal means to an application."""
    match failed.code:
        case Code.UNKNOWN_SESSION:
            return Refusal(404, failed.code, "no such session")
        case Code.OVERLOADED:
            return Refusal(503, failed.code, "the cluster is at a limit: retry later")
        case Code.UNAVAILABLE:
            return Refusal(503, failed.code, "not committed: no home serves it just now, retry")
        case other:
            return Refusal(500, other, "the cluster refused")


def _out_of_scope(scope: Scope) -> Refusal:
    return Refusal(403, "forbidden", f"this API key has no {scope.value} scope")


class Application:
    """Handles `/api/…`."""

    def __init__(
        self,
        cluster: Cluster,
        stats: Stats,
        message_id: Callable[[], str],
        deliver: Callable[[str, msgspec.Raw, str], bytes | Veto],
        rules: Rules | None = None,
        keys: ApiKeys | None = None,
    ) -> None:
        """`deliver` as in `node.bayeux.extensions.pipeline.Pipeline`."""
        self._rules = rules or Rules()
        self._cluster = cluster
        self.keys = ApiKeys() if keys is None else keys
        self._stats = stats
        self._message_id = message_id
        self._deliver = deliver
        self._calls: dict[str, tuple[str, Scope | None, _Call]] = {
            "/api/publish": ("POST", Scope.PUBLISH, self._publish),
            "/api/send": ("POST", Scope.SEND, self._send),
            "/api/batch": ("POST", None, self._batch),  # each command wants its own scope
            "/api/locate": ("GET", Scope.READ, self._locate),
            "/api/ring": ("GET", Scope.READ, self._ring),
        }

    def handle(self, conn: HttpConnection, head: Head, body: bytes) -> None:
        """Answer a call. Whoever has no key is told nothing but that, and which calls there are."""
        call = self._calls.get(head.path)
        if call is None:
            self._refuse(conn, Refusal(404, "not_found", f"no such call: {head.path[:128]}"))
            return
        method, scope, run = call
        key = self._key_of(head)
        if isinstance(key, Refusal):
            self._refuse(conn, key)
        elif head.method != method:
            self._refuse(conn, Refusal(405, "bad_request", f"use {method}"))
        elif scope is not None and scope not in key.scopes:
            self._refuse(conn, _out_of_scope(scope))
        else:
            try:
                run(conn, head, body, key)
            except BadRequestError as error:
                self._refuse(conn, Refusal(400, "bad_request", str(error)))

    def _key_of(self, head: Head) -> ApiKey | Refusal:
        if not self.keys:
            return Refusal(401, "unauthorized", "this node has no API key: start it with --api-key")
        scheme, _, token = head.authorization.partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else head.api_key
        key = self.keys.find(given)
        if key is None:
            return Refusal(401, "unauthorized", "send Authorization: Bearer <api key>")
        return key

    def _told(self, result: dict[str, Any] | Refusal) -> dict[str, Any]:
        """What the application reads; a refusal is counted."""
        if not isinstance(result, Refusal):
            return result
        self._stats.refused[result.code] += 1
        return result.body()

    def _refuse(self, conn: HttpConnection, refusal: Refusal) -> None:
        headers: tuple[tuple[str, str], ...] = ()
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            headers = (("WWW-Authenticate", "Bearer"),)
        elif refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers = (("Allow", refusal.message.removeprefix("use ")),)
        conn.respond(refusal.status, _encode(self._told(refusal)), headers=headers)

    # -- messages -------------------------------------------------------------------

    def _publish(self, conn: HttpConnection, _head: Head, body: bytes, key: ApiKey) -> None:
        self._do_publish(decode(body, Publish), key, lambda result: self._answer(conn, result))

    def _send(self, conn: HttpConnection, _head: Head, body: bytes, key: ApiKey) -> None:
        self._do_send(decode(body, SendTo), key, lambda result: self._answer(conn, result))

    def _answer(self, conn: HttpConnection, result: dict[str, Any] | Refusal) -> None:
        if isinstance(result, Refusal):
            self._refuse(conn, result)
        else:
            conn.respond_json(_encode(result))

    def _batch(self, conn: HttpConnection, _head: Head, body: bytes, key: ApiKey) -> None:
        commands = decode(body, Commands).commands
        if len(commands) > MAX_COMMANDS:
            raise BadRequestError(f"at most {MAX_COMMANDS} commands in a batch")
        replies: list[dict[str, Any]] = [{}] * len(commands)
        left = len(commands) + 1

        def arrived() -> None:
            nonlocal left
            left -= 1
            if not left:
                conn.respond_json(_encode({"replies": replies}))

        def keep(index: int) -> Callable[[dict[str, Any] | Refusal], None]:
            def keep_one(result: dict[str, Any] | Refusal) -> None:
                replies[index] = self._told(result)
                arrived()

            return keep_one

        # (Looked up once: an enumeration's members have a slow hash.)
        may_publish, may_send = Scope.PUBLISH in key.scopes, Scope.SEND in key.scopes
        for index, command in enumerate(commands):
            publish, send, on_done = command.publish, command.send, keep(index)
            if (publish is None) == (send is None):
                on_done(Refusal(400, "bad_request", "a command is one publish or one send"))
            elif publish is not None and may_publish:
                self._do_publish(publish, key, on_done)
            elif send is not None and may_send:
                self._do_send(send, key, on_done)
            else:
                on_done(_out_of_scope(Scope.SEND if send is not None else Scope.PUBLISH))
        arrived()

    def _do_publish(
        self, publish: Publish, key: ApiKey, on_done: Callable[[dict[str, Any] | Refusal], None]
    ) -> None:
        if kind_of(publish.channel) is not Kind.BROADCAST:
            on_done(Refusal(400, "bad_request", f"not a broadcast channel: {publish.channel!r}"))
            return

        denial = self._rules.publish_denial(publish.channel, by_api=True)
        if denial is not None:
            on_done(Refusal(403, "forbidden", f"the rule of {publish.channel} says: {denial}"))
            return

        def answer(result: Appended) -> dict[str, Any]:
            cursor = result.cursor
            return {"channel": publish.channel, "epoch": cursor.epoch, "offset": cursor.offset}

        self._append(publish.channel, publish.channel, publish, key, answer, on_done)

    def _do_send(
        self, send: SendTo, key: ApiKey, on_done: Callable[[dict[str, Any] | Refusal], None]
    ) -> None:
        address = address_for(send.session)
        if address is None:
            on_done(Refusal(404, Code.UNKNOWN_SESSION, "not a session id or address"))
            return
        if kind_of(send.channel) is not Kind.SERVICE:
            on_done(Refusal(400, "bad_request", f"not under /service/: {send.channel!r}"))
            return

        def answer(result: Appended) -> dict[str, Any]:
            cursor, connected = result.cursor, result.connected
            return {
                "session": send.session,
                "epoch": cursor.epoch,
                "offset": cursor.offset,
                "connected": connected,
            }

        self._append(address, send.channel, send, key, answer, on_done)

    def _append(
        self,
        topic: str,
        channel: str,
        asked: Publish | SendTo,
        key: ApiKey,
        answer: Callable[[Appended], dict[str, Any]],
        on_done: Callable[[dict[str, Any] | Refusal], None],
    ) -> None:
        if len(asked.id) > MAX_ID_LENGTH:
            on_done(Refusal(400, "bad_request", f"id is over {MAX_ID_LENGTH} characters"))
            return
        shown = asked.id or self._message_id()
        # Each key's ids, and those that nodes make, are name spaces of their own.
        message_id = f"{key.name}:{asked.id}" if asked.id else shown
        started = time.perf_counter()

        def done(result: Appended | Failed) -> None:
            if isinstance(result, Failed):
                on_done(refusal_of(result))
                return
            self._stats.append_commit_seconds.observe(time.perf_counter() - started)
            self._stats.note_published(topic)
            on_done(answer(result))

        payload = self._deliver(channel, asked.data, shown)
        if isinstance(payload, Veto):
            on_done(Refusal(payload.code, "vetoed", payload.text))
            return
        self._cluster.append(topic, payload, message_id, done, client_id=bool(asked.id))

    # -- the ring ---------------------------------------------------------------------

    def _locate(self, conn: HttpConnection, head: Head, _body: bytes, _key: ApiKey) -> None:
        query = parse_qs(head.query)
        names = query.get("session", []) + query.get("channel", [])
        if len(names) != 1:
            raise BadRequestError("name one session= or channel=")
        placement, view = self._cluster.placement, self._cluster.view
        if placement is None or view is None:
            self._refuse(conn, refusal_of(Failed(0, Code.UNAVAILABLE)))
            return
        slot = slot_of(names[0])
        nodes = placement.replicas(slot)
        found = {
            "slot": slot,
            "view": view.number,
            "node": self._member(nodes[0]),
            "replicas": [self._member(node) for node in nodes],
        }
        conn.respond_json(_encode(found))

    def _member(self, node: NodeId) -> dict[str, str]:
        member = self._cluster.view.get(node) if self._cluster.view is not None else None
        if member is None:
            raise AssertionError("placement named a node that its view does not list")
        return {"id": node.hex(), "client": member.client, "peer": member.peer}

    def _ring(self, conn: HttpConnection, _head: Head, _body: bytes, _key: ApiKey) -> None:
        placement, view = self._cluster.placement, self._cluster.view
        if placement is None or view is None:
            self._refuse(conn, refusal_of(Failed(0, Code.UNAVAILABLE)))
            return
        members = [
            {
                **self._member(member.id),
                "state": member.state.name.lower(),
                "zone": member.zone,
                "incarnation": member.incarnation,
                "share": round(placement.share(member.id), 6),
            }
            for member in view.members
        ]
        ring = {
            "view": view.number,
            "ring": view.ring.hex(),
            "digest": view.digest.hex(),
            "members": members,
        }
        conn.respond_json(_encode(ring))
