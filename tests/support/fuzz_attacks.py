"""Attacks on the client listener: functions of a `Fuzzer` that raise `Misbehaved` or return."""

from __future__ import annotations

import json
from typing import Any

from fuzz_client import Fuzzer, Misbehaved, Wire, post, upgrade
from loadtest.swarm.frames import CLOSE, PING, TEXT, client_frame

HOSTLESS = b"POST /bayeux HTTP/1.1\r\n"
HOSTED = HOSTLESS + b"Host: x\r\n"
MALFORMED = [
    b"\r\n" * 50,
    b"GET\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"G\xc3\xa4T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nspace : y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nnul: \0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nfold: a\r\n b\r\n\r\n",
    HOSTLESS + b"Content-Length: 2\r\n\r\n[]",
    HOSTED + b"Content-Length: -1\r\n\r\n[]",
    HOSTED + b"Content-Length: 2x\r\n\r\n[]",
    HOSTED + b"Content-Length: 99999999999999999999999999999999\r\n\r\n[]",
    HOSTED + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]x",
    HOSTED + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    HOSTED + b"Transfer-Encoding: gzip\r\n\r\n[]",
    HOSTED + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n",
    HOSTED + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n[]",
]
NOT_JSON = [b"", b"[", b"]", b"[{]", b"{'a':1}", b"[1,]", b"nan", b"\xff\xfe", b"[" * 50_000, b"\0"]
NOT_BAYEUX = [b"[]", b"7", b'"x"', b"null", b"[7]", b"[[]]", b"[null]", b"[" * 400 + b"]" * 400]
META = ["/meta/connect", "/meta/subscribe", "/meta/unsubscribe", "/meta/disconnect"]
BAD_CHANNELS = [
    "", "x", "/", "//", "/a//b", "/a/", "/meta/connect", "/meta/*", "/**/a", "/*/a", "/a b",
    "/a/**/b", "/ä", "/meta/../chat", "/META/connect/%2e", "/" + "x" * 3_000, "/a\0",
]  # fmt: skip


# -- client listener: HTTP ------------------------------------------------------------


def garbage(fuzz: Fuzzer) -> None:
    fuzz.refused(fuzz.noise(5_000), end=True)


def malformed(fuzz: Fuzzer) -> None:
    fuzz.refused(fuzz.rng.choice(MALFORMED), end=True)


def huge_head(fuzz: Fuzzer) -> None:
    line = b"X-%d: " + b"y" * fuzz.rng.randint(100, 8_000) + b"\r\n"
    head = b"".join(line % number for number in range(fuzz.rng.randint(170, 400)))
    fuzz.refused(HOSTED + head + b"\r\n")


def endless_line(fuzz: Fuzzer) -> None:
    fuzz.refused(b"GET /" + b"a" * fuzz.rng.randint(20_000, 300_000))


def oversized_body(fuzz: Fuzzer) -> None:
    """The refusal must be readable, though the body was sent to its end."""
    size = fuzz.rng.randint(70_000, 2_000_000)
    with Wire(fuzz.client) as wire:
        wire.send(post("/bayeux", b"[" + b" " * size + b"]"))
        answer = wire.response()
    if answer is None or answer[0] != 413:
        raise Misbehaved(f"a body of {size} bytes was answered {answer}")


def promised_body(fuzz: Fuzzer) -> None:
    """A huge Content-Length, and then next to nothing."""
    fuzz.refused(HOSTED + b"Content-Length: 50000000\r\n\r\n" + fuzz.noise(), end=True)


def half_request(fuzz: Fuzzer) -> None:
    data = post("/bayeux", json.dumps([fuzz.value()]).encode())
    with Wire(fuzz.client) as wire:
        wire.send(data[: fuzz.rng.randrange(len(data))])
        if fuzz.rng.random() < 0.5:
            wire.reset()
        else:
            wire.end()
            wire.response()


