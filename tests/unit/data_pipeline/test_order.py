"""An order that needs no state: any position at once, every record once an epoch."""

import pickle
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.order import ShardOrder

SIZES = st.lists(st.integers(0, 7), min_size=1, max_size=12).filter(any).map(tuple)


def order_of(sizes, key=(0, "set"), window=3) -> ShardOrder:
    return ShardOrder(tuple(sizes), key, window)


def everything(sizes) -> list[tuple[int, int]]:
    return [(shard, record) for shard, size in enumerate(sizes) for record in range(size)]


@settings(deadline=None)
@given(sizes=SIZES, window=st.integers(1, 14), epoch=st.integers(0, 10**6), seed=st.integers(0, 2**40))
def test_every_record_comes_once_in_every_epoch(sizes, window: int, epoch: int, seed: int) -> None:
    order, n = order_of(sizes, (seed, "set"), window), sum(sizes)
    assert sorted(order.place(p) for p in range(epoch * n, (epoch + 1) * n)) == everything(sizes)


@settings(deadline=None)
@given(sizes=SIZES, window=st.integers(1, 14), positions=st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_a_position_does_not_depend_on_what_was_asked_before(sizes, window: int, positions: list[int]) -> None:
    used = order_of(sizes, window=window)
    found = [used.place(p) for p in positions]
    assert [order_of(sizes, window=window).place(p) for p in reversed(positions)] == found[::-1]


@settings(deadline=None)
@given(sizes=SIZES.filter(lambda sizes: len(sizes) > 3), window=st.integers(1, 3), epoch=st.integers(0, 100))
def test_records_of_a_window_come_from_its_shards_alone(sizes, window: int, epoch: int) -> None:
    order, n = order_of(sizes, window=window), sum(sizes)
    shards = [order.place(p)[0] for p in range(epoch * n, (epoch + 1) * n)]
    seen, done, open_ = 0, set(), set()
    for shard in shards:
        open_.add(shard)
        assert len(open_) <= window and shard not in done
        seen += 1
        if seen == sum(sizes[s] for s in open_):  # all of the shards begun are through
            done, open_, seen = done | open_, set(), 0


@pytest.mark.parametrize("sizes", [(20,) * 10, (200,)])
def test_orders_differ_by_seed_name_and_epoch(sizes) -> None:
    orders = [
        tuple(order_of(sizes, key).place(p) for p in range(epoch * 200, epoch * 200 + 200))
        for key in ((0, "set"), (1, "set"), (0, "other"))
        for epoch in range(3)
    ]
    assert len(set(orders)) == 9


def test_a_set_of_few_shards_is_shuffled_as_a_whole() -> None:
    """Pairs of neighbours come from the same shard as often as chance has it, not more."""
    order = ShardOrder((100,) * 8, (0, "small"))
    shards = np.array([order.place(p)[0] for p in range(8000)])
    assert (shards[1:] == shards[:-1]).mean() == pytest.approx(1 / 8, abs=0.02)


def test_the_order_is_fixed_for_good() -> None:
    """A change here changes what a resumed run trains on: raise DOCUMENTS in training/stages/transformer.py with it."""
    order = ShardOrder((3, 1, 2, 4), (7, "set"), 2)
    assert [order.place(p) for p in (0, 1, 2, 3, 4, 10, 10**9)] == [
        (0, 2),
        (2, 1),
        (0, 0),
        (0, 1),
        (2, 0),
        (0, 1),
        (2, 0),
    ]


def test_a_far_position_of_a_large_set_is_found_at_once_in_little_memory() -> None:
    """10 TB: 100 000 shards of 100 MB with 10 000 records each."""
    tracemalloc.start()
    started = time.perf_counter()
    shard, record = ShardOrder((10_000,) * 100_000, (0, "large")).place(10**9)
    taken_s, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 <= shard < 100_000 and 0 <= record < 10_000
    assert taken_s < 1
    assert peak < 20e6


def test_many_sets_in_turn_draw_no_order_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixture of sets asks one order after the other; each remembers its own."""
    drawn = []
    monkeypatch.setattr("neuroleon.data_pipeline.order.generator", lambda *key: drawn.append(key) or generator(*key))
    orders = [order_of((5, 5), (0, str(number))) for number in range(40)]
    for position in range(6):
        for order in orders:
            order.place(position)
    assert len(drawn) == len(set(drawn)) == 2 * len(orders)  # the shards of an epoch, and the records of a window


def test_an_order_remembers_few_windows() -> None:
    order = ShardOrder((10_000,) * 1000, (0, "large"), 10)
    tracemalloc.start()
    for window in range(50):
        order.place(window * 100_000)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 5 * 400_000


def test_an_order_goes_to_other_processes() -> None:
    order = order_of((3, 4, 5))
    order.place(3)
    copy = pickle.loads(pickle.dumps(order))
    assert [copy.place(p) for p in range(30)] == [order.place(p) for p in range(30)]


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="window of 0"):
        order_of((1,), window=0)
