"""The compiled kernels against their slow twins, bit for bit, on streams that hypothesis makes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import bars as slow_bars
from reference.kalman import Kalman1, Kalman2

from kite_hft import _kalman, _kernels
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import BAR, KERNEL_ROW, TICK, TickFlag
from kite_hft.memory.recording import ROW

OPEN_NS, CLOSE_NS = 1_000_000 * 10**9 + 800 * 10**9, 1_000_000 * 10**9 + 3_800 * 10**9
SLOTS = 4

ticks_of = st.lists(
    st.tuples(
        st.integers(0, SLOTS),  # one more than there are
        st.integers(-2, 400),  # price
        st.integers(-3, 40),  # step of the clock, seconds
        st.one_of(st.integers(-5, 60), st.just(-(10**5))),  # step of the day volume; it begins anew
        st.booleans(),  # carries a volume
        st.one_of(st.integers(-(10**9), 0), st.integers(1, 3 * 10**9)),  # step of recv_ns
        st.booleans(),  # carries exchange time
    ),
    min_size=1,
    max_size=150,
)
positive = st.floats(1e-6, 100.0)
params = st.fixed_dictionaries(
    {"q": positive, "r": positive, "p0": positive, "q2": positive, "r2": positive, "p02": positive}
)
starts = st.sampled_from([0.0, 123.25, math.nan])


def stream(steps: list[tuple[int, int, int, int, bool, int, bool]], begin_s: int = 700) -> np.ndarray:
    ticks = np.zeros(len(steps), TICK)
    second, volume, recv = 1_000_000 + begin_s, 1000, 10**12
    for tick, (slot, px, passed, traded, has_volume, read, stamped) in zip(ticks, steps, strict=True):
        second, volume, recv = second + passed, max(0, volume + traded), recv + read
        tick["slot"], tick["last_px"], tick["recv_ns"] = slot, px, recv
        tick["exch_ns"] = second * 10**9 if stamped else 0
        tick["volume"] = volume if has_volume else 0
        tick["flags"] = TickFlag.TRADE if has_volume else 0
    return ticks


def run(kernels: _kernels.Kernels, ticks: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rows, bars = np.zeros(len(ticks), KERNEL_ROW), []
    for i in range(0, len(ticks), batch):
        part = ticks[i : i + batch]
        out = np.zeros(4 * len(part), BAR)
        n = kernels.run(part, len(part), rows[i : i + len(part)], out)
        assert n == sum(int(mask).bit_count() for mask in rows["closed_mask"][i : i + len(part)])
        bars.append(out[:n])
    return rows, np.concatenate(bars)


@given(ticks_of, params, starts, st.booleans(), st.sampled_from([1, 100, 10_000_000]))
@settings(max_examples=150, deadline=None)
def test_filters(steps, chosen, x0, dt_seconds, scale):
    ticks = stream(steps)
    kernels = _kernels.Kernels(SLOTS, scale=scale, x0=x0, x02=x0, dt_seconds=dt_seconds, **chosen)
    rows, _ = run(kernels, ticks, 50)
    one = [Kalman1(chosen["q"], chosen["r"], chosen["p0"], x0) for _ in range(SLOTS)]
    two = [Kalman2(chosen["q2"], chosen["r2"], chosen["p02"], x0) for _ in range(SLOTS)]
    seen = [0] * SLOTS
    last = [0] * SLOTS
    for tick, row in zip(ticks, rows, strict=True):
        slot, px, recv = int(tick["slot"]), int(tick["last_px"]), int(tick["recv_ns"])
        if slot >= SLOTS or px <= 0:
            assert row["tick_no"] == 0 and np.isnan(row["estimate"]) and np.isnan(row["rel_diff"])
            continue
        z = px / scale
        dt, q = 1.0, chosen["q2"]
        if dt_seconds:
            passed = recv - last[slot] if seen[slot] else 0
            dt = passed / 1e9 if passed > 0 else 0.0
            q *= dt
            last[slot] = recv if passed > 0 or not seen[slot] else last[slot]
        seen[slot] += 1
        estimate = one[slot].update(z)
        price, velocity = two[slot].update(z, dt, q)
        expected = (estimate, price, velocity, (estimate - z) / z, seen[slot])
        found = [row[n].item() for n in ("estimate", "estimate2", "velocity2", "rel_diff", "tick_no")]
        assert np.array(found).tobytes() == np.array(expected).tobytes()


@given(ticks_of)
@settings(max_examples=300, deadline=None)
def test_bars(steps):
    ticks = stream(steps)
    offset = 1_000_900 * 10**9 - 10**12
    kernels = _kernels.Kernels(SLOTS, open_ns=OPEN_NS, close_ns=CLOSE_NS, epoch_offset_ns=offset)
    rows, closed = run(kernels, ticks, 40)
    rest = np.zeros(4 * SLOTS, BAR)
    closed = np.concatenate([closed, rest[: kernels.flush(CLOSE_NS, rest)]])
    late = 0
    for slot in range(SLOTS):
        mine = ticks[ticks["slot"] == slot]
        messages = [
            slow_bars.Message(
                int(t["exch_ns"]) or int(t["recv_ns"]) + offset,
                int(t["last_px"]),
                int(t["volume"]) if t["flags"] else None,
            )
            for t in mine
        ]
        taken, old = slow_bars.counted(messages, OPEN_NS, CLOSE_NS)
        late += old
        for period in (1, 60, 300, 900):
            fields = ["start_ns", "open_px", "high_px", "low_px", "close_px", "volume", "ticks"]
            found = closed[(closed["slot"] == slot) & (closed["period_s"] == period)][fields].tolist()
            assert [slow_bars.Bar(*row) for row in found] == slow_bars.bars(taken, period, OPEN_NS)
    assert kernels.late == late == rows["late"].sum()
    known = ticks[ticks["slot"] < SLOTS]
    assert kernels.checksum == tick_checksum(
        np.zeros(len(known), np.uint32), known["last_px"], known["volume"]
    )


@given(ticks_of, st.integers(1, 149))
@settings(max_examples=60, deadline=None)
def test_batches_and_snapshots_are_invisible(steps, cut):
    ticks = stream(steps)
    make = lambda: _kernels.Kernels(SLOTS, open_ns=OPEN_NS, close_ns=CLOSE_NS, dt_seconds=True)  # noqa: E731
    rows, bars = run(make(), ticks, len(ticks))
    for size in (1, 7):
        again, bars_again = run(make(), ticks, size)
        assert bars.tobytes() == bars_again.tobytes()
        # bar_index counts inside a batch: the only field that may differ.
        again["bar_index"] = rows["bar_index"]
        assert rows.tobytes() == again.tobytes()
    first, second = make(), make()
    head, tail = ticks[:cut], ticks[cut:]
    if len(tail):
        run(first, head, 10)
        second.restore(first.snapshot())
        rows_tail, bars_tail = run(second, tail, 10)
        assert rows_tail["estimate2"].tobytes() == rows["estimate2"][cut:].tobytes()
        assert bars_tail.tobytes() == bars[len(bars) - len(bars_tail) :].tobytes()


@given(st.lists(st.floats(1, 1e5), min_size=1, max_size=60), params)
@settings(max_examples=50, deadline=None)
def test_research_functions(prices, chosen):
    z = np.array(prices)
    one, two = (
        Kalman1(chosen["q"], chosen["r"], chosen["p0"]),
        Kalman2(chosen["q2"], chosen["r2"], chosen["p02"]),
    )
    expected = np.array([one.update(p) for p in prices])
    found = _kalman.kalman1(z, q=chosen["q"], r=chosen["r"], p0=chosen["p0"])
    assert found.tobytes() == expected.tobytes()
    pairs = np.array([two.update(p) for p in prices])
    price, velocity = _kalman.kalman2(z, q=chosen["q2"], r=chosen["r2"], p0=chosen["p02"])
    assert price.tobytes() == pairs[:, 0].tobytes() and velocity.tobytes() == pairs[:, 1].tobytes()
    # Whole vectors: every lane, and the remainder behind the last full one, is one filter.
    state1, state2 = np.zeros((2, len(z))), np.zeros((5, len(z)))
    state1[1], state2[2], state2[4] = chosen["p0"], chosen["p02"], chosen["p02"]
    for _ in range(3):
        _kalman.kalman1_step(z, state1, chosen["q"], chosen["r"])
        _kalman.kalman2_step(z, state2, chosen["q2"], chosen["r2"])
    for i, price in enumerate(prices):
        one, two = (
            Kalman1(chosen["q"], chosen["r"], chosen["p0"]),
            Kalman2(chosen["q2"], chosen["r2"], chosen["p02"]),
        )
        for _ in range(3):
            one.update(price)
            two.update(price)
        assert state1[:, i].tolist() == [one.x, one.p]
        assert state2[:, i].tolist() == [two.x, two.v, two.p00, two.p01, two.p11]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(1, 1e5)), min_size=1, max_size=80), params)
@settings(max_examples=50, deadline=None)
def test_a_mixed_stream_is_one_filter_for_each_slot(measured, chosen):
    slots, z = np.array([m[0] for m in measured], np.uint32), np.array([m[1] for m in measured])
    state, out = np.zeros((4, 8)), np.zeros((len(z), 2))
    state[:, 2] = state[:, 4] = chosen["p02"]
    cut = len(z) // 2
    for part in (slice(0, cut), slice(cut, len(z))):
        _kalman.kalman2_stream(slots[part], z[part], state, out[part], chosen["q2"], chosen["r2"])
    twins = [Kalman2(chosen["q2"], chosen["r2"], chosen["p02"]) for _ in range(4)]
    expected = np.array([twins[slot].update(price) for slot, price in measured])
    assert out.tobytes() == expected.tobytes()
    assert state[:, :5].tolist() == [[t.x, t.v, t.p00, t.p01, t.p11] for t in twins]


@given(ticks_of)
@settings(max_examples=60, deadline=None)
def test_compact_rows_and_bars_alone_change_nothing(steps):
    ticks = stream(steps)
    hot = np.ascontiguousarray(ticks.view(np.uint8).reshape(len(ticks), -1)[:, : ROW.itemsize])
    rows, bars = run(_kernels.Kernels(SLOTS), ticks, 7)
    rows_compact, bars_compact = run(_kernels.Kernels(SLOTS), hot.view(ROW).reshape(-1), 7)
    assert rows_compact.tobytes() == rows.tobytes() and bars_compact.tobytes() == bars.tobytes()
    alone = _kernels.Kernels(SLOTS, filters=False)
    rows_alone, bars_alone = run(alone, ticks, 7)
    assert bars_alone.tobytes() == bars.tobytes()
    for name in ("estimate", "estimate2", "velocity2", "rel_diff"):
        assert np.isnan(rows_alone[name]).all()
    for name in ("tick_no", "closed_mask", "bar_index", "late", "time_ns"):
        assert rows_alone[name].tobytes() == rows[name].tobytes()


def test_two_state_form_is_the_textbook_one():
    """Closed form against matrices (F P F' + Q, Joseph-free update): same numbers to rounding."""
    random = np.random.default_rng(3)
    z = 100 + np.cumsum(random.normal(0, 0.1, 500))
    f, h = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    x, p = np.zeros((2, 1)), np.eye(2)
    found, speed = _kalman.kalman2(z)
    for i, measured in enumerate(z):
        x, p = f @ x, f @ p @ f.T + np.eye(2) * 1e-4
        gain = p @ h.T / (h @ p @ h.T + 1e-2)
        x, p = x + gain * (measured - h @ x), (np.eye(2) - gain @ h) @ p
        assert abs(found[i] - x[0, 0]) < 1e-9 and abs(speed[i] - x[1, 0]) < 1e-9
