from __future__ import annotations

from random import Random

from dht.contact import Contact
from dht.discovery import Discovery
from dht.effects import Dial, Send
from dht.ids import to_id
from dht.messages import FindNode
from dht.settings import RingSettings
from ring_views import member, view_of

SETTINGS = RingSettings(redial_least=0.1, redial_most=2.0, k=2)
ME = Contact(to_id(1), "me:1")


def contact(number: int) -> Contact:
    each = member(to_id(number))
    return Contact(each.id, each.peer)


def discovery(*seeds: str) -> Discovery:
    return Discovery(ME, seeds, Random(1), SETTINGS)


def opened(
    it: Discovery, number: int, address: str | None = None, now: float = 0.0
) -> list[object]:
    return list(it.link_opened(to_id(number), contact(number).peer, address, now))


class TestSeeds:
    def test_each_is_dialled_once_at_a_time(self) -> None:
        it = discovery("s:1", "s:2", "me:1")
        assert it.redial((), 0.0) == [Dial("s:1"), Dial("s:2")]
        assert it.redial((), 1.0) == []
        assert it.redial((), 11.0) == [Dial("s:1"), Dial("s:2")]  # no word: forgotten

    def test_backoff_doubles_with_jitter_to_a_limit(self) -> None:
        it = discovery("s:1")
        now, waits = 0.0, []
        for _ in range(10):
            assert it.redial((), now) == [Dial("s:1")]
            it.dial_failed("s:1", now)
            start = now
            while not it.redial((), now):
                now += 0.001
            waits.append(now - start)
            it.dial_failed("s:1", now)
            now += 10
        assert 0.07 <= waits[0] <= 0.13
        assert all(1.4 <= wait <= 2.6 for wait in waits[3:])
        assert len({round(wait, 2) for wait in waits[3:]}) > 3

    def test_one_that_is_linked_or_in_the_ring_is_left_alone(self) -> None:
        it = discovery("name:1", "other:1")
        it.redial((), 0.0)
        opened(it, 5, address="name:1")
        assert it.redial({"other:1": 0}, 20.0) == []
        it.link_closed(to_id(5))
        assert it.redial({"other:1": 0}, 20.0) == [Dial("name:1")]

    def test_one_that_is_this_node_is_never_dialled_again(self) -> None:
        it = discovery("alias:1")
        it.redial((), 0.0)
        assert not it.all_tried(0.0)
        it.link_opened(ME.id, ME.peer, "alias:1", 0.0)
        assert it.all_tried(99.0)
        assert it.links == {}
        assert it.redial((), 99.0) == []

    def test_all_tried_when_linked_or_failed_since(self) -> None:
        it = discovery("s:1", "s:2")
        it.dial_failed("s:1", 1.0)
        assert not it.all_tried(1.0)
        opened(it, 5, address="s:2")
        assert it.all_tried(1.0)
        assert not it.all_tried(1.1)

    def test_a_voter_is_keen(self) -> None:
        it = discovery("s:1")
        view = view_of([member(ME.id)])
        it.install(type(view)(1, view.ring, view.members, (ME.id,)))
        now = start = 0.0
        for _ in range(6):
            it.dial_failed("s:1", now)
            start = now
            while not it.redial((), now):
                now += 0.01
        assert now - start < 0.3


class TestCrawl:
    def test_it_asks_the_linked_and_dials_the_others(self) -> None:
        it = discovery()
        assert it.crawl(0.0) == []
        opened(it, 4)
        assert it.crawl(0.0) == [Send(to_id(4), FindNode(ME.id))]
        assert it.crawl(0.1) == []
        assert it.found(to_id(4), [contact(2), contact(3)], 0.2) == [
            Dial(contact(3).peer),
            Dial(contact(2).peer),
        ]
        assert opened(it, 2, address=contact(2).peer) == [Send(to_id(2), FindNode(ME.id))]
        it.dial_failed(contact(3).peer, 0.3)
        assert it.found(to_id(2), [], 0.4) == []
        assert it.crawl(0.9) == []  # over; the next begins a second after the last
        assert len(it.crawl(1.0)) == 2

    def test_an_address_that_another_has_now_is_a_failure(self) -> None:
        it = discovery()
        opened(it, 4)
        it.crawl(0.0)
        it.found(to_id(4), [contact(2)], 0.0)
        assert it.link_opened(to_id(9), contact(2).peer, contact(2).peer, 0.1) == []
        assert it.crawl(0.2) == []
        assert it.crawl(0.9) == []

    def test_answers_without_a_question_are_ignored(self) -> None:
        assert discovery().found(to_id(4), [contact(2)], 0.0) == []


class TestContacts:
    def test_links_are_contacts_until_they_close(self) -> None:
        it = discovery()
        opened(it, 4)
        assert it.closest(to_id(0)) == (contact(4),)
        it.link_closed(to_id(4))
        it.link_closed(to_id(4))
        assert it.closest(to_id(0)) == ()

    def test_members_are_contacts_linked_or_not(self) -> None:
        it = discovery()
        opened(it, 4)
        it.install(view_of([member(to_id(4)), member(to_id(5))]))
        it.link_closed(to_id(4))
        assert set(it.closest(to_id(0))) == {contact(4), contact(5)}
        it.install(view_of([member(to_id(5))]))
        assert it.closest(to_id(0)) == (contact(5),)

    def test_in_a_full_bucket_the_linked_stay(self) -> None:
        it = Discovery(ME, (), Random(1), RingSettings(k=2))
        far = 1 << 159 | 1
        numbers = [far + (each << 144) for each in (0, 1, 2, 3)]
        for number in numbers[:3]:
            opened(it, number)
        assert len(it.table) == 2
        held = [each.long_id for each in it.table]
        it.link_closed(to_id(held[0]))
        opened(it, numbers[3])
        assert held[0] not in [each.long_id for each in it.table]

    def test_the_oldest_without_a_link_makes_room(self) -> None:
        it = Discovery(ME, (), Random(1), RingSettings(k=2))
        far = 1 << 159 | 1
        numbers = [far + (each << 144) for each in (0, 1, 2)]
        for number in numbers[:2]:
            opened(it, number)
        it.install(view_of(member(to_id(number)) for number in numbers[:2]))
        for number in numbers[:2]:
            it.link_closed(to_id(number))
        assert len(it.table) == 2
        opened(it, numbers[2])
        assert to_id(numbers[2]) in it.table

    def test_a_new_id_starts_an_empty_table(self) -> None:
        it = discovery()
        opened(it, 4)
        it.rename(Contact(to_id(9), "me:1"))
        assert it.links == {}
        assert len(it.table) == 0
