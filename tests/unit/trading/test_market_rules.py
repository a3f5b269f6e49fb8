"""The dated tables of config/rules/market_2026-08-03.yaml and what they answer."""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from sim_tools import COMMODITY, CURRENCY, EQUITY, INDEX, OPTION

from kite_hft.sessions import seconds_of_day
from kite_hft.settings import load_yaml
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.market_rules import MarketRulesError, market_rules
from kite_hft.units import NS_PER_S

DATA = load_yaml(Path("config/rules/market_2026-08-03.yaml"))
TODAY = dt.date(2026, 11, 20)
RULES = market_rules(DATA, TODAY)
BSE = replace(EQUITY, exchange="BSE")
FUTURE = replace(OPTION, kind="FUT", segment="NFO-FUT", symbol="SBINFUT", name="SBIN")
EMPTY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("what", "row", "forbidden"),
    [
        ("SL-M", EQUITY, False), ("SL-M", BSE, True), ("SL-M", FUTURE, False), ("SL-M", OPTION, True),
        ("SL", BSE, False), ("IOC", COMMODITY, True), ("IOC", EQUITY, False), ("CNC", OPTION, True),
        ("MTF", CURRENCY, True), ("NRML", EQUITY, True), ("MIS", OPTION, False), ("DISCLOSED", OPTION, True),
        ("co", OPTION, True), ("co", EQUITY, False), ("auction", COMMODITY, True),
    ],
)  # fmt: skip
def test_forbidden(what: str, row: Instrument, forbidden: bool) -> None:
    assert RULES.forbids(what, row) is forbidden


def test_recorded_days_run_under_their_own_rules() -> None:
    old = market_rules(DATA, dt.date(2025, 12, 15))
    assert not old.forbids("IOC", COMMODITY) and old.forbids("SL-M", OPTION)
    assert (old.limit("orders_per_day"), RULES.limit("orders_per_day")) == (3000, 5000)
    assert (old.limit("protection_required"), RULES.limit("protection_required")) == (0, 1)
    assert old.closing_auction(EQUITY, frozenset(["SBIN"])) is None
    assert old.auto_protection(EQUITY, 10_000) == 1.0 and old.gtt == RULES.gtt


@pytest.mark.parametrize(
    ("row", "px", "percent"),
    [
        (EQUITY, 99_99, 2.0), (EQUITY, 100_00, 1.0), (EQUITY, 499_95, 1.0), (EQUITY, 500_00, 1.0),
        (EQUITY, 500_05, 0.5),
        (OPTION, 9_95, 5.0), (OPTION, 10_00, 3.0), (OPTION, 99_95, 3.0), (OPTION, 100_00, 2.0),
        (OPTION, 500_00, 2.0), (OPTION, 500_05, 1.0), (CURRENCY, 84 * 10**7, 2.0),
    ],
)  # fmt: skip
def test_automatic_protection(row: Instrument, px: int, percent: float) -> None:
    assert RULES.auto_protection(row, px) == percent


def test_freeze_and_multiplier_come_from_the_master_first() -> None:
    assert (RULES.freeze(OPTION), RULES.freeze(replace(OPTION, freeze_quantity=900))) == (1800, 900)
    assert RULES.freeze(replace(OPTION, freeze_quantity=None)) == 1800
    assert (RULES.freeze(EQUITY), RULES.freeze(CURRENCY), RULES.freeze(COMMODITY)) == (0, 10_000, 100)
    assert (RULES.multiplier(CURRENCY), RULES.multiplier(replace(CURRENCY, multiplier=None))) == (1000, 1)


def test_circuit_bands() -> None:
    assert RULES.circuit(EQUITY, 10_003) == (8_005, 12_000)
    assert RULES.circuit(OPTION, 10_000) == (5, 110_000)
    assert RULES.circuit(EQUITY, 0) == (0, 0)


