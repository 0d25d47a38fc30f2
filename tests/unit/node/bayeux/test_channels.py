"""Channel names, as Bayeux 1.0 section 2.1 spells them, and look-alikes."""

from __future__ import annotations

import pytest

from node.bayeux.channels import MAX_CHANNEL_LENGTH, Kind, kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/chat/room", Kind.BROADCAST),
        ("/a", Kind.BROADCAST),
        ("/a-_!~()$@.b/1", Kind.BROADCAST),
        ("/META/handshake", Kind.BROADCAST),
        ("/metadata/x", Kind.BROADCAST),
        ("/meta/handshake", Kind.META),
        ("/meta", Kind.META),
        ("/meta/*", Kind.META),
        ("/meta/**", Kind.META),
        ("/service/x", Kind.SERVICE),
        ("/service/**", Kind.SERVICE),
        ("/a/*", Kind.PATTERN),
        ("/a/**", Kind.PATTERN),
        ("/*", Kind.PATTERN),
        ("/**", Kind.PATTERN),
        ("", Kind.INVALID),
        ("/", Kind.INVALID),
        ("a/b", Kind.INVALID),
        ("/a/", Kind.INVALID),
        ("//a", Kind.INVALID),
        ("/a/*/b", Kind.INVALID),
        ("/a/***", Kind.INVALID),
        ("/a*", Kind.INVALID),
        ("/a b", Kind.INVALID),
        ("/a%2fb", Kind.INVALID),
        ("/a\n", Kind.INVALID),
        ("/ä", Kind.INVALID),
        ("/x/../meta/handshake", Kind.INVALID),
        ("/./a", Kind.INVALID),
        ("/" + "a" * MAX_CHANNEL_LENGTH, Kind.INVALID),
    ],
)
def test_kind(name: str, kind: Kind) -> None:
    assert kind_of(name) is kind


def test_dots_cannot_smuggle_a_meta_channel() -> None:
    assert kind_of("/meta/../x") is Kind.META
