from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_edge import Edge
from node.config import ConfigError, load_config
from node.rules import DEFAULT, Rule, Rules, Who
from node.rules_file import RulesError, load_rules, parse_rules, read_rules

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
# what the shop shows
[[channel]]
match = "/shop/**"
publish = "api"
replicas = 2
batch = 0.05

[[channel]]
match = "/shop/*"
lazy = true

[[channel]]
match = "/shop/till"
publish = "nobody"
subscribe = "nobody"

[[channel]]
match = "/vip/**"
subscribe = "token"
"""


@pytest.fixture
def rules() -> Rules:
    return Rules(parse_rules(FILE))


# -- which rule holds ----------------------------------------------------------------


def test_without_a_file_the_defaults_hold() -> None:
    rules = Rules()
    assert rules.of("/a") is DEFAULT
    assert (DEFAULT.publish, DEFAULT.subscribe) == (Who.SESSION, Who.SESSION)
    assert (DEFAULT.lazy, DEFAULT.replicas, DEFAULT.batch) == (False, 3, 0.0)
    assert rules.publish_denial("/a") is None
    assert rules.subscribe_denial("/a") is None
    assert not rules.allows_direct()


@pytest.mark.parametrize(
    ("channel", "match"),
    [
        ("/shop/till", "/shop/till"),
        ("/shop/door", "/shop/*"),
        ("/shop/a/b", "/shop/**"),
        ("/shop/*", "/shop/*"),
        ("/shop/a/*", "/shop/**"),
        ("/shop", DEFAULT.match),
    ],
)
def test_the_most_specific_match_wins_whole(rules: Rules, channel: str, match: str) -> None:
    assert rules.of(channel).match == match
    # Rules are not merged: /shop/* says nothing of publish, so sessions may.
    assert rules.of("/shop/door").publish is Who.SESSION


def test_what_is_carried_for_others(rules: Rules) -> None:
    rule = rules.of("/shop/a/b")
    assert (rule.replicas, rule.batch) == (2, 0.05)


def test_who_may_publish(rules: Rules) -> None:
    assert rules.publish_denial("/shop/a/b") == "publish_denied"
    assert rules.publish_denial("/shop/a/b", by_api=True) is None
    assert rules.publish_denial("/shop/till", by_api=True) == "publish_denied"


def test_a_pattern_shows_nothing_that_a_narrower_rule_hides(rules: Rules) -> None:
    assert rules.subscribe_denial("/shop/door") is None
    assert rules.subscribe_denial("/shop/till") == "subscribe_denied"
    assert rules.subscribe_denial("/shop/*") == "subscribe_denied"
    assert rules.subscribe_denial("/shop/**") == "subscribe_denied"
    assert rules.subscribe_denial("/shop/a/**") is None
    assert "denied" in (rules.subscribe_denial("/**") or "")
    assert "token" in (rules.subscribe_denial("/vip/**") or "")


def test_a_replaced_rule_is_forgotten(rules: Rules) -> None:
    assert rules.publish_denial("/shop/till") is not None
    rules.replace([])
    assert rules.publish_denial("/shop/till") is None


def test_look_ups_are_remembered_in_bounds(rules: Rules) -> None:
    for number in range(40_000):
        rules.of(f"/shop/{number}")
    assert len(rules._found) <= 16_384
    assert rules.of("/shop/1").lazy


def test_the_demo_may_send_direct_unless_a_rule_says_no() -> None:
    assert Rules(demo=True).allows_direct()
    assert Rules([Rule(match="/**", direct=Who.SESSION)]).allows_direct()
    no = parse_rules('[[channel]]\nmatch = "/service/send"\n')
    assert not Rules(no, demo=True).allows_direct()


# -- the file ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[channel]]\npublish = 'api'", ", line 1: match: missing"),
        ("[[channel]]\nmatch = 3", ", line 2: match: write a string"),
        ("[[channel]]\nmatch = '/a/**/b'", ", line 2: match: '/a/**/b' is neither a channel"),
        ("[[channel]]\nmatch = '/meta/**'", ", line 2: match: '/meta/**': meta channels"),
        ("[[channel]]\nmatch = '/a'\npublish = 'all'", ", line 3: publish: 'all' is none of api,"),
        ("[[channel]]\nmatch = '/a'\nsubscribe = 'api'", ", line 3: subscribe: 'api' is none"),
        ("[[channel]]\nmatch = '/a'\nsubscribe = []", ", line 3: subscribe: [] is none"),
        ("[[channel]]\nmatch = '/a'\nlazy = 1", ", line 3: lazy: 1 is neither true nor false"),
        ("[[channel]]\nmatch = '/a'\nreplicas = 4", ", line 3: replicas: 4 is not 1, 2 or 3"),
        ("[[channel]]\nmatch = '/a'\nreplicas = true", ", line 3: replicas: True is not"),
        ("[[channel]]\nmatch = '/a'\nbatch = nan", ", line 3: batch: nan is not a number"),
        ("[[channel]]\nmatch = '/a'\nbatch = -1", ", line 3: batch: -1 is not a number"),
        ("[[channel]]\nmatch = '/a'\ndirect = 'session'", ", line 3: direct: only a rule that"),
        ("[[channel]]\nmatch = '/a'\nlasy = true", ", line 3: lasy: unknown, did you mean lazy?"),
        ("[[channel]]\nmatch = '/a'\nmode = 'merge'", ", line 3: mode: not served yet"),
        (
            "[[channel]]\nmatch = '/a'\n\n[[channel]]\nmatch = '/a'",
            ", line 5: match: /a has a rule already",
        ),
        ("chanel = 1", ": unknown key chanel"),
        ("[channel]\nmatch = '/a'", ": write each rule as a table"),
        ("channel = [{match = '/a', lazy = 2}]", ": lazy: 2 is neither"),
        ("[[channel]", " is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(text: str, complaint: str) -> None:
    with pytest.raises(RulesError) as info:
        parse_rules(text)
    assert str(info.value).startswith(complaint)
    assert "\n" not in str(info.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="cannot read the channel rules in"):
        load_rules(tmp_path / "none.toml")


def test_the_error_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("[[channel]]\n")
    with pytest.raises(RulesError, match=r"rules\.toml, line 1: match: missing"):
        load_rules(file)


def test_rules_in_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "cometring.toml"
    file.write_text(f"timeout = 3\n\n{FILE}")
    config = load_config({}, file)
    assert config.channels == file
    assert config.reloads
    assert len(read_rules(config)) == 4


def test_rules_stand_in_one_place(tmp_path: Path) -> None:
    file = tmp_path / "cometring.toml"
    file.write_text(f"channels = 'rules.toml'\n\n{FILE}")
    with pytest.raises(ConfigError, match="in one place"):
        load_config({}, file)


def test_a_flag_beats_the_settings_file(tmp_path: Path) -> None:
    file, rules = tmp_path / "cometring.toml", tmp_path / "rules.toml"
    file.write_text(FILE)
    rules.write_text("")
    assert read_rules(load_config({"channels": str(rules)}, file)) == []


# -- what clients are told -------------------------------------------------------------------


async def test_sessions_are_held_to_the_rules() -> None:
    client = Edge(FILE).client()
    reply = client.ask("/meta/subscribe", subscription="/shop/till")
    assert (reply["successful"], reply["error"]) == (False, "403:/shop/till:subscribe_denied")
    assert reply["subscription"] == "/shop/till"
    reply = client.ask("/shop/till", data=1)
    assert (reply["successful"], reply["error"]) == (False, "403:/shop/till:publish_denied")
    reply = client.ask("/meta/subscribe", subscription="/vip/room")
    assert reply["error"].startswith("403:/vip/room:subscribe_denied, show a token")
    assert client.ask("/shop/door", data=1)["successful"]
    client.subscribe("/shop/door")


async def test_one_denied_channel_denies_the_whole_subscription() -> None:
    edge = Edge(FILE)
    client = edge.client()
    reply = client.ask("/meta/subscribe", subscription=["/a", "/shop/till"])
    assert not reply["successful"]
    assert edge.sessions.hub.topics == {}


async def test_direct_messages_need_a_rule_or_the_demo() -> None:
    to = {"to": "x", "data": 1}
    edge = Edge("[[channel]]\nmatch = '/service/send'\ndirect = 'nobody'")
    reply = edge.client().ask("/service/send", data=to)
    assert reply["error"].startswith("403:")
    edge = Edge("[[channel]]\nmatch = '/service/*'\ndirect = 'session'", demo=False)
    sender, receiver = edge.client(), edge.client()
    to["to"] = receiver.address
    assert sender.ask("/service/send", data=to)["successful"]
