"""Kernels: parameters, sessions, late and strange ticks, state, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from kite_hft._kalman import kalman1, kalman2, kalman2_step, kalman2_stream
from kite_hft._kernels import BAR_BY_TIME, BAR_CUT, Kernels
from kite_hft.layout import BAR, KERNEL_ROW, TICK, TickFlag

S = 10**9


def feed(kernels: Kernels, rows: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """rows of (slot, px, exch_s, volume or None)."""
    ticks = np.zeros(len(rows), TICK)
    for tick, (slot, px, second, volume) in zip(ticks, rows, strict=True):
        tick["slot"], tick["last_px"], tick["exch_ns"], tick["recv_ns"] = slot, px, second * S, 55
        tick["volume"], tick["flags"] = volume or 0, 0 if volume is None else TickFlag.TRADE
    out, bars = np.zeros(len(rows), KERNEL_ROW), np.zeros(4 * len(rows), BAR)
    n = kernels.run(ticks, len(rows), out, bars)
    return out, bars[:n]


def brief(bars: np.ndarray) -> list[tuple]:
    names = ["slot", "period_s", "start_ns", "open_px", "high_px", "low_px", "close_px", "volume", "flags"]
    return [(*row[:2], row[2] // S, *row[3:]) for row in bars[names].tolist()]


def test_parameters_may_differ_by_slot():
    kernels = Kernels(2, q=[1e-4, 1e-2], x0=[0.0, np.nan], scale=[100, 10_000])
    rows, _ = feed(kernels, [(0, 10_000, 5, None), (1, 10_000, 5, None), (1, 11_000, 5, None)])
    assert rows["estimate"][0] == 0 + (1 + 1e-4) / (1 + 1e-4 + 1e-2) * 100.0
    assert rows["estimate"][1] == 1.0 and rows["rel_diff"][1] == 0.0
    assert 1.05 < rows["estimate"][2] < 1.1


def test_a_closed_bar_says_where_it_is():
    kernels = Kernels(2)
    rows, bars = feed(
        kernels,
        [(0, 5, 58, 1), (0, 7, 58, 3), (1, 9, 58, None), (1, 8, 59, None), (0, 6, 60, 9), (0, 4, 61, 10)],
    )
    assert rows["closed_mask"].tolist() == [0, 0, 0, 1, 3, 1]
    assert rows["bar_index"].tolist()[3:] == [0, 1, 3]
    assert brief(bars) == [
        (1, 1, 58, 9, 9, 9, 9, 0, 0),
        (0, 1, 58, 7, 7, 7, 7, 2, 0),
        (0, 60, 0, 7, 7, 7, 7, 2, 0),
        (0, 1, 60, 6, 6, 6, 6, 6, 0),
    ]
    assert set(bars["closed_recv_ns"].tolist()) == {55}


def test_only_chosen_periods_are_written():
    kernels = Kernels(1, emit_mask=0b0010)
    rows, bars = feed(kernels, [(0, 5, 58, None), (0, 6, 59, None), (0, 7, 60, None)])
    assert brief(bars) == [(0, 60, 0, 5, 6, 5, 6, 0, 0)] and rows["closed_mask"].tolist() == [0, 0, 2]


def test_long_bars_are_counted_from_the_open():
    kernels = Kernels(1, open_ns=30 * S, close_ns=1000 * S)
    _, bars = feed(kernels, [(0, 1, 29, None), (0, 5, 31, None), (0, 6, 89, None), (0, 7, 90, None)])
    assert brief(bars)[-1] == (0, 60, 30, 5, 6, 5, 6, 0, 0)


def test_session_end_closes_and_nothing_follows():
    kernels = Kernels(1, open_ns=0, close_ns=90 * S)
    rows, bars = feed(kernels, [(0, 5, 88, None), (0, 6, 90, None), (0, 7, 91, None)])
    assert [(b[1], b[8]) for b in brief(bars)] == [(1, 0), (60, BAR_CUT), (300, BAR_CUT), (900, BAR_CUT)]
    assert rows["tick_no"].tolist() == [1, 2, 3] and rows["late"].sum() == 0


def test_pre_open_volume_is_the_baseline():
    kernels = Kernels(1, open_ns=10 * S)
    # Before the open the counter may still be yesterday's and then start anew: the last one counts.
    feed(kernels, [(0, 5, 1, 900), (0, 5, 9, 100)])
    _, bars = feed(kernels, [(0, 6, 10, 130), (0, 7, 11, 131)])
    assert brief(bars) == [(0, 1, 10, 6, 6, 6, 6, 30, 0)]


@pytest.mark.parametrize("second", [1, 10], ids=["before the open", "unstamped, after it"])
def test_a_volume_of_the_day_before_does_not_mute_the_day(second):
    kernels = Kernels(1, open_ns=10 * S)
    feed(kernels, [(0, 5, second, 5_000_000)])
    _, bars = feed(kernels, [(0, 6, 10, 130), (0, 7, 11, 131), (0, 8, 12, 140), (0, 9, 13, 141)])
    # The lower volume is the baseline of the day, as a first one would be.
    assert brief(bars) == [(0, 1, 11, 7, 7, 7, 7, 1, 0), (0, 1, 12, 8, 8, 8, 8, 9, 0)]


def test_the_lowest_volume_is_the_baseline_until_one_has_counted():
    kernels = Kernels(1, open_ns=10 * S)
    _, bars = feed(kernels, [(0, 5, 10, 900), (0, 5, 10, 130), (0, 5, 10, 120), (0, 6, 11, 125)])
    assert not len(bars)
    # From then on less is a message that was overtaken, on its way or before the open.
    _, bars = feed(kernels, [(0, 5, 11, 3), (0, 7, 9, 4), (0, 7, 12, 126), (0, 7, 13, 127)])
    assert brief(bars) == [(0, 1, 11, 6, 6, 6, 6, 5, 0), (0, 1, 12, 7, 7, 7, 7, 1, 0)]


def test_a_late_message_does_not_lower_the_baseline():
    kernels = Kernels(1)
    out = np.zeros(8, BAR)
    feed(kernels, [(0, 5, 50, 100)])
    kernels.close_through(60 * S, out)
    rows, bars = feed(kernels, [(0, 5, 59, 90), (0, 6, 60, 101), (0, 6, 61, 102)])
    assert rows["late"].tolist() == [1, 0, 0] and brief(bars) == [(0, 1, 60, 6, 6, 6, 6, 1, 0)]


def test_late_ticks_change_nothing():
    kernels = Kernels(1)
    rows, bars = feed(kernels, [(0, 5, 50, 1), (0, 6, 50, 2), (0, 9, 49, 50), (0, 7, 51, 12)])
    assert rows["late"].tolist() == [0, 0, 1, 0] and kernels.late == 1
    assert brief(bars) == [(0, 1, 50, 6, 6, 6, 6, 1, 0)]
    rest = np.zeros(4, BAR)
    kernels.flush(52 * S, rest)
    assert rest["volume"].tolist() == [10, 11, 11, 11]  # the late message's volume is not lost


def test_time_may_close_bars():
    kernels = Kernels(2)
    feed(kernels, [(0, 5, 50, None), (1, 6, 59, None)])
    out = np.zeros(8, BAR)
    n = kernels.close_through(60 * S, out, recv_ns=77)
    assert [(b[0], b[1], b[8]) for b in brief(out[:n])] == [
        (s, p, BAR_BY_TIME) for s in (0, 1) for p in (1, 60)
    ]
    assert out["closed_recv_ns"][:n].tolist() == [77] * 4
    rows, _ = feed(kernels, [(0, 5, 59, None), (0, 5, 60, None)])
    assert rows["late"].tolist() == [1, 0]
    assert kernels.close_through(60 * S, out) == 0
    n = kernels.flush(61 * S, out)
    # (0, 60, 60) is cut at 61; slot 1 has only the long sums left.
    assert [(b[0], b[1]) for b in brief(out[:n])] == [(0, 1), (0, 60), (0, 300), (0, 900), (1, 300), (1, 900)]
    assert out["flags"][1] == BAR_BY_TIME | BAR_CUT


def test_arrival_stands_in_for_exchange_time():
    kernels = Kernels(1, epoch_offset_ns=100 * S)
    ticks = np.zeros(2, TICK)
    ticks["last_px"], ticks["recv_ns"] = 5, [S, 3 * S]
    rows, bars = np.zeros(2, KERNEL_ROW), np.zeros(8, BAR)
    assert kernels.run(ticks, 2, rows, bars) == 1
    assert bars["start_ns"][0] == 101 * S and rows["time_ns"].tolist() == [101 * S, 103 * S]


def test_no_price_and_no_slot():
    kernels = Kernels(1)
    rows, bars = feed(
        kernels, [(0, 0, 5, None), (1, 100, 5, None), (0, -7, 9, None), (2**32 - 1, 1, 1, None)]
    )
    assert not len(bars) and rows["tick_no"].tolist() == [0] * 4
    assert np.isnan(rows["estimate"]).all() and np.isnan(rows["rel_diff"]).all()
    assert (kernels.no_price, kernels.unknown_slot) == (2, 2)


def test_has_volume_off():
    kernels = Kernels(1, has_volume=0)
    _, bars = feed(kernels, [(0, 5, 50, 7), (0, 6, 50, 7), (0, 4, 51, 7)])
    assert brief(bars) == [(0, 1, 50, 5, 6, 5, 6, 0, 0)]
    kernels.reset()
    _, bars = feed(kernels, [(0, 5, 50, 7), (0, 4, 51, 7)])
    assert len(bars) == 1


def test_resets():
    kernels = Kernels(2, token=[7, 8], scale=[100, 1000])
    feed(kernels, [(0, 500, 50, 5), (1, 500, 50, 5)])
    kernels.reset_filters(0)
    rows, _ = feed(kernels, [(0, 500, 50, 6), (1, 500, 50, 6)])
    assert rows["tick_no"].tolist() == [1, 2]
    kernels.reset(1)
    rows, bars = feed(kernels, [(1, 500, 40, 6), (1, 500, 41, 7), (1, 500, 42, 8)])
    assert rows["tick_no"].tolist() == [1, 2, 3] and rows["late"].sum() == 0
    assert brief(bars) == [(1, 1, 41, 500, 500, 500, 500, 1, 0)]  # baseline afresh
    fresh = Kernels(2, token=[7, 8], scale=[100, 1000])
    kernels.reset()
    assert kernels.snapshot().tobytes() == fresh.snapshot().tobytes()
    for slot in (-2, 2):
        for call in (kernels.reset, kernels.reset_filters):
            with pytest.raises(ValueError):
                call(slot)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_slots": 0}, {"q": 0.0}, {"r": np.nan}, {"p02": -1.0}, {"q": [1.0, 2.0, 3.0]}, {"scale": 0},
        {"periods_s": (60, 300)}, {"periods_s": (60, 90, 900)}, {"periods_s": (300, 60, 900)},
        {"open_ns": 5, "close_ns": S}, {"open_ns": 0, "close_ns": S + 1}, {"open_ns": S, "close_ns": S},
        {"open_ns": -S},
    ],
)  # fmt: skip
def test_nonsense_is_refused(bad):
    with pytest.raises(ValueError):
        Kernels(**({"n_slots": 2} | bad))


def test_wrong_buffers_are_refused():
    kernels = Kernels(2)
    ticks, rows, bars = np.zeros(4, TICK), np.zeros(4, KERNEL_ROW), np.zeros(16, BAR)
    assert kernels.run(ticks, 0, rows, bars) == 0
    for arguments in (
        (ticks, 5, rows, bars),
        (ticks, 4, rows[:3], bars),
        (ticks, 4, rows, bars[:15]),
        (rows, 1, rows, bars),
        (ticks, 4, bars[:4].view(np.uint8), bars),
        (ticks[::2], 1, rows, bars),
    ):
        with pytest.raises(ValueError):
            kernels.run(*arguments)
    frozen = rows.copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError):
        kernels.run(ticks, 1, frozen, bars)
    with pytest.raises((ValueError, OverflowError)):
        kernels.run(ticks, -1, rows, bars)
    with pytest.raises(ValueError):
        kernels.flush(0, bars[:7])
    with pytest.raises(ValueError):
        kernels.restore(np.zeros(3, kernels.snapshot().dtype))
    with pytest.raises(ValueError, match="token"):
        kernels.restore(Kernels(2, token=5).snapshot())
    with pytest.raises(ValueError):
        kalman2(np.ones(3), np.ones(2))
    with pytest.raises(ValueError):
        kalman2_step(np.ones(3), np.ones((4, 3)))
    with pytest.raises(ValueError):
        kalman2_step(np.ones(3, np.float32), np.ones((5, 3)))
    fixed = np.ones((5, 3))
    fixed.flags.writeable = False
    with pytest.raises(ValueError):
        kalman2_step(np.ones(3), fixed)


def test_a_stream_with_wrong_arrays_changes_nothing():
    state, out = np.zeros((2, 8)), np.zeros((3, 2))
    slots, z = np.array([0, 1, 2], np.uint32), np.ones(3)
    with pytest.raises(IndexError, match="slot 2 of 2"):
        kalman2_stream(slots, z, state, out)
    for arguments in (
        (slots.astype(np.int64), z, state, out),
        (slots[:2], z, state, out),
        (slots, z, state[:, :5], out),
        (slots, z, state, out[:2]),
        (slots, z[::-1], state, out),
    ):
        with pytest.raises(ValueError):
            kalman2_stream(*arguments)
    assert not state.any() and not out.any()
    kalman2_stream(slots[:0], z[:0], state, out[:0])


def test_series_with_real_steps_and_empty_ones():
    assert len(kalman1(np.zeros(0))) == 0
    price, velocity = kalman2(100 + 2.0 * np.arange(400) * 0.5, np.full(400, 0.5), x0=np.nan)
    assert abs(velocity[-1] - 2.0) < 1e-3 and abs(price[-1] - 499.0) < 0.05  # 2 per second
