"""What a client may subscribe to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.bayeux.channels import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.bayeux.messages import ClientMessage
    from node.rules import Rules

MAX_SUBSCRIPTIONS = 10_000  # of one session
_REFUSED = {
    Kind.INVALID: (405, "invalid channel"),
    Kind.META: (403, "meta channels are closed to clients"),
    Kind.PATTERN: (403, "wildcard channels are not served yet"),
}


def names_of(message: ClientMessage) -> list[str]:
    """The channels that a message names, each once."""
    asked = message.subscription
    if asked is None:
        return []
    return list(dict.fromkeys([asked] if isinstance(asked, str) else asked))


def refusal_of(names: Sequence[str], held: int, rules: Rules) -> tuple[int, str, str] | None:
    """Why a session with `held` channels may not subscribe to `names`: (code, argument, text)."""
    if not names:
        return 400, "", "subscription missing"
    for name in names:
        refused = _REFUSED.get(kind_of(name))
        if refused is not None:
            return refused[0], name, refused[1]
        denial = rules.subscribe_denial(name)
        if denial is not None:
            return 403, name, denial
    if held + len(names) > MAX_SUBSCRIPTIONS:
        return 413, "", "too many subscriptions"
    return None
