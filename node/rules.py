"""Channel rules: who may publish and subscribe, and how a channel is served.

The one place that decides: Bayeux, event streams, the application interface
and the demo all ask `Rules`. Of the rules that match a channel the most
specific holds, whole: rules are not merged. `node.rules_file` reads them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from pubsub.wildcards import covering, covers, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SERVICE_SEND: Final = "/service/send"
_CACHED: Final = 16_384  # channels whose rule is remembered; all are forgotten together


class Who(StrEnum):
    """Who may do something."""

    API = "api"  # the application, through /api
    SESSION = "session"  # every session, and the application
    TOKEN = "token"  # noqa: S105 - a session that shows a token for the channel
    NOBODY = "nobody"


class Rule(msgspec.Struct, frozen=True):
    """How the channels that `match` names are served. What is not said has these values."""

    match: str = "/**"
    publish: Who = Who.SESSION
    subscribe: Who = Who.SESSION
    lazy: bool = False  # deliveries wait for others, up to `max_lazy_timeout`
    direct: Who = Who.NOBODY  # of /service/send: who may send to a session's address
    replicas: int = 3  # copies of the channel's log, the home's included
    batch: float = 0.0  # seconds that a flush may wait for more


DEFAULT: Final = Rule()
DEMO: Final = Rule(match=SERVICE_SEND, direct=Who.SESSION)


class Rules:
    """The rules that hold now. `demo`: sessions may send to each other where no rule says.

    Look-ups are remembered, for a bounded number of channels.
    """

    def __init__(self, rules: Iterable[Rule] = (), *, demo: bool = False) -> None:
        """`rules`: each with its own `match`."""
        self._demo = demo
        self._by_match: dict[str, Rule] = {}
        self._found: dict[str, Rule] = {}
        self.replace(rules)

    def replace(self, rules: Iterable[Rule]) -> None:
        """These hold from now on, and no others."""
        self._by_match = {rule.match: rule for rule in rules}
        if self._demo:
            self._by_match.setdefault(SERVICE_SEND, DEMO)
        self._found = {}

    def __len__(self) -> int:
        return len(self._by_match)

    def of(self, name: str) -> Rule:
        """The rule of a channel; of a pattern, the one that holds for it as a whole."""
        rule = self._found.get(name)
        if rule is None:
            if len(self._found) >= _CACHED:
                self._found = {}
            rule = self._found[name] = self._search(name)
        return rule

    def _search(self, name: str) -> Rule:
        rules = self._by_match
        for match in (name, *covering(name)):
            rule = rules.get(match)
            if rule is not None:
                return rule
        return DEFAULT

    # -- decisions -----------------------------------------------------------------

    def publish_denial(self, channel: str, *, by_api: bool = False) -> str | None:
        """Why a session (or the application) may not publish to `channel`; None if it may."""
        who = self.of(channel).publish
        if who is Who.SESSION or (by_api and who is Who.API):
            return None
        return "publish_denied"

    def subscribe_denial(self, name: str, granted: Sequence[str] = ()) -> str | None:
        """Why a session may not subscribe to a channel or pattern; None if it may.

        A pattern is open only if everything under it is: it must not show what
        a narrower rule hides. `granted`: what the session's token names.
        """
        has_token = any(grant == name or covers(grant, name) for grant in granted)
        denial = _denial(self.of(name), has_token=has_token)
        if denial is None and is_pattern(name):
            for match, rule in self._by_match.items():
                hidden = _denial(rule, has_token=has_token)
                if hidden is not None and covers(name, match):
                    return hidden
        return denial

    def allows_direct(self) -> bool:
        """Whether sessions may send to each other's addresses."""
        return self.of(SERVICE_SEND).direct is Who.SESSION


def _denial(rule: Rule, *, has_token: bool) -> str | None:
    if rule.subscribe is Who.SESSION or (rule.subscribe is Who.TOKEN and has_token):
        return None
    if rule.subscribe is Who.TOKEN:
        return "subscribe_denied, show a token that names the channel"
    return "subscribe_denied"
