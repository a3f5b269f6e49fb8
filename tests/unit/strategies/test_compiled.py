"""Compiled strategies: the cache, the bounds, the errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kite_hft.layout import BAR, INTENT, ORDER_EVENT, TICK, IntentKind, OrderStatus
from kite_hft.memory.recording import ROW
from kite_hft.strategies.compiled import CompiledStrategy, CompiledStrategyError, addresses_of, load
from kite_hft.strategies.hosts import CompiledHost, new_batch
from kite_hft.strategies.kalman_simple import KalmanSimpleCompiled

SRC = Path(__file__).resolve().parents[3] / "src"


def eager_on_tick(tick, row, state, position, params, out):
    """Asks for more than it may: as many as `wanted`, most of them on its own slot."""
    state.ticks += 1
    for j in range(min(params.wanted, 4)):
        out[j].kind = 1
        out[j].qty = 10 * state.ticks + j
    if params.wanted > 1:
        out[1].slot = 0
    return params.wanted


def eager_on_order(event, state, position):
    state.events += 1
    state.last_status = event.status
    state.last_seq = event.strategy_seq
    state.last_slot = event.slot


class Eager(CompiledStrategy):
    name = "eager"
    PARAMS = np.dtype([("wanted", "<i8")])
    STATE = np.dtype(
        [
            ("ticks", "<i8"),
            ("events", "<i8"),
            ("last_status", "<i8"),
            ("last_seq", "<u8"),
            ("last_slot", "<i8"),
        ]
    )
    on_tick = staticmethod(eager_on_tick)
    on_order = staticmethod(eager_on_order)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numba")
    folder.chmod(0o700)
    return folder


def host_of(strategy, cache_dir, slots=None):
    batch = new_batch(8, np.arange(3, dtype=np.uint32), np.full(3, 100.0))
    host = CompiledHost(strategy, 5, batch, slots, cache_dir=cache_dir)
    batch.ticks["slot"] = [0, 1, 2, 3, 1, 1, 1, 1]
    batch.ticks["seq"] = np.arange(8) + 100
    batch.ticks["last_px"] = 777
    batch.rows["tick_no"] = [1, 1, 1, 0, 0, 2, 3, 4]
    return host


def test_intents_bear_what_the_loop_knows(cache_dir):
    host = host_of(Eager(wanted=2), cache_dir, slots=[1, 2])
    host.outbox.begin(100)
    host.run(6)
    # Ticks 1, 2 and 5: slot 0 is not subscribed, slot 3 unknown, tick 4 has no price.
    made = host.outbox.records[: host.outbox.n]
    assert made["slot"].tolist() == [1, 0, 2, 0, 1, 0]
    assert made["strategy_seq"].tolist() == [1, 2, 3, 4, 5, 6]
    assert made["tick_seq"].tolist() == [101, 101, 102, 102, 105, 105]
    assert made["ref_px"].tolist() == [777, 0] * 3
    assert set(made["strategy"].tolist()) == {5} and set(made["kind"].tolist()) == {IntentKind.PLACE}
    assert host.outbox.tick_index[:6].tolist() == [1, 1, 2, 2, 5, 5]
    host.outbox.begin(100)
    host.run(0)
    assert host.outbox.n == 0 and host.outbox.next_seq == 7


def test_more_than_four_are_cut_and_more_than_fit_refused(cache_dir):
    host = host_of(Eager(wanted=9), cache_dir, slots=[2])
    host.outbox.begin(3)
    guard = host.outbox.records[3 + 8 :].tobytes()
    host.run(8)
    assert (host.outbox.n, host.outbox.refused, host.outbox.next_seq) == (3, 1, 4)
    state = host.states[2]
    assert (state["events"], state["last_status"], state["last_seq"]) == (1, OrderStatus.REFUSED, 4)
    assert host.outbox.records[3 + 8 :].tobytes() == guard
    host.new_session()
    assert not host.states["ticks"].any()


def test_each_refusal_names_its_own_slot(cache_dir):
    host = host_of(Eager(wanted=1), cache_dir, slots=[1, 2])
    host.outbox.begin(0)
    host.run(3)
    assert host.outbox.refused == 2 and host.states["last_slot"].tolist() == [0, 1, 2]


def test_compact_rows_in_place_and_without_kernels(cache_dir):
    """The same decisions on a tick's first 64 bytes, in the batch and elsewhere."""
    tokens, scales = np.arange(3, dtype=np.uint32), np.full(3, 100.0)
    host = CompiledHost(Eager(wanted=1), 5, new_batch(8, tokens, scales, ROW), [1, 2], cache_dir=cache_dir)
    ticks = np.zeros(12, ROW)
    ticks["slot"] = [0, 1, 2, 3] * 3
    ticks["seq"] = np.arange(12) + 100
    ticks["last_px"] = 777
    ticks["last_px"][5] = 0  # never traded
    host.outbox.begin(100)
    host.run_without_kernels(ticks)
    assert host.outbox.records["tick_seq"][: host.outbox.n].tolist() == [101, 102, 106, 109, 110]
    assert host.outbox.records["ref_px"][: host.outbox.n].tolist() == [777] * 5
    with pytest.raises(ValueError, match="records"):
        host.run_without_kernels(np.zeros(2, TICK))
    with pytest.raises(ValueError, match="records"):
        host.run_without_kernels(ticks[::2])

    def deep(tick, row, state, position, params, out):
        return tick.bid_qty[0]

    class Deep(Eager):
        on_tick = staticmethod(deep)

    load(Deep(wanted=0), cache_dir)
    with pytest.raises(CompiledStrategyError, match="bid_qty"):
        load(Deep(wanted=0), cache_dir, ROW)


