"""Attacks through callback-polling: an answer that is taken for something else.

"Rosetta Flash" (CVE-2014-4671) had a server answer with a whole Flash file, by
naming a callback made of letters and digits only; its kin smuggle HTML or code.
"""

from __future__ import annotations

import json
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from front_door import HANDSHAKE, front_door, script_query
from node.bayeux.callback import is_callback, script

# The magic of compressed Flash, and a body of letters and digits as the attack has it.
ROSETTA = "CWSMIKI0hCD0Up0IZUnnnnnnnnnnnnnnnnnnnUU5nnnnnn3Snn7iiudIbEAt333swW0s"
NAMES = [
    ROSETTA,
    "",
    "a" * 65,
    "alert(1)//",
    "<script>alert(1)</script>",
    "a;b",
    "a b",
    "a[0]",
    "a\n",
    "a\r\nSet-Cookie: x=y",
    "a\0",
    "a\u2028",
    "\uff41\uff4c\uff45\uff52\uff54",
    "*/alert(1)/*",
    "(function(){})",
    "$.getJSON",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_callback_may_not_have_this_name(name: str) -> None:
    async with front_door() as door:
        query = script_query(HANDSHAKE, name)
        status, headers, body = await door.connect().ask(f"GET /bayeux?{query}")
        assert status == 400
        assert headers["content-type"].startswith("application/json")
        assert name not in body.decode() or not name
        assert "set-cookie" not in headers
        assert len(door.sessions) == 0


async def test_an_allowed_name_is_not_the_first_thing_in_the_answer() -> None:
    async with front_door() as door:
        query = script_query(HANDSHAKE, ROSETTA[:64])
        status, headers, body = await door.connect().ask(f"GET /bayeux?{query}")
        assert status == 200
        assert body.startswith(b"/**/")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-disposition"] == "attachment; filename=f.txt"
        assert headers["content-type"] == "application/javascript;charset=UTF-8"
        assert headers["cache-control"] == "no-store"


async def test_a_second_callback_does_not_replace_the_checked_one() -> None:
    async with front_door() as door:
        query = script_query(HANDSHAKE, "good") + "&jsonp=" + quote("<bad>")
        _, _, body = await door.connect().ask(f"GET /bayeux?{query}")
        assert body.startswith(b"/**/good(")


async def test_an_error_is_never_a_script() -> None:
    async with front_door() as door:
        for query in ("message=<script>alert(1)</script>&jsonp=cb", "message=[&jsonp=cb"):
            status, headers, _ = await door.connect().ask(f"GET /bayeux?{query}")
            assert status == 400
            assert headers["content-type"].startswith("application/json")


@given(st.text())
def test_no_other_name_is_ever_allowed(name: str) -> None:
    letters = set(string.ascii_letters + string.digits + "._-")
    assert is_callback(name) is (1 <= len(name) <= 64 and set(name) <= letters)


@given(st.text(), st.sampled_from(["cb", "a.b", "_"]))
def test_nothing_in_the_data_ends_a_line_of_the_script(text: str, name: str) -> None:
    made = script(name, json.dumps([text], ensure_ascii=False).encode()).decode()
    assert not set(made) & set("\r\n")
    assert "\u2028" not in made
    assert "\u2029" not in made
    assert json.loads(made.removeprefix(f"/**/{name}(").removesuffix(");")) == [text]
