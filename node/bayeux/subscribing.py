"""What a client may subscribe to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux.channels import Kind, kind_of
from pubsub.wildcards import is_pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.bayeux.messages import ClientMessage
    from node.rules import Rules
    from node.topic import Topic

MAX_SUBSCRIPTIONS = 10_000  # of one session
MAX_PATTERNS = 100  # of one session, of the 1,000 that a cluster may have
_REFUSED = {
    Kind.INVALID: (405, "invalid channel"),
    Kind.META: (403, "meta channels are closed to clients"),
}


def names_of(message: ClientMessage) -> list[str]:
    """The channels that a message names, each once."""
    asked = message.subscription
    if asked is None:
        return []
    return list(dict.fromkeys([asked] if isinstance(asked, str) else asked))


def refusal_of(
    names: Sequence[str], held: Sequence[Topic], rules: Rules, granted: Sequence[str] = ()
) -> tuple[int, str, str] | None:
    """Why a session that reads `held` may not subscribe to `names`: (code, argument, text).

    `granted`: channels and patterns that its token names.
    """
    if not names:
        return 400, "", "subscription missing"
    for name in names:
        refused = _REFUSED.get(kind_of(name))
        if refused is not None:
            return refused[0], name, refused[1]
        if is_pattern(name) and kind_of(name) is Kind.SERVICE:
            return 403, name, "service channels are the application's"
        denial = rules.subscribe_denial(name, granted)
        if denial is not None:
            return 403, name, denial
    if len(held) + len(names) > MAX_SUBSCRIPTIONS:
        return 413, "", "too many subscriptions"
    patterns = [name for name in names if kind_of(name) is Kind.PATTERN]
    if patterns and len(patterns) + sum(topic.is_pattern for topic in held) > MAX_PATTERNS:
        return 413, patterns[0], f"at most {MAX_PATTERNS} wildcard subscriptions"
    return None
