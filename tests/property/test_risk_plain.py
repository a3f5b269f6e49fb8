"""The quick way (_risk.Plain) proves only what the table lets pass: over any intent, context, limits."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from gate_tools import plain_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orders_world import PX, instrument, instruments, intent

from kite_hft._tally import Tally
from kite_hft.layout import NO_SLOT, IntentKind, OrderStatus, OrderType, Product, Side, Validity
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.checks import CUT_QUIET_NS, Context, RiskLimits
from kite_hft.trading.gate.checks_market import unsure
from kite_hft.trading.gate.facts import Facts, Holding, Traffic, View
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.risk import _APPLYING, bits, gather, is_reducing, judge
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.order import Order

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
    "reducing_only": "", "market_halted": False, "fresh": True, "mark": PX, "cut_ns": 0, "killed": "",
    "funds_paise": None, "view": {}, "band": None, "holding": None, "traded": None, "clock_wrong": "",
    "traffic": (0, 0, 0), "sent": (0, 0), "lost": None,
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
    "killed": st.just("latch"),
    "funds_paise": st.sampled_from([-1, 0, 99, 100, 2**60]),
    "view": st.sampled_from(
        [
            {"phase_types": 0},
            {"order_types": 1 << OrderType.MARKET},
            {"products": 1 << Product.CNC},
            {"validities": 1 << Validity.IOC},
            {"cut_off": "late"},
            {"expiry": "soon"},
            {"expiry": "soon", "expiry_side": Side.SELL},
            {"closed": {"short": "asm"}},
            {"closed": {"entry": "ban"}},
            {"unlisted": {int(Product.MIS): "mis_blocked"}},
            {"unlisted": {int(Product.CNC): "x"}},
        ]
    ),
    "band": st.sampled_from(
        [
            (0, 0, -1),
            (PX, PX, 0),
            (PX - 500, PX + 500, 180 * 10**9),
            (PX - 500, PX + 500, 180 * 10**9 + 1),
            (PX + 5, PX + 10, 0),
            (PX - 10, PX - 5, 0),
        ]
    ),
    "holding": st.sampled_from([Holding(0), Holding(100, authorised=100)]),
    "traded": st.booleans(),
    "clock_wrong": st.just("stepped"),
    "traffic": st.sampled_from([(99, 1, 0), (100, 2, 0), (100, 3, 0), (0, 0, 800), (0, 0, 799)]),
    "sent": st.sampled_from([(1, 10), (2, 10), (3, 10), (2, 20), (1, 2**70)]),
    "lost": st.sampled_from([(1, 0), (1, 3), (2, 0)]),
}
AMOUNTS = st.one_of(st.integers(-1200, 1200), st.integers(-(2**70), 2**70))
PRODUCTS = st.sampled_from([Product.MIS, Product.MIS, Product.MIS, Product.NRML])
HELD = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 3, 4, FINE]),
        st.integers(1, 2),
        st.one_of(st.sampled_from([10, -10]), AMOUNTS),
        PRODUCTS,
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
        st.sampled_from([PX, PX + 5, PX - 5, 0]),
        st.sampled_from(OrderType),
        PRODUCTS,
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
    "period_orders": st.sampled_from([0, 1, 2, 3]),
    "period_quantity": st.sampled_from([10, 29, 30]),
    "period_value": st.sampled_from([1000.0, 2999.99, 3000.0]),
    "repeats_max": st.sampled_from([0, 1, 2]),
    "max_gross_notional": st.sampled_from([999.99, 1000.0, 3000.0]),
    "min_funds": st.sampled_from([0.0, 1.0]),
    "cooldown_s": st.just(1.0),
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
    for slot, strategy, quantity, product in held:
        position = book.position_of(strategy, slot, product)
        position.quantity += quantity
        position.cut_ns = cut_ns
    for number, (slot, side, status, quantity, px, kind, product) in enumerate(orders, 50):
        order = Order(number, 1, number, slot, side, kind, product, 1, 0, quantity, px, 0, f"tag{number}")
        order.status = status
        book.add(order)
    return book


def around(words: dict[str, Any], limits: RiskLimits, now_ns: int) -> dict[str, Any]:
    """What a Context is told; takes it out of `words`."""
    ref_px, age_ns = words.pop("ref_px"), words.pop("age_ns")
    tick = (ref_px, 1, age_ns) if age_ns >= 0 else (0, 0, -1)  # no price has come
    mark, band, traffic = words.pop("mark"), words.pop("band"), Traffic(*words.pop("traffic"))
    holding, traded, wrong = words.pop("holding"), words.pop("traded"), words.pop("clock_wrong")
    times, quantity = words.pop("sent")
    tally, guards = Tally(limits), Guards(limits)
    for at in range(times):
        tally.add(1, 0, Side.BUY, quantity if quantity < 2**32 else 1, quantity * PX, now_ns - at)
    if lost := words.pop("lost"):
        guards.fold(
            {"guard": "closed", "strategy": lost[0], "slot": lost[1], "paise": -1, "peak_paise": 0}, now_ns
        )
    view = View(**words.pop("view"))
    noisy = Conduct(messages_min=100, ratio_stop=50.0, modifications_stop=800)
    facts = Facts(
        band=None if band is None else lambda slot: band,
        holding=None if holding is None else lambda slot: holding,
        traded=None if traded is None else lambda slot: traded,
        clock_wrong=lambda: wrong, traffic=lambda strategy, slot: (traffic, Traffic()), per_contract=noisy,
    )  # fmt: skip
    told = {name: words.pop(name) for name in list(words) if name not in Intent._fields}
    return told | {
        "modifications_max": 25, "mark": lambda slot: mark, "now_ns": now_ns, "tick": tick,
        "tally": tally, "guards": guards, "view": view, "facts": facts,
    }  # fmt: skip


def small(wish: Intent, book: Book, age_ns: int) -> bool:
    """Far from where numbers are left to the table."""
    sums = [abs(s[3]) for s in book.in_play().values()]
    return wish.strategy_seq < 2**63 and wish.qty < 2**31 and max(sums, default=0) < 2**30 and age_ns < 2**52


SEVERAL = [
    (0, Side.BUY, OrderStatus.NEW, 654, PX, OrderType.MARKET, Product.MIS),
    (0, Side.SELL, OrderStatus.NEW, 337, PX, OrderType.MARKET, Product.NRML),
]


@settings(max_examples=1500, deadline=None)
@example((USUAL | {"product": 0}, LIMITS), [], SEVERAL)  # no product: it is not what several have in common
@example((USUAL | {"slot": SENSELESS, "qty": 0}, LIMITS), [], [])
@given(cases(), HELD, ORDERS)
def test_it_passes_what_the_table_passes_and_nothing_else(
    case: tuple[dict[str, Any], RiskLimits], held: Any, orders: Any
) -> None:
    words, limits = dict(case[0]), case[1]
    book = book_of(held, orders, words.pop("cut_ns"))
    told = around(words, limits, 2 * CUT_QUIET_NS)
    wish = intent(**words)
    context = gather(wish, TABLE, book, **told)
    verdict = judge(wish, context, limits)
    plain, gross = plain_of(context, limits), told["tally"].gross_paise
    passed = plain.passes(wish, context.last_seq, context.now_ns) is not None
    placed = wish.kind == IntentKind.PLACE
    assert not passed or (placed and verdict is None), verdict
    counts = passed and not context.reducing
    assert (told["tally"].gross_paise > gross) == counts, "what opens and passes counts"
    if plain.proved:
        assert plain.reducing is is_reducing(wish, book, None)
        for check, _reason in _APPLYING[wish.kind, context.reducing, False]:
            if plain.proved & bits([check]):
                assert not check(wish, context_of_before(context, counts), limits), check
    again = gather(wish, TABLE, book, **told)
    if not passed:
        assert judge(wish, again, limits, plain=plain) == verdict
    apart = {FINE, SENSELESS} & {wish.slot, *book.in_play()}
    here = [p for p in book.positions.values() if p.slot == wish.slot]
    mixed = any(p.product != wish.product for p in here if p.quantity or p.open_buy or p.open_sell)
    table = apart or mixed or odd(wish, context) or not small(wish, book, told["tick"][2])
    if placed and verdict is None and not table and not (context.reducing and unsure(wish, context, limits)):
        assert passed, "the quick way is not taken by a plain placement"


def context_of_before(context: Context, counted: bool) -> Context:
    """Without the sums that the placement itself counts in since it has passed."""
    return replace(context, tally=None) if counted else context


def odd(wish: Intent, context: Context) -> bool:
    """Passes by what the table alone knows: lists, sales out of holdings, which order is ambiguous."""
    view, facts = context.view, context.facts
    listed = view.closed or view.expiry
    delivered = facts.holding is not None and wish.side == Side.SELL and wish.product == Product.CNC
    large = max(context.funds_paise or 0, context.tally.gross_paise if context.tally else 0) > 2**40
    beside = context.reducing and context.book.frozen(wish.slot, wish.side) is not None
    top = context.mark(wish.slot) == 2**31 - 1  # a price that the table alone takes
    return bool(listed or delivered or large or beside or top)
