"""What protects a position: by order, trigger, side, product, phase of the day and class of instrument."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from kite_hft.sessions import Phases, ist_midnight_ns, seconds_of_day
from kite_hft.settings import load_yaml
from kite_hft.trading.exits.protection import (
    Facts,
    Held,
    Leg,
    Resting,
    Trigger,
    covers,
    hours_at,
    lapse_ns,
    naked_paise,
)

S = 1_000_000_000
DAY = dt.date(2026, 11, 20)
CALENDAR = Phases(load_yaml(Path("config/calendar/india.yaml")))
PHASES = {
    (exchange, cas): CALENDAR.on(exchange, cas, DAY)
    for exchange, cas in [("NSE", False), ("NSE", True), ("NFO", False), ("MCX", False)]
}
FACTS = Facts(
    PHASES, frozenset({"NSE:CAS"}), frozenset({"NSE:PLAIN"}),
    {("NSE", True): "15:08", ("NSE", False): "15:20"}, 30 * S,
)  # fmt: skip


def at(clock: str) -> int:
    return ist_midnight_ns(DAY) + seconds_of_day(clock) * S


def long(key: str = "NSE:PLAIN", quantity: int = 10, product: str = "MIS") -> Held:
    return Held(key, product, quantity, 100.0)


def stop(key: str = "NSE:PLAIN", quantity: int = 10, **changes: object) -> Resting:
    fields = {"key": key, "product": "MIS", "side": "SELL", "order_type": "SL", "status": "TRIGGER PENDING",
              "pending": quantity, "since_ns": 0}  # fmt: skip
    return Resting(**(fields | changes))  # type: ignore[arg-type]


def gtt(key: str = "NSE:PLAIN", quantity: int = 10, **changes: object) -> Trigger:
    fields = {"key": key, "status": "active", "kind": "single", "values": (90.0,), "last_price": 100.0,
              "legs": (Leg("SELL", "MIS", quantity),)}  # fmt: skip
    return Trigger(**(fields | changes))  # type: ignore[arg-type]


def naked(
    held: Held, orders: list[Resting] | None = None, triggers: list[Trigger] | None = None,
    clock: str = "11:00", now_ns: int = 0,
) -> int:  # fmt: skip
    found = covers([held], orders or [], triggers or [], FACTS, at(clock), now_ns)
    return found[0].naked if found else 0


def test_a_stop_protects_its_quantity_and_no_more() -> None:
    assert naked(long()) == 10
    assert naked(long(), [stop()]) == 0
    assert naked(long(), [stop(quantity=6)]) == 4
    assert naked(long(), [stop(quantity=6), stop(quantity=6, order_type="SL-M")]) == 0
    assert naked(long(quantity=0)) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"side": "BUY"},
        {"product": "CNC"},
        {"key": "NSE:OTHER"},
        {"status": "CANCELLED"},
        {"status": "REJECTED"},
        {"status": "COMPLETE"},
        {"pending": 0},
    ],
)
def test_what_does_not_close_the_position_does_not_protect_it(changes: dict[str, object]) -> None:
    assert naked(long(), [stop(**changes)]) == 10


def test_a_short_is_protected_by_a_stop_that_buys() -> None:
    assert naked(long(quantity=-10), [stop(side="BUY")]) == 0
    assert naked(long(quantity=-10), [stop()]) == 10


@pytest.mark.parametrize(("product", "bare"), [("CNC", 0), ("MTF", 0), ("MIS", 10), ("NRML", 10)])
def test_shares_sold_out_of_the_holdings_need_no_protection(product: str, bare: int) -> None:
    assert naked(long(product=product, quantity=-10)) == bare
    assert naked(long(product=product)) == 10


def test_a_closing_order_counts_for_a_while_and_a_target_stops_no_loss() -> None:
    target = stop(order_type="LIMIT", status="OPEN")
    assert naked(long(), [target], now_ns=29 * S) == 0
    assert naked(long(), [target], now_ns=30 * S) == 10
    triggered = stop(order_type="SL", status="OPEN")  # triggered, and not filled
    assert naked(long(), [triggered], now_ns=30 * S) == 10


@pytest.mark.parametrize(
    ("key", "clock", "left"),
    [
        ("NSE:CAS", "15:14:59", 0),
        ("NSE:CAS", "15:15:00", 10),  # the exchange cancels stops when the closing auction begins
        ("NSE:CAS", "15:21:00", 10),
        ("NSE:CAS", "15:31:00", 0),  # nothing trades any more
        ("NSE:PLAIN", "15:15:00", 0),
        ("NSE:PLAIN", "15:29:59", 0),
        ("NSE:UNKNOWN", "15:14:59", 0),
        ("NSE:UNKNOWN", "15:16:00", 10),  # a share of which nothing is known: the cautious side
        ("NFO:FUT", "15:39:59", 0),
        ("MCX:GOLD", "20:00:00", 0),
        ("CDS:USD", "22:00:00", 0),  # no hours are known: always open, its stops hold
    ],
)
def test_stops_hold_by_phase_and_class(key: str, clock: str, left: int) -> None:
    assert naked(long(key), [stop(key)], clock=clock) == left


@pytest.mark.parametrize(
    ("clock", "with_gtt", "bare"),
    [("08:00:00", 0, 10), ("09:03:00", 0, 10), ("09:12:00", 0, 10), ("11:00:00", 0, 10), ("15:16:00", 10, 10),
     ("16:00:00", 0, 0)],
)  # fmt: skip
def test_a_trigger_works_in_continuous_trading_only(clock: str, with_gtt: int, bare: int) -> None:
    """Before it the trigger that will be alive counts: nothing better can be had."""
    held = long("NSE:CAS", product="CNC")
    one = gtt("NSE:CAS", legs=(Leg("SELL", "CNC", 10),))
    assert naked(held, [], [one], clock) == with_gtt and naked(held, clock=clock) == bare


def test_of_a_trigger_only_the_leg_that_stops_a_loss_counts() -> None:
    assert naked(long(), [], [gtt()]) == 0
    assert naked(long(), [], [gtt(values=(110.0,))]) == 10  # a target
    assert naked(long(), [], [gtt(status="triggered")]) == 10
    assert naked(long(), [], [gtt(legs=(Leg("SELL", "CNC", 10),))]) == 10
    legs = (Leg("SELL", "MIS", 7), Leg("SELL", "MIS", 10))
    assert naked(long(), [], [gtt(kind="two-leg", values=(90.0, 110.0), legs=legs)]) == 3
    assert naked(long(quantity=-10), [], [gtt(values=(110.0,), legs=(Leg("BUY", "MIS", 10),))]) == 0
    assert naked(long(quantity=-10), [], [gtt(values=(90.0,), legs=(Leg("BUY", "MIS", 10),))]) == 10


def test_rupees_count_the_multiplier_and_are_never_nothing() -> None:
    (cover,) = covers([Held("MCX:GOLD", "NRML", -2, 7000.0, 100)], [], [], FACTS, at("11:00"), 0)
    assert cover.naked_paise == 2 * 7000 * 100 * 100 == naked_paise([cover])
    (cover,) = covers([Held("MCX:GOLD", "NRML", 2, 0.0)], [], [], FACTS, at("11:00"), 0)
    assert cover.naked_paise == 2


def test_words_name_what_protects_and_what_does_not() -> None:
    found = covers([long("NSE:CAS"), long(product="CNC")], [stop("NSE:CAS", 6)], [], FACTS, at("15:16"), 0)
    assert [cover.words() for cover in found] == [
        "NSE:CAS MIS +10: SL 6 (gone in this phase); 10 without protection (Rs 1,000.00); the broker squares "
        "off about 15:08",
        "NSE:PLAIN CNC +10: 10 without protection (Rs 1,000.00)",
    ]


def test_when_protection_first_lapses() -> None:
    assert lapse_ns(FACTS, [long(), long("NSE:CAS")]) == at("15:15")
    assert lapse_ns(FACTS, [long()]) == at("15:30") and lapse_ns(FACTS, [long("CDS:USD")]) is None
    assert lapse_ns(FACTS, []) is None


def test_a_day_without_trading_has_nothing_to_protect() -> None:
    assert hours_at((), at("11:00")).trades is False
    facts = Facts({("NSE", False): ()}, frozenset(), frozenset({"NSE:PLAIN"}))
    assert covers([long()], [], [], facts, at("11:00"), 0)[0].naked == 0


def target(**changes: object) -> Resting:
    """The order of an exit while the price is at its target; it is a stop again at 95 otherwise."""
    words = {"order_type": "LIMIT", "status": "OPEN", "stop": 95.0, "tended": True}
    return stop(**(words | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["AMO REQ RECEIVED", "AFTER MARKET ORDER REQ RECEIVED"])
@pytest.mark.parametrize("kind", ["SL-M", "MARKET"])
def test_an_order_for_the_next_session_closes_nothing_today(status: str, kind: str) -> None:
    """A stop placed when the phase takes none becomes one at Upstox, also in its first seconds."""
    order = stop(status=status, order_type=kind, since_ns=0)
    assert naked(long(), [order], clock="15:16", now_ns=1) == 10


def test_a_target_protects_as_long_as_somebody_turns_it_back_into_a_stop() -> None:
    later = {"now_ns": 3600 * S}
    assert naked(long(), [target()], **later) == 0  # type: ignore[arg-type]
    assert naked(long(), [target(quantity=6)], **later) == 4  # type: ignore[arg-type]
    (told,) = covers([long()], [target()], [], FACTS, at("11:00"), 3600 * S)
    assert told.state() == "+10: target 10; the broker squares off about 15:20"


@pytest.mark.parametrize(
    ("order", "held", "clock", "words"),
    [
        (target(tended=False), long(), "11:00", "the engine does not answer"),
        (target(key="NSE:CAS"), long("NSE:CAS"), "15:21", "no stop is taken in this phase"),
        (target(stop=100.0), long(), "11:00", "the price is beyond its stop 100.00"),
        (target(stop=100.0, side="BUY"), long(quantity=-10), "11:00", "the price is beyond its stop 100.00"),
        (target(stop=0.0), long(), "11:00", "rests, and stops no loss"),
    ],
)
def test_a_target_that_nobody_turns_back_protects_nothing(
    order: Resting, held: Held, clock: str, words: str
) -> None:
    (told,) = covers([held], [order], [], FACTS, at(clock), 3600 * S)
    assert told.naked == 10 and words in told.state()


def test_a_target_nobody_tends_is_no_closing_order_either() -> None:
    """An order that has just been turned into a limit would count as one for half a minute."""
    assert naked(long(), [target(tended=False)], now_ns=S) == 10
