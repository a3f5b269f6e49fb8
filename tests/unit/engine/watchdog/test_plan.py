"""What the watchdog gets to know: phases, classes, the market's time, and no model in it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kite_hft.engine.watchdog.plan import market_offset_ns, plain_facts
from kite_hft.engine.watchdog.process import facts_of
from kite_hft.sessions import ist_midnight_ns, seconds_of_day
from kite_hft.settings import Settings, load_yaml
from kite_hft.trading.exits.protection import Facts, Held, Leg, Resting, Trigger, covers
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import market_rules

S = 1_000_000_000
DAY, EVE = dt.date(2026, 11, 20), dt.date(2026, 11, 19)
NOON = ist_midnight_ns(DAY) + 12 * 3600 * S
RULES = market_rules(load_yaml(Path("config/rules/market_2026-08-03.yaml")), DAY)


def settings(**parts: object) -> Settings:
    trading = {"calendar": Path("config/calendar/india.yaml"), **dict(parts.pop("trading", {}))}  # type: ignore[call-overload]
    return Settings.model_validate({"trading": trading, **parts})


def table() -> InstrumentTable:
    rows = [("SBIN", "NSE", "EQ", ""), ("SMALL", "NSE", "EQ", ""), ("SBIN26DECFUT", "NFO", "FUT", "SBIN")]
    return InstrumentTable(
        tuple(
            Instrument(slot, 256 * (slot + 1) + 1, slot, symbol, exchange, exchange, kind, 5, 1, name=name)
            for slot, (symbol, exchange, kind, name) in enumerate(rows)
        )
    )


def test_facts_travel_as_json_and_come_back() -> None:
    plain = plain_facts(settings(), table(), RULES, DAY, always_open=False) | {"closing_ns": 5}
    facts = facts_of(json.loads(json.dumps(plain)))
    assert facts.cas == {"NSE:SBIN"} and facts.others == {"NSE:SMALL"} and facts.closing_ns == 5
    clock = ist_midnight_ns(DAY) + seconds_of_day("15:16") * S
    stops = [Resting(key, "MIS", "SELL", "SL", "TRIGGER PENDING", 1) for key in ("NSE:SBIN", "NSE:SMALL")]
    found = covers([Held(s.key, "MIS", 1, 10.0) for s in stops], stops, [], facts, clock, 0)
    assert {cover.held.key: cover.naked for cover in found} == {"NSE:SBIN": 1, "NSE:SMALL": 0}
    assert {c.held.key: c.square_off for c in found} == {"NSE:SBIN": "15:08", "NSE:SMALL": "15:20"}


def shares_only() -> InstrumentTable:
    return InstrumentTable((Instrument(0, 257, 0, "MARUTI", "NSE", "NSE", "EQ", 5, 1),))


def test_a_share_of_a_real_exchange_takes_part_in_the_auction_unless_it_is_known_not_to() -> None:
    live = settings(mode="live", account="AB1234", broker="kite")
    facts = facts_of(plain_facts(live, shares_only(), RULES, DAY, always_open=False) | {"closing_ns": 0})
    assert not facts.others
    clock = ist_midnight_ns(DAY) + seconds_of_day("15:16") * S
    gtt = Trigger("NSE:MARUTI", "active", "single", (9.0,), 10.0, (Leg("SELL", "CNC", 4),))
    (cover,) = covers([Held("NSE:MARUTI", "CNC", 4, 10.0)], [], [gtt], facts, clock, 0)
    assert cover.naked == 4 and "GTT 4 (does nothing in this phase)" in cover.words()
    assert facts.square_off(Held("NSE:MARUTI", "MIS", 4, 10.0)) == "15:08"
    ours = facts_of(plain_facts(settings(), shares_only(), RULES, DAY, always_open=False) | {"closing_ns": 0})
    assert ours.others == {"NSE:MARUTI"}  # a simulator lists nothing but the table


def test_hours_of_the_configuration_bind_shares_of_the_auction_too() -> None:
    live = settings(mode="live", trading={"market_start": "09:15", "market_end": "15:20"})
    facts = facts_of(plain_facts(live, shares_only(), RULES, DAY, always_open=False) | {"closing_ns": 0})
    after = ist_midnight_ns(DAY) + seconds_of_day("15:21") * S
    (cover,) = covers([Held("NSE:MARUTI", "MIS", 4, 10.0)], [], [], facts, after, 0)
    assert cover.phase == "closed" and cover.square_off == "15:08"


def test_contracts_that_settle_in_shares_are_named_on_the_days_on_which_they_have_to_go() -> None:
    future = replace(table().rows[2], expiry="2026-11-26")
    rows = InstrumentTable((*table().rows[:2], future))

    def of(day: dt.date, always_open: bool = False) -> Facts:
        rules = market_rules(load_yaml(Path("config/rules/market_2026-08-03.yaml")), day)
        plain = plain_facts(settings(), rows, rules, day, always_open=always_open) | {"closing_ns": 0}
        return facts_of(json.loads(json.dumps(plain)))

    eve = dt.date(2026, 11, 25)
    clock = ist_midnight_ns(eve) + seconds_of_day("09:30") * S
    assert of(eve).settling == {"NFO:SBIN26DECFUT": ("2026-11-26", "15:20", clock)}
    assert not of(DAY).settling and not of(eve, always_open=True).settling
    held = Held("NFO:SBIN26DECFUT", "NRML", 75, 10.0)
    (cover,) = covers([held], [], [], of(eve), clock, 0)
    assert "settles in shares on 2026-11-26, to go by 15:20" in cover.words()
    (early,) = covers([held], [], [], of(eve), clock - 1, 0)
    (intraday,) = covers([held._replace(product="MIS")], [], [], of(eve), clock, 0)
    assert not early.settles and not intraday.settles


def test_an_always_open_market_has_no_phases_and_no_square_off() -> None:
    plain = plain_facts(settings(), table(), RULES, DAY, always_open=True)
    assert plain["phases"] == [] and plain["square_offs"] == []


def test_hours_of_the_configuration_replace_the_calendar() -> None:
    chosen = settings(trading={"market_start": "10:00", "market_end": "11:00"})
    facts = facts_of(plain_facts(chosen, table(), RULES, DAY, always_open=False) | {"closing_ns": 0})
    (phase,) = facts.phases["NSE", False]
    assert (phase.end_ns - phase.start_ns) == 3600 * S and not facts.takes_part("NSE:SMALL")


@pytest.mark.parametrize(
    ("parts", "offset_ns"),
    [
        ({}, 0),
        ({"trading": {"date": DAY}}, 0),
        ({"trading": {"date": EVE}}, None),
        ({"trading": {"date": EVE}, "simulator": {"exchange_time": "2026-11-19T15:00:00"}}, None),
        (
            {"trading": {"date": EVE},
             "simulator": {"exchange_time": "2026-11-19T15:00:00", "hours": "exchange"}},
            -21 * 3600 * S,
        ),
    ],
)  # fmt: skip
def test_the_clock_of_the_market(parts: dict[str, object], offset_ns: int | None) -> None:
    assert market_offset_ns(settings(**parts), NOON) == offset_ns
