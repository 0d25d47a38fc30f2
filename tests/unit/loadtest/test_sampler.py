"""A sampled client sees what is missing, doubled or late."""

from __future__ import annotations

import pytest

from loadtest.latency import Latency
from loadtest.swarm.sampler import Sampler, WrongMessage


def body(*numbers: int, sent_ns: int = 0) -> bytes:
    messages = [
        f'{{"channel":"/bench/room","data":{{"n":{n},"sent_ns":{sent_ns}}}}}' for n in numbers
    ]
    return f"[{','.join([*messages, CONNECT])}]".encode()


CONNECT = '{"channel":"/meta/connect","successful":true}'


def test_messages_in_order_are_counted_and_timed() -> None:
    latency = Latency()
    sampler = Sampler(latency)
    sampler.check(body(1, 2, sent_ns=0), 5_000_000)
    sampler.check(body(), 6_000_000)
    sampler.check(body(3, sent_ns=0), 7_000_000)
    assert sampler.checked == latency.count == 3
    assert latency.percentile_ms(50) == pytest.approx(5.0, rel=0.01)


def test_a_single_object_is_read_too() -> None:
    sampler = Sampler(Latency())
    sampler.check(b'{"channel":"/bench/room","data":{"n":1,"sent_ns":1}}', 2)
    assert sampler.checked == 1


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 3), (1, 2, 1)])
def test_gaps_and_repeats_are_faults(numbers: tuple[int, ...]) -> None:
    with pytest.raises(WrongMessage):
        Sampler(Latency()).check(body(*numbers), 0)


@pytest.mark.parametrize("data", [b"", b"[", b"7", b'[{"channel":"/a","data":{"n":"x"}}]'])
def test_nonsense_is_a_fault(data: bytes) -> None:
    with pytest.raises(WrongMessage):
        Sampler(Latency()).check(data, 0)
