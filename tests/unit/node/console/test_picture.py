"""From answers to pictures: bounds, sums and shapes."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from console_sim import Imagined
from dht.ids import SLOTS, random_id
from dht.placement import Placement
from node.console import picture
from node.console.messages import MAX_NAME, MAX_NAMES, Branch, Busy, Publishes, Survey, SurveyAsk
from node.console.picture import MAX_PUBLISHES, Publish
from ring_views import random_view, view_of
from status_examples import lonely

ASK = SurveyAsk(1, figures=True, names=())


@pytest.mark.parametrize("count", [1, 2, 9, 50, 200])
def test_arcs_cover_the_ring_and_name_homes(count: int) -> None:
    placement = Placement(random_view(Random(count), count))
    arcs = picture.arcs(placement)
    assert arcs[0][0] == 0
    owners = {}
    for (first, owner), end in zip(arcs, [*(a[0] for a in arcs[1:]), SLOTS], strict=True):
        assert first < end
        for slot in range(first, end):
            owners[slot] = placement.view.members[owner].id
    assert all(owners[slot] == placement.home(slot) for slot in range(SLOTS))


def test_a_node_without_a_ring_has_a_picture() -> None:
    ring = picture.ring_picture(lonely())
    assert (ring.view, ring.members, ring.arcs) == (0, (), ())
    pulse = picture.pulse_picture(lonely(), 1.0, [lonely().me], {}, (), ())
    assert pulse.members == {lonely().me.hex(): None}
    assert not picture.arcs(Placement(view_of([])))


def test_channels_are_summed_over_nodes() -> None:
    cluster = Imagined(5)
    answers = {member.id: cluster.answer(member.id, ASK) for member in cluster.view.members}
    told = [busy for each in answers.values() if each.figures for busy in each.figures.busiest]
    for channel in picture.channels(answers):
        own = [busy for busy in told if busy.channel == channel.name]
        assert channel.published == pytest.approx(sum(busy.published for busy in own))
        assert (channel.readers, channel.nodes) == (sum(b.readers for b in own), len(own))


def test_what_is_too_long_is_left_out() -> None:
    cluster = Imagined(2)
    node = cluster.me
    figures = cluster.figures(node)
    long = "/" + "x" * MAX_NAME
    figures = msgspec.structs.replace(
        figures, busiest=(Busy(long, 1, 1, 1),), publishes=(Publishes(long, 1),)
    )
    assert picture.channels({node: Survey(1, figures, ())}) == ()
    assert picture.publishes({node: figures}) == ()


def test_publishes_are_taken_by_turns() -> None:
    cluster = Imagined(2)
    one, two = (member.id for member in cluster.view.members)
    figures = cluster.figures(one)
    busy = msgspec.structs.replace(
        figures, publishes=tuple(Publishes(f"/a/{n}", 1) for n in range(99))
    )
    calm = msgspec.structs.replace(figures, publishes=(Publishes("/b", 2),))
    drawn = picture.publishes({one: busy, two: calm})
    assert len(drawn) == MAX_PUBLISHES
    assert drawn[1] == Publish("/b", two.hex(), 2)
    names = picture.names(drawn, ())
    assert len(names) == MAX_NAMES
    assert "/b" in names


def test_the_tree_of_an_inbox_leads_to_the_edge() -> None:
    rng = Random(1)
    home, edge = random_id(rng), random_id(rng)

    def at_home(where: bytes) -> Branch:
        return Branch("t.x", b"", (), 0, 0, 1, True, 1, 1, 1, 1, where, 0, "")

    tree = picture.tree("t.x", home, {home: at_home(edge)})
    assert [(t.node, t.parent, t.readers) for t in tree.twigs] == [
        (home.hex(), "", 0),
        (edge.hex(), home.hex(), 1),
    ]
    tree = picture.tree("t.x", home, {home: at_home(home)})
    assert [(t.node, t.readers) for t in tree.twigs] == [(home.hex(), 1)]
    assert len(picture.tree("t.x", home, {}).twigs) == 1
