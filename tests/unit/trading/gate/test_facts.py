"""The rules of a day as views of its instruments, and the watch over the clocks."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from orders_world import intent

from kite_hft.layout import IntentKind, OrderType, Product, Side, Validity
from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.settings import load_yaml
from kite_hft.trading.gate import risk
from kite_hft.trading.gate.facts import (
    DERIVATIVES,
    NEVER_NS,
    OPEN_VIEW,
    OPTIONS,
    AlwaysFresh,
    ClockWatch,
    Closing,
    DayRules,
    Facts,
    Holding,
    Settlement,
    Traffic,
    View,
    bits_of,
)
from kite_hft.trading.market_rules import market_rules
from kite_hft.verify.risk.bench import (
    FAR_OPTION,
    GROSS,
    METAL,
    OPTION,
    OTHER,
    SHARE,
    STOCK_OPTION,
    UNKNOWN,
    Bench,
    each_kind,
)

RULES = load_yaml(Path("config/rules/market_2026-08-03.yaml"))
CALENDAR = load_yaml(Path("config/calendar/india.yaml"))
FRIDAY = dt.date(2026, 11, 20)
S = 10**9


def at(time: str, day: dt.date = FRIDAY) -> int:
    return ist_midnight_ns(day) + seconds_of_day(time) * S


def rules(day: dt.date = FRIDAY, *, hours: bool = True, calendar: Any = CALENDAR, **more: Any) -> DayRules:
    return DayRules(each_kind(), market_rules(RULES, day), Phases(calendar) if hours else None, **more)


def test_a_view_holds_until_the_next_border() -> None:
    day = rules()
    view = day.view(SHARE, at("11:00"))
    assert view.phase == "continuous" and view.until_ns == at("14:55") and view.cut_off == ""
    assert day.view(SHARE, at("11:00")) is view and day.view(SHARE, at("14:54:59")) is view
    view = day.view(SHARE, at("14:55"))
    assert view.until_ns == at("15:15") and "14:55:00" in view.cut_off
    assert (
        day.view(SHARE, at("15:15")).phase == "close_pause" and day.view(SHARE, at("15:15")).phase_types == 0
    )
    assert day.view(SHARE, at("15:21")).phase_types == bits_of([OrderType.LIMIT, OrderType.MARKET])
    assert day.view(SHARE, at("11:00")).phase == "continuous", "the clock was set back"
    assert day.view(OTHER, at("14:55")).cut_off == "" and day.view(OTHER, at("15:00")).cut_off != ""
    assert day.view(UNKNOWN, at("11:00")) is OPEN_VIEW
    assert day.view(SHARE, at("03:00", FRIDAY + dt.timedelta(1))).phase_types == 0, "Saturday"


def test_a_market_without_hours_has_the_rest_of_the_rules() -> None:
    view = rules(hours=False).view(OPTION, at("03:00"))
    assert view.phase_types == -1 and view.until_ns == NEVER_NS and view.cut_off == ""
    assert not view.order_types >> OrderType.SLM & 1 and not view.products >> Product.CNC & 1
    assert rules(hours=False).view(STOCK_OPTION, 0).expiry


def test_a_day_that_the_calendar_does_not_cover_is_closed() -> None:
    view = rules(calendar=[]).view(SHARE, at("11:00"))
    assert view.phase_types == 0 and "calendar" in view.phase and view.until_ns == at("11:00:01")


def test_a_special_session_moves_the_cut_off() -> None:
    sunday = dt.date(2026, 2, 1)
    assert rules(sunday).view(OTHER, at("14:59:59", sunday)).cut_off == ""
    evening = [row | {"special": [{"date": FRIDAY, "open": "18:00", "close": "19:00"}]} for row in CALENDAR]
    day = rules(calendar=evening)
    assert day.view(OTHER, at("11:00")).phase == "closed"
    assert (
        day.view(OTHER, at("18:29:59")).cut_off == "" and "18:30:00" in day.view(OTHER, at("18:30")).cut_off
    )


def test_which_shares_are_in_the_closing_auction() -> None:
    share, other = each_kind()[SHARE], each_kind()[OTHER]
    assert [rules().is_cas(row) for row in (share, other)] == [True, False]
    assert rules(underlyings=frozenset({"SMALLCO"})).is_cas(other)
    assert rules(underlyings=None).is_cas(other), "not known: the day that ends first"
    assert not rules(underlyings=None).is_cas(each_kind()[OPTION])
    assert not rules(dt.date(2026, 7, 31), underlyings=None).is_cas(other), "there was none yet"


@pytest.mark.parametrize(
    ("day", "slot", "closed"),
    [
        ("2026-11-18", STOCK_OPTION, False),  # 19, 20, 23, 25, 26: five trading days are left
        ("2026-11-19", STOCK_OPTION, True),
        ("2026-11-26", STOCK_OPTION, True),
        ("2026-11-27", STOCK_OPTION, True),
        ("2026-11-26", OPTION, False),
        ("2026-11-27", OPTION, True),
        ("2026-11-26", METAL, False),
        ("2026-12-01", METAL, True),
        ("2026-11-20", FAR_OPTION, False),
        ("2026-12-24", FAR_OPTION, True),
    ],
)
def test_days_before_an_expiry(day: str, slot: int, closed: bool) -> None:
    today = dt.date.fromisoformat(day)
    view = rules(today).view(slot, at("11:00", today))
    assert bool(view.expiry) is closed
    if closed:
        expired = "expired" in view.expiry
        assert view.expiry_side == (0 if expired else Side.BUY)


def test_an_expiry_that_is_no_date_opens_nothing() -> None:
    table = each_kind()
    row = replace(table[OPTION], slot=0, expiry="soon")
    day = DayRules(table.select([row]), market_rules(RULES, FRIDAY), None)
    assert "no date" in day.view(0, 0).expiry and day.view(0, 0).expiry_side == 0


def test_a_share_does_not_expire_whatever_its_row_says() -> None:
    table = each_kind()
    for expiry in ("2026-11-19", "soon"):
        row = replace(table[SHARE], slot=0, expiry=expiry)
        view = DayRules(table.select([row]), market_rules(RULES, FRIDAY), None).view(0, 0)
        assert view.expiry == "", expiry


def test_missing_lists() -> None:
    none = rules(lists=())
    assert none.view(SHARE, at("11:00")).unlisted == {Product.MIS: "mis_blocked"}
    assert set(none.view(OPTION, at("11:00")).unlisted.values()) == {"fo_ban"}
    assert len(none.view(OPTION, at("11:00")).unlisted) == len(Product)
    assert rules(lists=("fo_ban", "mis_blocked")).view(SHARE, at("11:00")).unlisted == {}
    assert rules(lists=(), allow=("NSE:SBIN",)).view(SHARE, at("11:00")).unlisted == {}
    assert rules().view(SHARE, at("11:00")).unlisted == {}


def test_what_the_quick_way_proves_of_the_rules_the_table_lets_pass() -> None:
    lines = [row.check for row in risk.CHECKS if IntentKind.PLACE in row.kinds]
    proved = passed = asked = 0
    times = ("09:02", "11:00", "14:55", "15:05", "15:21", "20:00")
    for time, slot in itertools.product(times, (SHARE, OTHER, OPTION, STOCK_OPTION, GROSS, METAL)):
        bench = Bench(at=f"2026-11-20 {time}:00", holding={}, traded=(), lists=("fo_ban",))
        gate = bench.stage.gate
        for words in itertools.product(Side, OrderType, Product, (Validity.DAY, Validity.IOC)):
            names = dict(zip(("side", "order_type", "product", "validity"), words, strict=True))
            wish = intent(1, slot=slot, qty=75, trigger_px=10_000, **names)
            context = gate.context(wish, 0, bench.clock.mono)
            verdict = risk.judge(wish, context, gate._limits)
            let_pass = gate._plain.passes(wish, 0, bench.clock.mono) is not None
            assert not (let_pass and verdict), (time, slot, names, verdict)
            for check in lines:
                if gate._plain.proved & risk.bits([check]):
                    assert not check(wish, context, gate._limits), (time, slot, names, check)
                    proved += 1
            passed, asked = passed + let_pass, asked + (verdict is None)
    assert proved > 20_000 and 100 < passed <= asked < 2 * passed, "most need no table"


def test_a_stepped_clock_is_latched_and_a_skewed_one_is_not() -> None:
    mono, real, skew = [0], [100 * S], [None]
    watch = ClockWatch(lambda: mono[0], lambda: real[0], S, lambda: skew[0])
    assert watch.wrong() == ""
    mono[0] += 50 * S
    real[0] += 51 * S
    assert watch.wrong() == "", "a second is borne"
    skew[0] = S  # type: ignore[call-overload]
    assert watch.wrong() == ""
    skew[0] = -S - 1  # type: ignore[call-overload]
    assert "-1.000 s off the broker's > 1 s" in watch.wrong()
    skew[0] = None
    assert watch.wrong() == ""
    real[0] += 1
    assert "stepped by 1.000 s" in watch.wrong()
    real[0] -= 1
    assert "stepped" in watch.wrong(), "what was timed by it stays wrong"
    back = ClockWatch(lambda: mono[0], lambda: real[0], S)
    real[0] -= 3 * S
    assert "-3.000 s" in back.wrong()


def test_bits() -> None:
    assert bits_of([1, 3, 3]) == 0b1010 and bits_of([]) == 0
    assert View().phase_types == -1


def test_what_stands_where_nothing_is_said() -> None:
    view = View()
    assert (view.order_types, view.validities, view.products, view.phase_types) == (-1, -1, -1, -1)
    assert (view.expiry_side, view.until_ns, view.closed, view.unlisted) == (0, NEVER_NS, {}, {})
    assert Holding(1) == Holding(1, 0, 0, 0) and Traffic() == Traffic(0, 0, 0)
    facts = Facts()
    assert facts.view(7, 0) is OPEN_VIEW
    assert [facts.band, facts.holding, facts.traded, facts.clock_wrong, facts.traffic] == [None] * 5


def test_without_a_calendar_every_weekday_trades() -> None:
    thursday, friday = dt.date(2026, 11, 19), dt.date(2026, 11, 20)
    # 20, 23, 24, 25, 26 lie before the expiry on the 26th; from Friday one less
    assert rules(thursday, hours=False).view(STOCK_OPTION, 0).expiry == ""
    assert "4 trading days" in rules(friday, hours=False).view(STOCK_OPTION, 0).expiry
    saturday = dt.date(2026, 11, 21)
    assert "4 trading days" in rules(saturday, hours=False).view(STOCK_OPTION, 0).expiry
    assert "3 trading days" in rules(friday).view(STOCK_OPTION, at("11:00")).expiry, "24 is a holiday"


@pytest.mark.parametrize(
    ("slot", "times"),
    [
        (SHARE, ("15:00", "15:08", "15:08")), (OTHER, ("15:10", "15:15", "15:20")),
        (OPTION, ("15:15", "15:20", "15:25")), (METAL, ("22:55", "23:00", "23:05")),
    ],
)  # fmt: skip
def test_how_the_day_of_an_instrument_ends(slot: int, times: tuple[str, ...]) -> None:
    day = rules()
    found = day.day_end(slot, at("11:00"))
    assert found is not None and tuple(found) == tuple(at(time) for time in times)
    assert day.day_end(slot, at("12:00")) is found, "made once"
    assert day.day_end(slot, at("11:00", FRIDAY + dt.timedelta(1))) is None, "Saturday"
    assert rules(hours=False).day_end(slot, at("11:00")) is None
    assert rules(calendar=[]).day_end(slot, at("11:00")) is None and day.day_end(UNKNOWN, at("11:00")) is None


def test_a_short_day_ends_sooner() -> None:
    evening = [row | {"special": [{"date": FRIDAY, "open": "18:00", "close": "19:00"}]} for row in CALENDAR]
    found = rules(calendar=evening).day_end(OTHER, at("18:10"))
    assert found is not None and found.from_ns == at("18:40") and found.flat_ns == at("18:45")


def test_an_index_is_in_no_closing_auction() -> None:
    from kite_hft.verify.risk.bench import INDEX

    assert not rules(underlyings=None).is_cas(each_kind()[INDEX])


def test_a_view_without_hours_is_made_once() -> None:
    day = rules(hours=False)
    assert day.view(OPTION, at("11:00")) is day.view(OPTION, at("11:00", FRIDAY + dt.timedelta(365)))


def test_a_put_is_an_option_and_a_derivative_like_a_call() -> None:
    call, stock_call = each_kind()[OPTION], each_kind()[STOCK_OPTION]
    puts = [replace(call, slot=0, kind="PE"), replace(stock_call, slot=1, kind="PE")]
    rows = [*puts, replace(call, slot=2, token=9001 * 256 + 2)]
    day = DayRules(each_kind().select(rows), market_rules(RULES, dt.date(2026, 11, 25)), None, lists=())
    assert set(day.view(0, 0).unlisted.values()) == {"fo_ban"} == set(day.view(2, 0).unlisted.values())
    assert day.view(1, 0).expiry and day.view(1, 0).expiry_side == Side.BUY
    assert {"CE", "PE"} == OPTIONS and {"CE", "PE", "FUT"} == DERIVATIVES


def test_a_broker_who_closes_nothing_has_no_time_for_it() -> None:
    assert Closing(1, 2).broker_ns == 0
    without = DayRules(each_kind(), market_rules({**RULES, "square_off": []}, FRIDAY), Phases(CALENDAR))
    closing = without.day_end(SHARE, at("11:00"))
    assert closing is not None and closing.broker_ns == 0 < closing.flat_ns
    told = rules().day_end(OTHER, at("11:00"))
    assert told is not None and told.broker_ns == at("15:20")


@pytest.mark.parametrize(
    ("day", "settles"),
    [("2026-11-24", False), ("2026-11-25", True), ("2026-11-26", True), ("2026-11-27", False)],
)
def test_on_which_days_a_stock_option_has_to_go(day: str, settles: bool) -> None:
    """It ends on Thursday the 26th: one trading day before, and on the day itself."""
    today = dt.date.fromisoformat(day)
    found = rules(today).settlement(STOCK_OPTION, at("11:00", today))
    times = (at("09:30", today), at("15:10", today), at("15:20", today))
    assert found == (Settlement("2026-11-26", *times) if settles else None)


def test_what_settles_in_cash_or_keeps_no_hours_need_not_go() -> None:
    last = dt.date(2026, 11, 26)
    day = rules(last)
    for slot in (SHARE, OPTION, UNKNOWN, len(each_kind())):
        assert day.settlement(slot, at("11:00", last)) is None
    assert rules(last, hours=False).settlement(STOCK_OPTION, at("11:00", last)) is None
    assert rules(last, calendar=[]).settlement(STOCK_OPTION, at("11:00", last)) is None
    table = each_kind()
    for more in ({"expiry": ""}, {"expiry": "soon"}, {"kind": "EQ"}):
        row = replace(table[STOCK_OPTION], slot=0, **more)
        one = DayRules(table.select([row]), market_rules(RULES, last), Phases(CALENDAR))
        assert one.settlement(0, at("11:00", last)) is None
    assert day.settlement(STOCK_OPTION, 0) is day.settlement(STOCK_OPTION, at("15:00", last)), (
        "found out once"
    )


def test_a_special_session_moves_the_settlement() -> None:
    last = dt.date(2026, 11, 26)
    evening = [row | {"special": [{"date": last, "open": "18:00", "close": "19:00"}]} for row in CALENDAR]
    ours, usual = (rules(last, calendar=c).settlement(STOCK_OPTION, 0) for c in (evening, CALENDAR))
    shift_ns = Phases(evening).shift_ns("NFO", last)
    assert ours is not None and usual is not None and shift_ns
    assert tuple(ours[1:]) == tuple(at_ns + shift_ns for at_ns in usual[1:])


def test_where_prices_are_never_old_every_one_is_fresh() -> None:
    assert AlwaysFresh()(0) is True and AlwaysFresh()(UNKNOWN) is True


def test_a_view_without_hours_holds_for_ever() -> None:
    assert rules(hours=False).view(OPTION, 0).until_ns > at("00:00", dt.date(2100, 1, 1))
