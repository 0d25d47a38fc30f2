"""Attacks on sessions of others: guessed and stolen ids, cookies of one's own choice.

What a stolen id is worth in another browser is in tests/unit/node/bayeux/test_binding.py,
and over relays between nodes in tests/cluster/test_browsers.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from front_door import BROWSER, FrontDoor, Visitor, front_door

CHANNELS: list[tuple[str, dict[str, Any]]] = [
    ("/meta/connect", {"connectionType": "long-polling"}),
    ("/meta/subscribe", {"subscription": "/a"}),
    ("/meta/unsubscribe", {"subscription": "/a"}),
    ("/meta/disconnect", {}),
    ("/a", {"data": 1}),
    ("/service/send", {"data": {"to": "x", "data": 1}}),
]


async def codes(visitor: Visitor, session: str, *headers: str) -> set[str]:
    """The error codes of every kind of message in the session's name."""
    found = set()
    for channel, fields in CHANNELS:
        message = {"channel": channel, "clientId": session, **fields}
        (reply,), _ = await visitor.bayeux(message, headers=headers)
        found.add("ok" if reply["successful"] else reply["error"][:3])
    return found


async def victim(door: FrontDoor) -> tuple[str, str]:
    """A browser's session with a held poll: its id and address."""
    reply, _ = await door.connect().handshake(*BROWSER)
    return reply["clientId"], reply["ext"]["address"]


async def test_every_message_of_a_thief_is_refused_and_the_victim_notices_nothing() -> None:
    async with front_door() as door:
        session, _ = await victim(door)
        held = door.sessions.all()[0]
        before = (held.poll, held.deadline, held.topics)
        for headers in ((), BROWSER, ("Origin: https://evil.example",)):
            assert await codes(door.connect(), session, *headers) == {"402"}
        assert (held.poll, held.deadline, held.topics) == before
        assert len(door.sessions) == 1


async def test_an_address_opens_nothing() -> None:
    async with front_door() as door:
        _, address = await victim(door)
        assert await codes(door.connect(), address) == {"402"}


@pytest.mark.parametrize("change", ["case", "cut", "longer", "padding", "unicode", "space"])
async def test_nor_does_an_id_that_is_nearly_right(change: str) -> None:
    async with front_door() as door:
        session = (await door.connect().handshake())[0]["clientId"]
        forged = {
            "case": session.swapcase(),
            "cut": session[:-1],
            "longer": session + "A",
            "padding": session + "==",
            "unicode": session.replace(".", "\u2024"),
            "space": " " + session,
        }[change]
        assert await codes(door.connect(), forged) == {"402"}


async def test_ids_do_not_come_near_each_other() -> None:
    async with front_door() as door:
        visitor = door.connect()
        ids = [(await visitor.handshake())[0]["clientId"] for _ in range(200)]
        secrets = [session.partition(".")[2] for session in ids]
        assert len(set(secrets)) == len(ids)
        assert len({secret[:4] for secret in secrets}) > 190
        assert all(len(secret) == 22 for secret in secrets)


async def test_a_session_id_is_never_shown_to_another() -> None:
    async with front_door() as door:
        reader, sender = door.client(), door.client()
        reader.subscribe("/a")
        sender.ask("/a", data=1, ext={"clientId": "x"})
        sender.ask("/service/send", data={"to": reader.address, "data": 2})
        text = str(reader.fetch())
        assert sender.id not in text
        assert "clientId" not in text
        assert sender.address in text


async def test_a_cookie_of_the_attackers_choice_takes_over_nothing() -> None:
    """Fixation: what is bound to a cookie is what was made with it, not what it is shown to."""
    async with front_door() as door:
        session, _ = await victim(door)
        for value in ("", "A" * 22, "A" * 129, "x; BAYEUX_BROWSER=y", '"quoted"'):
            cookie = f"Cookie: BAYEUX_BROWSER={value}"
            assert await codes(door.connect(), session, *BROWSER, cookie) == {"402"}
