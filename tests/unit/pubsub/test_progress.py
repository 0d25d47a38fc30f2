"""How the other copies learn how far sessions have been served: late, and of many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dht.ids import slot_of
from pubsub import progress
from pubsub.slot_messages import CursorsPut, Replicate
from pubsub.values import Cursor
from pubsub_rig import Rig

if TYPE_CHECKING:
    import pytest

    from pubsub_rig import Node

READERS = 5


def readers(rig: Rig) -> tuple[Node, list[str]]:
    """Sessions of one slot, at their home, that read `/a` from its beginning."""
    home = rig.nodes[0]
    tag = rig.address(home).partition(".")[0]
    addresses = [f"{tag}.reader{i}" for i in range(READERS)]
    for address in addresses:
        home.open(address)
        home.update(address, 1, (("/a", Cursor(1, 0)),))
    return home, addresses


def told(rig: Rig) -> list[CursorsPut]:
    """The changes of cursors that go to the other copies when it is time."""
    rig.log.clear()
    rig.tick(2 * rig.limits.cursors_seconds)
    ops: list[Any] = [op for batch in rig.messages(Replicate) for op in batch.ops]
    return list(dict.fromkeys(op for op in ops if isinstance(op, CursorsPut)))


def stand(node: Node, address: str) -> Any:
    """What a copy has of a session."""
    record = node.engine._parts.core.copies[slot_of(address)].record(address)
    return None if record is None else (record.inbox, record.cursors)


def test_readers_who_stand_alike_are_one_change() -> None:
    rig = Rig()
    home, addresses = readers(rig)
    alike = [(address, 1) for address in addresses]
    home.do(home.engine.consumed_alike(alike, (("/a", Cursor(1, 7)),), rig.now))
    (op,) = told(rig)
    assert op.addresses == tuple(addresses)
    assert op.cursors == (("/a", Cursor(1, 7)),)
    for node in rig.nodes:
        for address in addresses:
            assert stand(node, address) == (Cursor(1, 0), (("/a", Cursor(1, 7)),))
    assert not told(rig)


def test_who_stands_elsewhere_is_a_change_of_its_own() -> None:
    rig = Rig()
    home, addresses = readers(rig)
    home.do(
        home.engine.consumed_alike([(a, 1) for a in addresses], (("/a", Cursor(1, 7)),), rig.now)
    )
    home.consumed(addresses[2], 1, ("/a", Cursor(1, 9)))
    home.consumed(addresses[4], 1, (addresses[4], Cursor(1, 0)))
    ops = told(rig)
    assert {op.addresses: op.cursors[0][1].offset for op in ops} == {
        (addresses[0], addresses[1], addresses[3], addresses[4]): 7,
        (addresses[2],): 9,
    }
    for node in rig.nodes:
        offsets = [stand(node, address)[1][0][1].offset for address in addresses]
        assert offsets == [7, 7, 9, 7, 7]


def test_one_who_is_ahead_is_not_moved_back_and_other_generations_not_at_all() -> None:
    rig = Rig()
    home, addresses = readers(rig)
    home.consumed(addresses[0], 1, ("/a", Cursor(1, 9)))
    mixed = [(addresses[0], 1), (addresses[1], 1), (addresses[2], 2), ("none.x", 1)]
    home.do(
        home.engine.consumed_alike(mixed, (("/a", Cursor(1, 7)), ("/b", Cursor(1, 1))), rig.now)
    )
    told(rig)
    for node in rig.nodes:
        offsets = [stand(node, address)[1][0][1].offset for address in addresses]
        assert offsets == [9, 7, 0, 0, 0]
        assert len(stand(node, addresses[1])[1]) == 1, "a subscription that was never made"


def test_a_change_tells_of_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_TOGETHER", 2)
    rig = Rig()
    home, addresses = readers(rig)
    home.do(
        home.engine.consumed_alike([(a, 1) for a in addresses], (("/a", Cursor(1, 7)),), rig.now)
    )
    assert [len(op.addresses) for op in told(rig)] == [2, 2, 1]
    assert stand(rig.nodes[1], addresses[4])[1] == (("/a", Cursor(1, 7)),)


def test_nothing_is_told_of_who_has_gone() -> None:
    rig = Rig()
    home, addresses = readers(rig)
    home.consumed(addresses[0], 1, ("/a", Cursor(1, 7)))
    home.close(addresses[0], 1)
    assert not told(rig)