def mutated_request(fuzz: Fuzzer) -> None:
    bodies: list[Any] = [
        [{"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["x"]}],
        [{"channel": fuzz.rng.choice(META), "clientId": fuzz.session_id(), "id": "1"}],
        {"channel": "/fuzz/room", "data": fuzz.value()},
    ]
    path = fuzz.rng.choice(["/bayeux", "/cometd/handshake", "/api/publish", "/", "/nowhere"])
    data = fuzz.mutated(post(path, json.dumps(fuzz.rng.choice(bodies)).encode()))
    with Wire(fuzz.client) as wire:
        wire.send(data)
        wire.end()
        while wire.response() is not None:
            pass


def pipelined(fuzz: Fuzzer) -> None:
    number = fuzz.rng.randint(2, 40)
    body = json.dumps([{"channel": "/meta/disconnect", "clientId": "nobody", "id": "1"}]).encode()
    with Wire(fuzz.client) as wire:
        wire.send(post("/bayeux", body) * number)
        for _ in range(number):
            answer = wire.response()
            if answer is None or b"402" not in answer[1]:
                raise Misbehaved(f"a pipelined request was answered {answer}")


# -- client listener: Bayeux ----------------------------------------------------------


def bad_json(fuzz: Fuzzer) -> None:
    body = fuzz.rng.choice([*NOT_JSON, fuzz.noise()])
    answer = fuzz.ask(post("/bayeux", body))
    if answer is None or answer[0] != 400:
        raise Misbehaved(f"the body {body[:100]!r} was answered {answer}")


def odd_json(fuzz: Fuzzer) -> None:
    body = fuzz.rng.choice([*NOT_BAYEUX, json.dumps([fuzz.value()]).encode()])
    answer = fuzz.ask(post("/bayeux", body))
    if answer is None or (answer[0] == 200 and b'"successful":false' not in answer[1]):
        raise Misbehaved(f"the body {body[:100]!r} was answered {answer}")


def unknown_session(fuzz: Fuzzer) -> None:
    channel = fuzz.rng.choice([*META, "/fuzz/room"])
    message = {"channel": channel, "clientId": fuzz.session_id(), "id": "1", "data": 1}
    message |= {"subscription": "/fuzz/room", "connectionType": "long-polling"}
    answer = fuzz.ask(post("/bayeux", json.dumps([message]).encode()))
    if answer is None or b"402" not in answer[1]:
        raise Misbehaved(f"{message} was answered {answer}")


def bad_channels(fuzz: Fuzzer) -> None:
    with Wire(fuzz.client) as wire:
        session = fuzz.handshake(wire)
        for channel in fuzz.rng.sample(BAD_CHANNELS, 4):
            subscribe = {"channel": "/meta/subscribe", "subscription": channel}
            for message in (subscribe, {"channel": channel, "data": 1}):
                body = json.dumps([message | {"clientId": session, "id": "2"}]).encode()
                wire.send(post("/bayeux", body))
                answer = wire.response()
                if answer is None:
                    raise Misbehaved(f"cut off after {message}")
                if channel != "/meta/connect" and b'"successful":true' in answer[1]:
                    raise Misbehaved(f"{message} was answered {answer}")
        fuzz.bayeux(wire, [{"channel": "/meta/disconnect", "clientId": session, "id": "9"}])


def strange_messages(fuzz: Fuzzer) -> None:
    """A proper session, in which any field may hold anything."""
    with Wire(fuzz.client) as wire:
        session = fuzz.handshake(wire)
        for _ in range(5):
            message: dict[str, Any] = {
                "channel": fuzz.rng.choice([*META, "/fuzz/room", "/service/send"])
            }
            message |= {"clientId": session, "advice": {"timeout": 0}, "id": "1"}
            message[fuzz.rng.choice(["channel", "id", "advice", "ext", "data", "subscription"])] = (
                fuzz.value()
            )
            wire.send(post("/bayeux", json.dumps([message]).encode()))
            if wire.response() is None:
                return


def abandoned_poll(fuzz: Fuzzer) -> None:
    with Wire(fuzz.client) as wire:
        session = fuzz.handshake(wire)
        subscribe = {"channel": "/meta/subscribe", "subscription": "/fuzz/room"}
        fuzz.bayeux(wire, [subscribe | {"clientId": session, "id": "2"}])
        connect = {"channel": "/meta/connect", "connectionType": "long-polling"}
        wire.send(
            post("/bayeux", json.dumps([connect | {"clientId": session, "id": "3"}]).encode())
        )
        wire.reset()


# -- client listener: WebSocket ---------------------------------------------------------


def bad_upgrade(fuzz: Fuzzer) -> None:
    rng = fuzz.rng
    fuzz.refused(
        rng.choice(
            [
                upgrade(rng, version=rng.choice(["12", "x", "", "13, 8"])),
                upgrade(rng, key=rng.choice(["", "short", "!" * 24, "x" * 500])),
            ]
        )
    )


def bad_frames(fuzz: Fuzzer) -> None:
    rng, mask = fuzz.rng, fuzz.rng.randbytes(4)
    frame = rng.choice(
        [
            b"\x81\x05hello",  # not masked
            b"\x83\x80" + mask,  # reserved opcode
            b"\xc1\x80" + mask,  # reserved bit
            b"\x09\x80" + mask,  # a ping in fragments
            b"\x89\xfe\x01\x00" + mask + b"x" * 256,  # a ping too long
            b"\x81\xff\x7f" + b"\xff" * 7 + mask,  # 2**63 bytes
            b"\x81\xff\xff" + b"\xff" * 7 + mask,  # and a length that no frame may have
            b"\x80\x80" + mask,  # a continuation of nothing
            client_frame(b"\xc3\x28\xff", mask),  # not UTF-8
            client_frame(b"x" * 200_000, mask),  # over the limit
            client_frame(b"\x03", mask, CLOSE),  # half a close code
            client_frame(b"\x00\x01no", mask, CLOSE),  # a code that does not exist
            fuzz.noise() + b"\x83\x80" + mask,
        ]
    )
    with Wire(fuzz.client) as wire:
        _upgraded(fuzz, wire)
        wire.send(client_frame(b"hi", mask, PING) + frame)
        wire.end()
        said = wire.rest()
    if not said.startswith(b"\x8a\x02hi"):
        raise Misbehaved(f"a ping was answered {said[:100]!r}")


def bad_texts(fuzz: Fuzzer) -> None:
    """Texts that are not Bayeux are refused; the node answers or closes, with a code."""
    with Wire(fuzz.client) as wire:
        _upgraded(fuzz, wire)
        body = fuzz.rng.choice([*NOT_JSON, *NOT_BAYEUX, json.dumps([fuzz.value()]).encode()])
        wire.send(client_frame(body, fuzz.rng.randbytes(4), TEXT))
        wire.send(client_frame(b"\x03\xe8", fuzz.rng.randbytes(4), CLOSE))
        said = wire.rest()
    if b'"successful":true' in said or not said:
        raise Misbehaved(f"the text {body[:100]!r} was answered {said[:200]!r}")


def dropped_websocket(fuzz: Fuzzer) -> None:
    with Wire(fuzz.client) as wire:
        _upgraded(fuzz, wire)
        mask = fuzz.rng.randbytes(4)
        message = b'[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":'
        wire.send(
            client_frame(message + b'["websocket"],"id":"1"}]', mask)[: fuzz.rng.randint(1, 99)]
        )
        wire.reset()


def _upgraded(fuzz: Fuzzer, wire: Wire) -> None:
    wire.send(upgrade(fuzz.rng))
    answer = wire.response()
    if answer is None or answer[0] != 101:
        raise Misbehaved(f"a proper upgrade was answered {answer}")


# -- client listener: application interface -----------------------------------------------


def api_without_key(fuzz: Fuzzer) -> None:
    path = fuzz.rng.choice(["/api/publish", "/api/send", "/api/batch"])
    key = fuzz.rng.choice([None, "", "wrong", fuzz.rng.randbytes(30).hex()])
    status, body = fuzz.api(path, b'{"channel":"/fuzz/room","data":1}', key)
    if status != 401:
        raise Misbehaved(f"{path} with the key {key!r} was answered {status} {body!r}")


def api_nonsense(fuzz: Fuzzer) -> None:
    path = fuzz.rng.choice(["/api/publish", "/api/send", "/api/batch", "/api/nothing"])
    body = fuzz.rng.choice([*NOT_JSON, *NOT_BAYEUX, json.dumps(fuzz.value()).encode()])
    status, answer = fuzz.api(path, body)
    if not 400 <= status < 500:
        raise Misbehaved(f"{path} {body[:100]!r} was answered {status} {answer!r}")


def api_unknown_session(fuzz: Fuzzer) -> None:
    call = {"session": fuzz.session_id(), "data": fuzz.value()}
    status, answer = fuzz.api("/api/send", json.dumps(call).encode())
    if status not in {400, 404}:
        raise Misbehaved(f"a send to {call['session']!r} was answered {status} {answer!r}")


CLIENT_ATTACKS = [
    garbage, malformed, huge_head, endless_line, oversized_body, promised_body, half_request,
    mutated_request, pipelined, bad_json, odd_json, unknown_session, bad_channels,
    strange_messages, abandoned_poll, bad_upgrade, bad_frames, bad_texts, dropped_websocket,
    api_without_key, api_nonsense, api_unknown_session,
]  # fmt: skip