def test_who_takes_part_in_the_closing_auction() -> None:
    auction = RULES.closing_auction(EQUITY, EMPTY)  # by name
    assert auction is not None and auction.band_percent == 3.0
    other = replace(EQUITY, symbol="OTHER")
    assert RULES.closing_auction(other, EMPTY) is None
    assert RULES.closing_auction(other, frozenset(["OTHER"])) is auction  # it has derivatives
    assert RULES.closing_auction(replace(BSE, symbol="OTHER"), frozenset(["OTHER"])) is auction
    assert RULES.closing_auction(FUTURE, frozenset(["SBINFUT"])) is None
    assert RULES.closing_auction(INDEX, frozenset(["NIFTY 50"])) is None


def test_square_off_times_by_class() -> None:
    times = {}
    for row, cas in ((EQUITY, True), (EQUITY, False), (OPTION, False), (CURRENCY, False), (COMMODITY, False)):
        rule = RULES.square_off(row, cas)
        assert rule is not None and rule.fee_paise == 5_000
        times[row.exchange, cas] = str(dt.timedelta(seconds=rule.at_ns // 10**9))
    assert list(times.values()) == ["15:08:00", "15:20:00", "15:25:00", "16:45:00", "23:05:00"]


def test_late_bands_spare_index_futures() -> None:
    (late,) = RULES.late_bands
    assert late.covers(FUTURE) and not late.covers(OPTION)
    assert not late.covers(replace(FUTURE, name="NIFTY"))


def test_restricted_lists_by_series_name_and_underlying() -> None:
    assert RULES.closed(EQUITY) == {}
    assert set(RULES.closed(replace(EQUITY, symbol="SBIN-BE"))) == {"MIS", "MTF", "co", "btst"}
    banned = RULES.with_list("fo_ban", ["SBIN"]).with_list("suspended", ["NSE:GONE"])
    assert banned.closed(FUTURE) == {"entry": "fo_ban"}
    assert banned.closed(EQUITY) == {}  # the ban is of derivatives
    assert banned.closed(replace(EQUITY, symbol="GONE")) == {"all": "suspended"}
    with pytest.raises(MarketRulesError, match="no restricted list"):
        RULES.with_list("nonsense", [])


def test_the_newest_row_counts_and_one_that_has_ended_does_not() -> None:
    data = copy.deepcopy(DATA)
    row = {"name": "slices_max", "value": 20, "valid_from": TODAY, "source": "here", "confidence": "V"}
    data["limits"].insert(0, row)
    assert market_rules(data, TODAY).limit("slices_max") == 20
    assert market_rules(data, TODAY - dt.timedelta(days=1)).limit("slices_max") == 10
    data["limits"][0]["valid_to"] = TODAY
    assert market_rules(data, TODAY + dt.timedelta(days=1)).limit("slices_max") == 10


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda d: d.pop("gtt"), "missing: \\['gtt'\\]"),
        (lambda d: d.update(more=[]), "unknown: \\['more'\\]"),
        (lambda d: d["limits"][0].pop("source"), "table limits, row 1 has no source"),
        (lambda d: d["square_off"][0].update(at="noon"), "cannot be read"),
        (lambda d: d["limits"][3].pop("value"), "cannot be read"),
        (lambda d: d["gtt"].clear(), "table gtt has no row"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(spoil: object, text: str) -> None:
    data = copy.deepcopy(DATA)
    spoil(data)  # type: ignore[operator]
    with pytest.raises(MarketRulesError, match=text):
        market_rules(data, TODAY)


def test_a_file_is_a_mapping() -> None:
    with pytest.raises(MarketRulesError, match="mapping"):
        market_rules([], TODAY)


def test_every_row_has_a_source_and_a_confidence() -> None:
    rows = [row for table in DATA.values() if isinstance(table, list) for row in table]
    assert len(rows) > 40
    assert {row["confidence"] for row in rows} <= {"V", "K", "U"} and all(row["source"] for row in rows)


@pytest.mark.parametrize(
    ("row", "cas", "times"),
    [
        (EQUITY, True, ("14:55", "15:00", "15:08")), (EQUITY, False, ("15:00", "15:10", "15:15")),
        (OPTION, False, ("15:10", "15:15", "15:20")), (CURRENCY, False, ("16:30", "16:35", "16:40")),
        (COMMODITY, False, ("22:50", "22:55", "23:00")),
    ],
)  # fmt: skip
def test_how_our_own_day_ends(row: Instrument, cas: bool, times: tuple[str, ...]) -> None:
    end = RULES.day_end(row, cas)
    assert end is not None
    found = (end.entries_until_ns, end.close_from_ns, end.flat_by_ns)
    assert found == tuple(seconds_of_day(time) * 10**9 for time in times)
    square_off = RULES.square_off(row, cas)
    assert square_off is not None and end.flat_by_ns <= square_off.at_ns, "before the broker does it"
    assert market_rules(DATA, dt.date(2026, 7, 31)).day_end(EQUITY, True) is None


@pytest.mark.parametrize(
    ("row", "cas", "ours", "broker_s"),
    [
        (EQUITY, True, ("14:55", "15:00", "15:08"), "15:08"),
        (EQUITY, False, ("15:00", "15:05", "15:10"), "15:15"),
        (OPTION, False, ("15:00", "15:05", "15:10"), "15:20"),
        (CURRENCY, False, ("16:15", "16:20", "16:25"), "16:30"),
        (COMMODITY, False, ("22:35", "22:40", "22:45"), "22:50"),
    ],
)
def test_upstox_closes_earlier_and_so_do_we(
    row: Instrument, cas: bool, ours: tuple[str, ...], broker_s: str
) -> None:
    rules = market_rules(DATA, TODAY, "upstox")
    end, square_off = rules.day_end(row, cas), rules.square_off(row, cas)
    assert end is not None and square_off is not None
    found = (end.entries_until_ns, end.close_from_ns, end.flat_by_ns)
    assert found == tuple(seconds_of_day(time) * 10**9 for time in ours)
    assert square_off.at_ns == seconds_of_day(broker_s) * 10**9 >= end.flat_by_ns


def test_a_row_of_a_broker_counts_there_alone_and_before_a_newer_one_for_all() -> None:
    data = copy.deepcopy(DATA)
    words = {"name": "slices_max", "source": "here", "confidence": "V"}
    data["limits"].append(words | {"value": 25, "broker": "upstox", "valid_from": dt.date(2020, 1, 1)})
    data["limits"].append(words | {"value": 12, "valid_from": TODAY})
    found = {name: market_rules(data, TODAY, name).limit("slices_max") for name in ("", "kite", "upstox")}
    assert found == {"": 12, "kite": 12, "upstox": 25}
    assert market_rules(DATA, TODAY, "kite") == market_rules(DATA, TODAY)


def test_which_contracts_settle_in_shares() -> None:
    stock = replace(OPTION, kind="CE", name="SBIN")
    rule = RULES.expiry(stock)
    assert rule is not None and (rule.side, rule.no_entry_days, rule.exit_days) == (1, 4, 1)
    assert RULES.expiry(replace(stock, name="NIFTY")) is None
    future = RULES.expiry(replace(stock, kind="FUT"))
    assert future is not None and (future.no_entry_days, future.exit_days) == (-1, 1)
    times = (rule.warn_from_ns, rule.close_from_ns, rule.flat_by_ns)
    assert [at_ns // (60 * NS_PER_S) for at_ns in times] == [570, 910, 920]
    assert RULES.expiry(replace(stock, kind="FUT", name="NIFTY")) is None and RULES.expiry(COMMODITY) is None


def test_lists_that_come_anew_each_day() -> None:
    assert {r.name for r in RULES.restrictions if r.daily} == {"mis_blocked", "fo_ban"}
