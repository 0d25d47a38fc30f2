"""Lanes: how long changes have been waiting for other holders."""

from __future__ import annotations

import pytest

from pubsub.messages import Appended
from pubsub.slot_messages import Replicate, Replicated
from pubsub_rig import Rig


@pytest.mark.parametrize("lost", [Replicate, Replicated])
def test_the_lag_is_the_age_of_what_a_copy_has_not_confirmed(lost: type) -> None:
    rig = Rig()
    home = rig.home("/a")
    assert home.engine.statistics(rig.now).replica_lag == 0.0
    rig.hold = lambda message: isinstance(message, lost)
    home.append("/a", "first")
    rig.tick(0.5)
    home.append("/a", "second")
    rig.tick(0.25)
    assert home.engine.statistics(rig.now).replica_lag == pytest.approx(0.75)
    rig.hold = lambda message: False
    rig.tick(2.0)  # it is sent again
    assert [type(result) for result in home.results()] == [Appended, Appended]
    assert home.engine.statistics(rig.now).replica_lag == 0.0


def test_without_other_holders_nothing_waits() -> None:
    rig = Rig(1)
    (home,) = rig.nodes
    home.append("/a", "m")
    assert home.engine.statistics(rig.now + 9.0).replica_lag == 0.0
