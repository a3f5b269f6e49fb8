"""The synthetic market: determinism, grid, order of the book, day totals, pace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kite_hft.layout import TickFlag
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments

START = 1_765_771_368_000_000_000
SECOND = 1_000_000_000


def market(n: int = 60, rate: float = 2.0, seed: int = 1) -> SyntheticMarket:
    table, base = default_instruments(n, seed)
    return SyntheticMarket(table, base, rate, seed, START)


def test_ticks_are_evenly_spaced_over_the_instruments() -> None:
    source = market(60, 2.0)
    times, ticks = source.take(3 * SECOND - 1, 10**9)
    assert len(ticks) == 3 * 120
    assert np.bincount(ticks["slot"]).tolist() == [6] * 60
    assert set(np.diff(times).tolist()) <= {8_333_333, 8_333_334}
    assert source.next_ns() == 3 * SECOND
    assert len(source.take(3 * SECOND, 10**9)[1]) == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90_000_000), st.integers(0, 50)), max_size=25))
def test_the_path_does_not_depend_on_batches(cuts: list[tuple[int, int]]) -> None:
    whole = market(17, 7.0, seed=5).take(2 * SECOND, 10**9)
    source, parts, until = market(17, 7.0, seed=5), [], 0
    for step, limit in cuts:
        until += step
        if until < 2 * SECOND:
            parts.append(source.take(until, limit))
    parts.append(source.take(2 * SECOND, 10**9))
    assert np.concatenate([t for t, _ in parts]).tolist() == whole[0].tolist()
    assert b"".join(p.tobytes() for _, p in parts) == whole[1].tobytes()


def test_seeds_differ() -> None:
    assert market(seed=1).take(SECOND, 10**9)[1].tobytes() != market(seed=2).take(SECOND, 10**9)[1].tobytes()


def test_step_gives_what_is_due_by_exchange_time() -> None:
    source = market(10, 1.0)
    assert len(source.step(START + SECOND // 2)) == 6
    assert len(source.step(START + SECOND // 2)) == 0


def test_books_are_sound_and_on_the_grid() -> None:
    source = market(60, 50.0)
    opening, (_, ticks) = source.opening(), source.take(20 * SECOND, 10**9)
    for rows in (opening, ticks):
        traded = rows[(rows["flags"] & TickFlag.INDEX) == 0]
        step = np.array([max(r.tick_px, 1) for r in source.instruments])[traded["slot"]]
        lot = np.array([max(r.lot_size, 1) for r in source.instruments])[traded["slot"]]
        for name in ("last_px", "bid_px", "ask_px"):
            assert np.all(traded[name] % step == 0) and np.all(traded[name] > 0)
        assert np.all(traded["bid_px"] < traded["ask_px"])
        assert np.all((traded["last_px"] == traded["bid_px"]) | (traded["last_px"] == traded["ask_px"]))
        bids = np.column_stack([traded["bid_px"], traded["bid_px_deep"]])
        asks = np.column_stack([traded["ask_px"], traded["ask_px_deep"]])
        assert np.all(np.diff(bids) < 0) and np.all(np.diff(asks) > 0) and np.all(bids > 0)
        assert np.all(bids % step[:, None] == 0) and np.all(asks % step[:, None] == 0)
        assert np.all(traded["bid_qty"] % lot[:, None] == 0) and np.all(traded["bid_qty"] > 0)
        assert np.all(rows["low_px"] <= rows["last_px"]) and np.all(rows["last_px"] <= rows["high_px"])
        assert np.all(rows["low_px"] <= rows["open_px"]) and np.all(rows["open_px"] <= rows["high_px"])
        assert np.all(rows["close_px"] > 0)


def test_day_totals_of_one_instrument() -> None:
    source = market(60, 20.0)
    table = source.instruments
    _, ticks = source.take(30 * SECOND, 10**9)
    future = next(r.slot for r in table if r.kind == "FUT")
    rows = ticks[ticks["slot"] == future]
    assert rows["volume"].tolist() == np.cumsum(rows["last_qty"].astype(np.int64)).tolist()
    turnover = np.cumsum(rows["last_qty"] * rows["last_px"].astype(np.float64))
    assert np.allclose(rows["average_px"], turnover / rows["volume"], atol=0.5 + 1e-6)
    assert np.all(rows["oi"] <= rows["oi_day_high"]) and np.all(rows["oi"] >= rows["oi_day_low"])
    assert len(set(rows["oi"].tolist())) > 5
    assert np.all(rows["exch_ns"] % SECOND == 0)
    assert np.all(rows["last_trade_s"] == rows["exch_ns"] // SECOND)
    equity = ticks[ticks["slot"] == 0]
    assert not equity["oi"].any()


def test_an_index_has_no_book() -> None:
    source = market(60)
    slot = next(r.slot for r in source.instruments if r.is_index)
    _, ticks = source.take(5 * SECOND, 10**9)
    rows = ticks[ticks["slot"] == slot]
    assert len(rows) == 10
    for name in ("bid_px", "ask_qty", "volume", "average_px", "last_trade_s", "total_buy_qty", "last_qty"):
        assert not rows[name].any(), name
    assert np.all(rows["last_px"] > 0)


def test_prices_move_together_and_cross_the_filter_threshold_often() -> None:
    source = market(20, 1.0)
    _, ticks = source.take(2000 * SECOND - 1, 10**9)
    equities = [r.slot for r in source.instruments if r.kind == "EQ" and not r.is_index]
    paths = np.array([ticks["last_px"][ticks["slot"] == s] for s in equities], np.float64)
    moves = np.diff(np.log(paths[:, ::100]), axis=1)
    correlation = np.corrcoef(moves)
    assert correlation[np.triu_indices(len(equities), 1)].mean() > 0.05
    # The plain 1-state filter: x += K (z - x), gain from P, Q = 1e-4, R = 1e-2.
    crossed = 0
    x, p = paths[0, 0], 1.0
    for z in paths[0] / 100:
        p += 1e-4
        gain = p / (p + 1e-2)
        x += gain * (z - x)
        p *= 1 - gain
        crossed += abs(x - z) / z > 0.001
    assert 0.05 < crossed / paths.shape[1] < 0.5


@pytest.mark.parametrize(("rate", "base"), [(0.0, 10_000), (-1.0, 10_000), (1.0, 100)])
def test_refused(rate: float, base: int) -> None:
    table, _ = default_instruments(1, 1)
    with pytest.raises(ValueError):
        SyntheticMarket(table, np.array([base]), rate, 1, START)
