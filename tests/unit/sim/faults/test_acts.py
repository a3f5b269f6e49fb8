"""Acts that change the market itself, and the instruments that a fault file names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sim_tools import NOW, TABLE, exchange_at

from kite_hft.sim.faults.acts import Acts, check, lock_rows
from kite_hft.sim.faults.schedule import FaultError, load_faults, parse_row
from kite_hft.sim.kite.stream import KiteStream
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.sim.server.hub import Hub

SECOND = 1_000_000_000


def acts() -> Acts:
    exchange = exchange_at()
    market = SyntheticMarket(TABLE, np.full(len(TABLE), 10_000_000), 1.0, 1, 0)
    hub = Hub(market, exchange.on_ticks, lambda slots: exchange.latest[slots], lambda: KiteStream(TABLE, 1))
    return Acts(exchange, None, hub)  # type: ignore[arg-type]


def test_a_locked_book_has_one_side_at_the_limit() -> None:
    rows = exchange_at().latest[:1].copy()
    up, down = rows.copy(), rows.copy()
    lock_rows(up, "upper", 12_000, 5)
    lock_rows(down, "lower", 8_000, 5)
    assert (up["last_px"][0], up["bid_px"][0], up["high_px"][0]) == (12_000, 12_000, 12_000)
    assert up["bid_px_deep"][0].tolist() == [11_995, 11_990, 11_985, 11_980]
    assert (down["last_px"][0], down["ask_px"][0]) == (8_000, 8_000)
    assert down["ask_px_deep"][0].tolist() == [8_005, 8_010, 8_015, 8_020]
    for name in ("px", "px_deep", "qty", "orders"):
        assert not up[f"ask_{name}"].any() and not down[f"bid_{name}"].any()


def test_the_hub_shows_what_the_exchange_makes_of_the_market() -> None:
    deeds = acts()
    assert deeds.hub.alter is None
    before = int(deeds.exchange.latest[0]["close_px"])
    deeds.do(parse_row({"kind": "ex_date_close", "instrument": "NSE:SBIN"}, "row"), NOW)
    lock = deeds.do(
        parse_row({"kind": "circuit_lock", "instrument": "NSE:SBIN", "side": "lower"}, "row"), NOW
    )
    assert deeds.hub.alter is not None and lock is not None and lock.undo is not None
    ticks = deeds.exchange.latest[:2].copy()
    ticks["close_px"], ticks["last_px"] = 777, 999
    shown = deeds.hub.alter(ticks)
    assert ticks["close_px"].tolist() == [777, 777]  # what came from the source is left alone
    assert abs(int(shown["close_px"][0]) - before // 2) <= 5 and shown["close_px"][1] == 777
    assert (shown["last_px"][0], shown["last_px"][1]) == (deeds.exchange.band(0)[0], 999)
    lock.undo(NOW)
    assert deeds.hub.alter(ticks)["last_px"].tolist() == [999, 999]


def test_the_example_names_instruments_of_the_synthetic_market() -> None:
    path = Path(__file__).resolve().parents[4] / "config/faults/bad_day.yaml"
    check(load_faults(path), default_instruments(10, 1)[0], str(path))


def test_acts_that_find_nothing_wait() -> None:
    deeds = acts()
    assert deeds.do(parse_row({"kind": "rms_order"}, "row"), NOW) is None
    unknown = parse_row({"kind": "circuit_lock", "instrument": "NFO:SIMCE"}, "row")
    assert deeds.do(unknown, NOW) is None  # no close known, so no band
    halt = parse_row({"kind": "market_halt"}, "row")
    first = deeds.do(halt, NOW)
    assert first is not None and first.undo is not None and deeds.hub.halted
    assert deeds.do(halt, NOW) is None
    first.undo(NOW + SECOND)
    assert not deeds.hub.halted and not deeds.exchange.halted


@pytest.mark.parametrize("key", ["NSE:NOSUCH", "NSE:NIFTY 50", "SBIN"])
def test_a_wrong_instrument_is_named_with_one_that_is_there(key: str) -> None:
    rows = [parse_row(r, "row") for r in ({"kind": "drop"}, {"kind": "ex_date_close", "instrument": key})]
    with pytest.raises(FaultError) as error:
        check(rows, TABLE, "day.yaml")
    assert str(error.value).startswith("day.yaml, row 2 (ex_date_close):") and "NSE:SBIN" in str(error.value)
    check([parse_row({"kind": "rms_order"}, "row")], TABLE, "day.yaml")