def test_without_kernels_rows_are_blank(cache_dir):
    def look(tick, row, state, position, params, out):
        state.ticks += 1
        if np.isnan(row.rel_diff) and np.isnan(row.velocity2) and row.closed_mask == 0:
            state.events += row.tick_no
        return 0

    class Look(Eager):
        on_tick = staticmethod(look)

    host = host_of(Look(wanted=0), cache_dir)
    ticks = np.zeros(5, TICK)
    ticks["last_px"] = 1
    host.run_without_kernels(ticks)
    assert host.states["ticks"][0] == host.states["events"][0] == 5


def test_events_set_the_position(cache_dir):
    host = host_of(Eager(wanted=0), cache_dir)
    events = np.zeros(3, ORDER_EVENT)
    events["strategy"], events["slot"], events["product"] = [5, 5, 6], [2, 9, 2], [3, 3, 3]
    events["position"], events["strategy_seq"] = [40, 1, 2], [8, 9, 10]
    assert host.events(events, 3) == 1
    assert host.positions["qty"].tolist() == [0, 0, 40] and host.states["last_seq"][2] == 8


def test_a_second_process_compiles_nothing(tmp_path):
    cache = tmp_path / "cache"
    code = (
        "import sys; from pathlib import Path\n"
        "import kite_hft.strategies.hosts, kite_hft.strategies.kalman_simple as k\n"
        "assert 'numba' not in sys.modules\n"
        "from kite_hft.strategies.compiled import load\n"
        "loop = load(k.KalmanSimpleCompiled(threshold=float(sys.argv[2])), Path(sys.argv[1]))\n"
        "print(loop.compilations, loop.cache_hits)\n"
    )
    said = []
    for threshold in ("0.001", "0.002"):  # parameters are data: no new code
        run = subprocess.run(
            [sys.executable, "-c", code, str(cache), threshold],
            env=os.environ | {"PYTHONPATH": str(SRC)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        said.append(run.stdout.split())
    assert said == [["2", "0"], ["0", "2"]]
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_changed_constant_is_new_code(cache_dir):
    def variant(limit):
        def on_tick(tick, row, state, position, params, out):
            return 0 if state.ticks < limit else 1

        return on_tick

    class Three(Eager):
        on_tick = staticmethod(variant(3))

    class Four(Eager):
        on_tick = staticmethod(variant(4))

    names = [load(s(wanted=0), cache_dir).run_ticks.py_func.__module__ for s in (Eager, Three, Four)]
    assert len(set(names)) == 3


def test_refusals(cache_dir, tmp_path):
    with pytest.raises(CompiledStrategyError, match="no parameter"):
        Eager(amount=3)
    with pytest.raises(ValueError, match="order_type"):
        KalmanSimpleCompiled(order_type="ICEBERG")
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    with pytest.raises(CompiledStrategyError, match="0700"):
        load(Eager(wanted=0), open_to_all)

    def on_tick(tick, row, state, position, params, out):
        return undefined_name  # noqa: F821

    class Broken(Eager):
        pass

    Broken.on_tick = staticmethod(on_tick)
    with pytest.raises(CompiledStrategyError, match="cannot be compiled"):
        load(Broken(wanted=0), cache_dir)
    with pytest.raises(CompiledStrategyError, match="contiguous"):
        addresses_of(np.zeros(4, BAR)[::2], *[np.zeros(1, INTENT)] * 9)


def protects_on_tick(tick, row, state, position, params, out):
    """The example at the head of compiled.py."""
    if position.qty > 0 and state.protected == 0:
        out[0].kind = 5
        out[0].product = 3
        out[0].trigger_px = tick.last_px - params.stop_px
        out[0].trail_px, out[0].step_px = params.stop_px, params.step_px
        state.protected = 1
        return 1
    return 0


def protects_on_order(event, state, position):
    if position.qty == 0:
        state.protected = 0


class Protects(CompiledStrategy):
    name = "protects"
    PARAMS = np.dtype([("stop_px", "<i4"), ("step_px", "<i4")])
    STATE = np.dtype([("protected", "<i8")])
    on_tick = staticmethod(protects_on_tick)
    on_order = staticmethod(protects_on_order)


def test_a_compiled_strategy_asks_for_exits(cache_dir):
    host = host_of(Protects(stop_px=50, step_px=10), cache_dir)
    host.positions["qty"][1] = 5
    host.outbox.begin(10)
    host.run(8)
    (made,) = host.outbox.records[: host.outbox.n]
    words = ("kind", "slot", "product", "trigger_px", "trail_px", "step_px", "strategy_seq")
    assert [int(made[name]) for name in words] == [IntentKind.EXITS, 1, 3, 727, 50, 10, 1]
