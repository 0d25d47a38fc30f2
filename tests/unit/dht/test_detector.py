from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from dht.accusations import Accusations
from dht.detector import Detector, observers_of
from dht.ids import to_id
from dht.messages import Suspicion
from dht.settings import RingSettings
from ring_views import member, random_view, view_of

if TYPE_CHECKING:
    from dht.view import View

SETTINGS = RingSettings(beat=0.2, suspect_after=0.6, grace=1.5, accusation_life=0.7)


def ring(count: int, number: int = 1) -> View:
    return view_of((member(to_id(index)) for index in range(count)), number)


def ids(*numbers: int) -> set[bytes]:
    return {to_id(number) for number in numbers}


class TestObservers:
    def test_a_large_ring_has_three_on_each_side(self) -> None:
        assert set(observers_of(ring(20), to_id(0))) == ids(1, 2, 3, 17, 18, 19)
        assert observers_of(ring(20), to_id(7))[:2] == (to_id(8), to_id(6))

    @pytest.mark.parametrize("count", range(1, 8))
    def test_in_a_small_one_all_watch_all(self, count: int) -> None:
        for index in range(count):
            assert set(observers_of(ring(count), to_id(index))) == ids(*range(count)) - ids(index)

    @pytest.mark.parametrize("count", [2, 3, 7, 8, 9, 50])
    def test_watching_is_mutual(self, count: int) -> None:
        view = random_view(Random(count), count)
        for each in view.members:
            for other in observers_of(view, each.id):
                assert each.id in observers_of(view, other)


class TestDetector:
    def detector(self, count: int = 3) -> Detector:
        detector = Detector(SETTINGS)
        detector.install(ring(count), to_id(0), now=0.0)
        return detector

    def test_who_is_silent_is_suspect_after_the_grace(self) -> None:
        detector = self.detector()
        assert set(detector.observed) == ids(1, 2)
        detector.heard(to_id(1), 1.2)
        assert detector.suspicions(1.4) == ()
        assert detector.next_deadline(1.4) == pytest.approx(1.5)
        assert [each.node for each in detector.suspicions(1.5)] == [to_id(2)]
        assert detector.next_deadline(1.5) == pytest.approx(1.8)
        detector.heard(to_id(2), 1.6)
        assert [each.node for each in detector.suspicions(1.9)] == [to_id(1)]

    def test_who_is_gone_is_suspect_at_once(self) -> None:
        detector = self.detector()
        assert detector.gone(to_id(1))
        assert not detector.gone(to_id(1))  # no news
        assert not detector.gone(to_id(9))  # no member
        assert detector.suspicions(0.0) == (Suspicion(to_id(1), 1, gone=True),)
        detector.heard(to_id(1), 0.1)
        assert detector.suspicions(0.1) == ()

    def test_a_new_incarnation_is_not_gone(self) -> None:
        detector = self.detector()
        detector.gone(to_id(1))
        detector.gone(to_id(2))
        again = [member(to_id(0)), member(to_id(1), incarnation=2), member(to_id(2))]
        detector.install(view_of(again, 2), to_id(0), 5.0)
        assert detector.proven_gone() == ids(2)
        assert detector.is_new(to_id(1), 6.4)
        assert not detector.is_new(to_id(1), 6.5)
        assert not detector.is_new(to_id(2), 5.0)
        assert [each.node for each in detector.suspicions(6.0)] == [to_id(2)]

    def test_a_late_loop_excuses_everyone_for_two_beats(self) -> None:
        detector = self.detector()
        detector.excuse(4.0)
        assert detector.suspicions(4.3) == ()
        assert len(detector.suspicions(4.4)) == 2

    def test_who_is_no_member_watches_nobody(self) -> None:
        detector = Detector(SETTINGS)
        detector.install(ring(3), to_id(77), 0.0)
        assert detector.observed == ()
        assert detector.next_deadline(0.0) is None


class TestVerdicts:
    @staticmethod
    def say(accusations: Accusations, observer: int, *accused: int, gone: bool = False) -> None:
        suspicions = [Suspicion(to_id(number), 1, gone) for number in accused]
        accusations.record(to_id(observer), suspicions, now=0.0)

    def test_three_of_six_observers_are_enough(self) -> None:
        accusations = Accusations(SETTINGS)
        view = ring(20)
        for observer in (1, 2):
            self.say(accusations, observer, 0)
        assert accusations.verdict(view, to_id(9), (), 0.0) == {}
        self.say(accusations, 4, 0)  # does not observe 0
        assert accusations.verdict(view, to_id(9), (), 0.0) == {}
        self.say(accusations, 19, 0, gone=True)
        assert accusations.verdict(view, to_id(9), (), 0.0) == {to_id(0): True}

    def test_of_few_live_observers_a_majority_is(self) -> None:
        accusations = Accusations(SETTINGS)
        self.say(accusations, 1, 0)
        assert accusations.verdict(ring(3), to_id(1), ids(0), 0.0) == {}
        self.say(accusations, 2, 0)
        assert accusations.verdict(ring(3), to_id(1), ids(0), 0.0) == {to_id(0): False}

    def test_the_last_of_a_small_ring_comes_to_a_verdict(self) -> None:
        accusations = Accusations(SETTINGS)
        self.say(accusations, 2, 0, 1)
        assert set(accusations.verdict(ring(3), to_id(2), ids(0, 1), 0.0)) == ids(0, 1)

    def test_a_block_is_worked_off_from_its_edges(self) -> None:
        accusations = Accusations(SETTINGS)
        view = ring(20)  # 8 to 11 have died
        for observer in (5, 6, 7, 12, 13, 14):
            accused = [n for n in range(8, 12) if to_id(observer) in observers_of(view, to_id(n))]
            self.say(accusations, observer, *accused)
        assert set(accusations.verdict(view, to_id(0), (), 0.0)) == ids(8, 9, 10, 11)

    def test_statements_lapse_and_are_replaced(self) -> None:
        accusations = Accusations(SETTINGS)
        self.say(accusations, 1, 0)
        assert accusations.verdict(ring(2), to_id(1), ids(0), 0.69) == {to_id(0): False}
        self.say(accusations, 1)
        assert accusations.verdict(ring(2), to_id(1), (), 0.1) == {}
        self.say(accusations, 1, 0)
        assert accusations.verdict(ring(2), to_id(1), (), 0.7) == {}

    def test_old_incarnations_strangers_and_the_judge_are_not_accused(self) -> None:
        accusations = Accusations(SETTINGS)
        accusations.record(to_id(1), [Suspicion(to_id(0), 7, gone=True)], 0.0)
        self.say(accusations, 0, 1, 55)
        assert accusations.verdict(ring(2), to_id(1), (), 0.0) == {}

    def test_who_left_has_no_say(self) -> None:
        accusations = Accusations(SETTINGS)
        self.say(accusations, 2, 0)
        accusations.install(ring(2))
        assert accusations.verdict(ring(2), to_id(1), (), 0.0) == {}
