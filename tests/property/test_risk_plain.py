"""The quick answer to a placement (_risk.Plain) is the table's: over any intent, context, book and limits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders_world import PX, instrument, instruments, intent

from kite_hft import _risk
from kite_hft.layout import NO_SLOT, IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.book import Book, Order
from kite_hft.trading.gate.checks import CUT_QUIET_NS, Context, RiskLimits
from kite_hft.trading.gate.checks_form import kind
from kite_hft.trading.gate.risk import CHECKS, gather, is_reducing, judge, plain_of
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Intent

FINE = 5  # a slot that is not priced in paise: the table's
SENSELESS = 6  # a slot with a freeze quantity that makes no sense
TABLE = InstrumentTable(
    (
        *instruments(),
        instrument(FINE, scale=10_000, multiplier=1000),
        instrument(SENSELESS, freeze_quantity=-1),
    )
)
LIMITS = RiskLimits()


PRICES = st.one_of(
    st.sampled_from([0, PX + 500, PX + 505, PX - 500, PX - 505, PX + 1, -PX]),
    st.integers(-(2**31), 2**31 - 1),
)
USUAL: dict[str, Any] = {
    "strategy_seq": 100, "kind": IntentKind.PLACE, "slot": 0, "side": Side.BUY, "order_type": OrderType.LIMIT,
    "product": Product.MIS, "validity": Validity.DAY, "flags": 0, "qty": 10, "px": PX, "trigger_px": 0,
    "signal": 0.0, "target_seq": 0,
    "active": True, "halted": "", "ref_px": PX, "age_ns": 0, "last_seq": 10, "token_dead": "",
    "reducing_only": "", "market_halted": False, "fresh": True, "mark": PX, "cut_ns": 0,
}  # fmt: skip
"""Of the intent, then of what is around it: all together they pass."""
ODD: dict[str, st.SearchStrategy[Any]] = {
    "strategy_seq": st.sampled_from([0, 9, 10, 11, 2**64 - 1]),
    "kind": st.sampled_from([0, IntentKind.MODIFY, IntentKind.CANCEL, IntentKind.PROBE, 255]),
    "slot": st.sampled_from([1, 2, 3, 4, FINE, SENSELESS, 7, NO_SLOT]),
    "side": st.sampled_from([Side.SELL, 0, 3, 255]),
    "order_type": st.sampled_from([*OrderType, 0, 64, 200]),
    "product": st.sampled_from([*Product, 0, 9]),
    "validity": st.sampled_from([*Validity, 0, 65]),
    "flags": st.sampled_from([1, 2, 255]),
    "qty": st.one_of(
        st.sampled_from([0, 1, 75, 76, 150, 1000, 1001, 1875, 2001, 10_001]), st.integers(0, 2**32 - 1)
    ),
    "px": PRICES,
    "trigger_px": PRICES,
    "signal": st.sampled_from([math.nan, math.inf]),
    "target_seq": st.just(50),
    "active": st.just(False),
    "halted": st.just("drawdown"),
    "ref_px": st.one_of(st.sampled_from([0, -1]), st.integers(1, 2**31 - 1)),
    "age_ns": st.one_of(st.sampled_from([-1, 2_000_000_000, 2_000_000_001]), st.integers(-1, 2**62)),
    "last_seq": st.sampled_from([99, 100, 2**64]),
    "token_dead": st.just("expired"),
    "reducing_only": st.just("storm"),
    "market_halted": st.just(True),
    "fresh": st.just(False),
    "mark": st.sampled_from([0, -5, 2**31 - 1]),
    "cut_ns": st.sampled_from([CUT_QUIET_NS + 1, CUT_QUIET_NS, 3 * CUT_QUIET_NS]),
}
AMOUNTS = st.one_of(st.integers(-1200, 1200), st.integers(-(2**70), 2**70))
HELD = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 3, 4, FINE]),
        st.integers(1, 2),
        st.one_of(st.sampled_from([10, -10]), AMOUNTS),
    ),
    max_size=3,
)
STATUSES = [OrderStatus.NEW, OrderStatus.SENT, OrderStatus.OPEN, OrderStatus.AMBIGUOUS, OrderStatus.CANCELLED]
ORDERS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 3, FINE]),
        st.sampled_from(Side),
        st.sampled_from(STATUSES),
        st.integers(1, 1500),
    ),
    max_size=4,
)
ALLOWED: dict[str, st.SearchStrategy[Any]] = {
    "max_position_size": st.sampled_from([0.0, 1000.0, 999.99, 1e30]),
    "max_exposure": st.sampled_from([0.0, 2000.0, 3000.0, 1e30]),
    "max_positions": st.sampled_from([0, 1, 2, 3]),
    "max_order_quantity": st.sampled_from([0, 9, 10, 2**40]),
    "max_order_value": st.sampled_from([0.0, 1000.0, 999.99, 1e30]),
    "max_working_orders": st.sampled_from([0, 1, 2]),
    "price_collar_percent": st.sampled_from([0.0, 0.1, 1e9]),
    "stale_tick_s": st.sampled_from([0.0, 1e9]),
    "order_types": st.sampled_from([tuple(OrderType), ()]),
    "validities": st.sampled_from([tuple(Validity), ()]),
}


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], RiskLimits]:
    """All as usual but for a few things: with more, every check would hide behind another."""
    words = USUAL | {
        name: draw(ODD[name]) for name in draw(st.sets(st.sampled_from(sorted(ODD)), max_size=3))
    }
    names = draw(st.sets(st.sampled_from(sorted(ALLOWED)), max_size=2))
    return words, RiskLimits(**{name: draw(ALLOWED[name]) for name in names})


def book_of(held: Any, orders: Any, cut_ns: int) -> Book:
    book = Book(TABLE)
    for slot, strategy, quantity in held:
        position = book.position_of(strategy, slot, Product.MIS)
        position.quantity += quantity
        position.cut_ns = cut_ns
    for number, (slot, side, status, quantity) in enumerate(orders, 50):
        order = Order(
            number, 1, number, slot, side, OrderType.LIMIT, Product.MIS, 1, 0, quantity, PX, 0, f"tag{number}"
        )
        order.status = status
        book.add(order)
    return book


def its_lines(wish: Intent, context: Context, limits: RiskLimits) -> str | None:
    """What the lines that the quick answer speaks for say of an opening placement."""
    if text := kind(wish, context, limits):
        return text
    lines = [row.check for row in CHECKS if row.check.__name__ in _risk.CHECKS]
    return next((text for check in lines if (text := check(wish, context, limits))), None)


def small(wish: Intent, book: Book, age_ns: int) -> bool:
    """Far from where sums are left to the table."""
    sums = [abs(s[3]) for s in book.in_play().values()]
    return wish.qty < 2**31 and max(sums, default=0) < 2**30 and age_ns < 2**52


@settings(max_examples=1500, deadline=None)
@given(cases(), HELD, ORDERS)
def test_it_passes_what_the_table_passes_and_nothing_else(
    case: tuple[dict[str, Any], RiskLimits], held: Any, orders: Any
) -> None:
    words, limits = dict(case[0]), case[1]
    mark, cut_ns, tick = words.pop("mark"), words.pop("cut_ns"), (words.pop("ref_px"), 1, words.pop("age_ns"))
    told = {name: words.pop(name) for name in list(words) if name not in Intent._fields}
    wish, book = intent(**words), book_of(held, orders, cut_ns)
    told |= {"modifications_max": 25, "mark": lambda slot: mark, "now_ns": 2 * CUT_QUIET_NS, "tick": tick}
    plain = plain_of(TABLE, limits)
    verdict = judge(wish, gather(wish, TABLE, book, **told), limits)
    context = gather(wish, TABLE, book, **told)
    assert judge(wish, context, limits, plain=plain) == verdict
    passes = plain.passes(wish, context)
    placed = wish.kind == IntentKind.PLACE and not is_reducing(wish, book, None)
    refused = its_lines(wish, context, limits) if placed else None
    assert not (passes and refused), refused
    assert not passes or placed
    apart = {FINE, SENSELESS} & {wish.slot, *book.in_play()}
    if placed and refused is None and not apart and small(wish, book, tick[2]):
        assert passes, "the quick way is not taken by a plain placement"


def test_a_freeze_quantity_that_makes_no_sense_is_the_tables() -> None:
    told = {"mark": lambda slot: PX, "modifications_max": 25, "last_seq": 0, "active": True, "halted": ""}
    for freeze, passes in ((-1, False), (0, False), (1, True), (None, True)):
        table = InstrumentTable((instrument(0, freeze_quantity=freeze),))
        wish = intent(100, qty=1)
        context = gather(wish, table, Book(table), tick=(PX, 1, 0), **told)
        assert plain_of(table, LIMITS).passes(wish, context) is passes, freeze


def test_the_table_judges_reductions_and_other_tables() -> None:
    wish, book = intent(100), Book(TABLE)
    context = gather(
        wish, TABLE, book, active=True, halted="", tick=(PX, 1, 0), mark=lambda slot: PX,
        modifications_max=25, last_seq=0,
    )  # fmt: skip
    plain = plain_of(TABLE, LIMITS)
    assert plain.passes(wish, context)
    assert not plain.passes(tuple(wish)[:-1], context) and not plain.passes(list(wish), context)
    assert not plain_of(instruments(), LIMITS).passes(wish, context)
    context.reducing = True
    assert not plain.passes(wish, context)


@pytest.mark.parametrize(
    ("limit", "most", "less"),
    [
        ("max_exposure", 3000.0, 2999.99),  # 20 of slot 0 at worst, 10 of slot 1
        ("max_position_size", 2000.0, 1999.99),
        ("max_order_value", 1000.0, 999.99),
        ("max_order_quantity", 10, 9),
        ("max_working_orders", 1, 0),
    ],
)
def test_it_passes_up_to_each_limit(limit: str, most: float, less: float) -> None:
    wish, book = intent(100), book_of([(0, 1, 10), (1, 2, -10)], [], 0)
    told = {"mark": lambda slot: PX, "modifications_max": 25, "last_seq": 0, "active": True, "halted": ""}
    context = gather(wish, TABLE, book, tick=(PX, 1, 0), **told)
    assert plain_of(TABLE, RiskLimits(**{limit: most})).passes(wish, context)
    assert not plain_of(TABLE, RiskLimits(**{limit: less})).passes(wish, context)


def test_a_new_instrument_needs_room_among_the_positions() -> None:
    wish, book = intent(100), book_of([(1, 2, -10)], [], 0)
    told = {"mark": lambda slot: PX, "modifications_max": 25, "last_seq": 0, "active": True, "halted": ""}
    context = gather(wish, TABLE, book, tick=(PX, 1, 0), **told)
    assert plain_of(TABLE, RiskLimits(max_positions=2)).passes(wish, context)
    assert not plain_of(TABLE, RiskLimits(max_positions=1)).passes(wish, context)


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        ({}, True),
        ({"px": PX + 500}, True),
        ({"px": PX + 505}, False),
        ({"px": PX - 500}, True),
        ({"px": PX - 505}, False),
        ({"order_type": OrderType.SL, "px": PX + 500, "trigger_px": PX + 500}, True),
        ({"order_type": OrderType.SL, "px": PX + 495, "trigger_px": PX + 500}, False),
        ({"order_type": OrderType.SL, "side": Side.SELL, "px": PX - 500, "trigger_px": PX - 500}, True),
        ({"order_type": OrderType.SL, "side": Side.SELL, "px": PX - 495, "trigger_px": PX - 500}, False),
        ({"order_type": OrderType.SLM, "px": 0, "trigger_px": PX + 500}, True),
        ({"order_type": OrderType.SL, "trigger_px": PX + 505}, False),
        ({"order_type": OrderType.SL, "trigger_px": PX - 505}, False),
        ({"order_type": OrderType.SL, "trigger_px": 0}, False),
        ({"order_type": OrderType.SL, "trigger_px": PX + 1}, False),
        ({"slot": 3, "qty": 75}, True),
        ({"slot": 3, "qty": 76}, False),
        ({"slot": 3, "qty": 1800}, True),
        ({"slot": 3, "qty": 1875}, False),
    ],
)
def test_single_edges(fields: dict[str, Any], good: bool) -> None:
    wish, book = intent(100, **fields), Book(TABLE)
    limits = RiskLimits(1e9, 1e9, max_order_value=1e9, order_types=tuple(OrderType))
    told = {"mark": lambda slot: PX, "modifications_max": 25, "last_seq": 0, "active": True, "halted": ""}
    context = gather(wish, TABLE, book, tick=(PX, 1, 0), **told)
    assert plain_of(TABLE, limits).passes(wish, context) is good
    assert (judge(wish, context, limits) is None) is good
