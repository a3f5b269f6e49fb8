"""What strategies are told of their instruments, and what is said of a configuration before the start."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.market.hours import check_instruments, slot_facts
from kite_hft.engine.market.strategies import StrategyError
from kite_hft.settings import Settings, StrategySection, load_settings
from kite_hft.strategies.slots import NEVER_S
from kite_hft.trading.instruments import Instrument, InstrumentTable

H = 3600
NOW_NS = 1_795_150_800 * 10**9  # 2026-11-20 10:30 IST


def row(slot: int, symbol: str, exchange: str, kind: str = "EQ", **more: Any) -> Instrument:
    token = (1000 + slot) * 256 + {"NSE": 1, "NFO": 2, "BFO": 5, "MCX": 7}[exchange]
    fields = {"tick_px": 5, "lot_size": 1, "name": symbol, "multiplier": 1} | more
    return Instrument(slot, token, 1000 + slot, symbol, exchange, exchange, kind, **fields)


TABLE = InstrumentTable(
    (
        row(0, "INFY", "NSE"),  # in the closing auction
        row(1, "SMALLCAP", "NSE"),
        row(2, "SENSEX26NOVFUT", "BFO", "FUT", lot_size=20, freeze_quantity=100, upstox_key="BSE_FO|843110"),
        row(3, "GOLDM26DECFUT", "MCX", "FUT", tick_px=100),
    )
)


def settings(*sections: dict[str, Any], hours: str = "exchange", day: str = "2026-11-20") -> Settings:
    found = load_settings(Path("examples/kalman_ml.yaml"))
    return found.model_copy(
        update={
            "strategies": [StrategySection(**({"name": "kalman_ml"} | s)) for s in sections],
            "simulator": found.simulator.model_copy(update={"hours": hours}),
            "trading": found.trading.model_copy(update={"date": dt.date.fromisoformat(day)}),
        }
    )


def words(*sections: dict[str, Any], **options: Any) -> list[str]:
    return list(check_instruments(settings(*sections, **options), TABLE, NOW_NS))


def test_the_end_of_the_day_comes_from_calendar_and_rules() -> None:
    facts = slot_facts(settings(), TABLE, NOW_NS)
    assert facts.tick_px.tolist() == [5, 5, 5, 100]
    assert facts.market_until_s.tolist() == [15 * H + 900, 15 * H + 1800, 15 * H + 2400, 23 * H + 1800]
    assert facts.close_from_s.tolist() == [15 * H, 15 * H + 600, 15 * H + 900, 22 * H + 3300]


def test_before_the_closing_auction_all_shares_trade_to_the_close() -> None:
    facts = slot_facts(settings(day="2026-07-31"), TABLE, NOW_NS)
    assert facts.market_until_s.tolist()[:3] == [15 * H + 1800] * 3
    assert words({"instruments": ["NSE:INFY"], "params": {"product": "CNC"}}, day="2026-07-31") == []


def test_a_market_without_hours_has_no_end() -> None:
    facts = slot_facts(settings(hours="always"), TABLE, NOW_NS)
    assert set(facts.market_until_s.tolist()) == {NEVER_S}
    assert words({"instruments": ["NSE:INFY"]}, hours="always") == []


def test_where_1529_is_not_tradable_it_is_said() -> None:
    (line,) = words({"instruments": ["NSE:INFY"], "params": {"product": "CNC"}})
    assert line == (
        "WARNING: kalman_ml: 15:29:00 is not tradable for NSE:INFY: orders at market are taken until "
        "15:15:00 (closing auction or close); positions are closed from 15:00:00 instead"
    )
    assert words({"instruments": ["NSE:SMALLCAP"], "params": {"product": "CNC"}}) == []
    (line,) = words({"instruments": ["NSE:SMALLCAP"]})  # MIS: our own square-off is earlier
    assert "closed by the engine from 15:10:00, before flatten_at 15:29:00" in line
    assert words({"instruments": ["NSE:INFY"], "params": {"flatten_at": ""}}) == []
    assert words({"name": "probe", "form": "B"}) == []


def test_a_closed_day_has_no_end_to_warn_of() -> None:
    sunday = "2026-11-22"
    assert slot_facts(settings(day=sunday), TABLE, NOW_NS).market_until_s.tolist() == [0, 0, 0, 0]
    for product in ("CNC", "MIS"):
        assert words({"instruments": ["NSE:INFY"], "params": {"product": product}}, day=sunday) == []


@pytest.mark.parametrize("name", ["BFO:SENSEX26NOVFUT", "BSE_FO|843110"])
def test_a_quantity_is_whole_lots(name: str) -> None:
    section = {"instruments": [name], "params": {"quantity": 60, "product": "NRML"}}
    assert words(section) == []
    with pytest.raises(
        StrategyError, match="no multiple of the lot of BFO:SENSEX26NOVFUT, 20 today: set 40 or 60"
    ):
        words({"instruments": [name], "params": {"quantity": 50}})
    with pytest.raises(StrategyError, match=r"set 20$"):
        words({"instruments": [name], "params": {"quantity": 5}})
    (first, *_) = words({"instruments": "all", "params": {"quantity": 50, "flatten_at": ""}})
    assert "50 is no whole lot of BFO:SENSEX26NOVFUT" in first


def test_the_freeze_quantity_is_looked_at() -> None:
    section = {"instruments": ["BFO:SENSEX26NOVFUT"], "params": {"quantity": 600, "product": "NRML"}}
    assert words(section) == [
        "kalman_ml: 600 of BFO:SENSEX26NOVFUT exceeds the freeze quantity 100: 6 orders"
    ]
    section["params"] |= {"quantity": 1020}
    with pytest.raises(StrategyError, match="11 orders of 100 at most, 10 are allowed"):
        words(section)


def test_a_token_of_another_instrument_is_an_error() -> None:
    """The script had INSTRUMENT_KEY = "BSE_FO|843110" and INSTRUMENT_TOKEN = 55785."""
    section = {"instruments": ["BSE_FO|843110"], "params": {"quantity": 20, "product": "NRML"}}
    section["params"] |= {"instrument_token": 55785}
    with pytest.raises(StrategyError, match=r"55785 is not BSE_FO\|843110, whose exchange token is 1002"):
        words(section)
    for right in (1002, 1002 * 256 + 5):
        section["params"] |= {"instrument_token": right}
        assert words(section) == []
    with pytest.raises(StrategyError, match="belongs to one instrument, and it trades 4"):
        words({"instruments": "all", "params": {"instrument_token": 1002}})


def test_names_are_few() -> None:
    many = InstrumentTable(tuple(row(i, f"S{i}", "NSE") for i in range(9)))
    chosen = settings({"instruments": "all", "params": {"product": "MIS"}})
    (line,) = check_instruments(chosen, many, NOW_NS)
    assert "NSE:S0, NSE:S1, NSE:S2 and 6 more" in line
