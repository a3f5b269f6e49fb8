"""The quick way (_risk.Plain) at the edges of what it proves, beside the table."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gate_tools import plain_of
from orders_world import PX, instrument, instruments, intent

from kite_hft._tally import Tally
from kite_hft.clock import ManualClock
from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.gate.facts import ClockWatch, Facts, Holding, Traffic, View
from kite_hft.trading.gate.risk import gather, is_reducing, judge
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.order import Order

TABLE = instruments()
LIMITS = RiskLimits()
NOISY = Conduct(messages_min=100, ratio_stop=50.0, modifications_stop=8)
USUAL: dict[str, Any] = {
    "mark": lambda slot: PX, "modifications_max": 25, "last_seq": 0, "active": True, "halted": "",
}  # fmt: skip


NONE = Traffic()


def seen(contract: Traffic, strategy: Traffic = NONE) -> Callable[[int, int], tuple[Traffic, Traffic]]:
    return lambda number, slot: (contract, strategy)


def holding(*held: tuple[int, int, int]) -> Book:
    """(slot, strategy, quantity)."""
    book = Book(TABLE)
    for slot, strategy, quantity in held:
        book.position_of(strategy, slot, Product.MIS).quantity += quantity
    return book


def test_a_freeze_quantity_that_makes_no_sense_is_the_tables() -> None:
    for freeze, good in ((-1, False), (0, False), (1, True), (None, True)):
        table = InstrumentTable((instrument(0, freeze_quantity=freeze),))
        assert passes(intent(100, qty=1), Book(table), LIMITS, table) is good, freeze


def passes(wish: Any, book: Book, limits: RiskLimits = LIMITS, table: InstrumentTable = TABLE) -> bool:
    context = gather(intent(100), table, book, tick=(PX, 1, 0), **USUAL)
    return plain_of(context, limits).passes(wish, 0, 0) is not None


def test_what_is_no_intent_is_the_tables() -> None:
    wish, book = intent(100), Book(TABLE)
    assert passes(wish, book) and passes(tuple(wish), book)
    assert not passes(tuple(wish)[:-1], book) and not passes(list(wish), book)


def test_what_passed_tells_what_it_was_judged_by() -> None:
    wish, book = intent(100), holding((1, 1, 10))
    context = gather(wish, TABLE, book, tick=(PX, 7, 3), now_ns=50, **USUAL)
    for words, reducing in (({}, False), ({"slot": 1, "side": Side.SELL}, True)):
        passed = plain_of(context, LIMITS).passes(intent(100, **words), 0, 50)
        assert passed is not None and passed.reducing is reducing and passed.target is None
        assert (passed.ref_px, passed.tick_seq, passed.age_ns) == (PX, 7, 3)
        assert passed.instrument is TABLE[1 if reducing else 0]


def test_an_exit_that_a_person_should_know_of_is_the_tables() -> None:
    book = holding((0, 1, 10))
    wish = intent(100, side=Side.SELL)
    for more, good in (({}, True), ({"fresh": False}, False), ({"market_halted": True}, False)):
        context = gather(wish, TABLE, book, tick=(PX, 7, 3), now_ns=50, **USUAL | {"halted": "x"}, **more)
        assert (plain_of(context, LIMITS).passes(wish, 0, 50) is not None) is good, more


def test_views_are_asked_anew_at_their_border_and_when_the_markets_clock_jumps() -> None:
    wish, ahead, asked = intent(100), [0], []

    def view(slot: int, real_ns: int) -> View:
        asked.append(real_ns)
        return View(until_ns=100, phase_types=-1 if real_ns + ahead[0] < 100 else 0)

    context = gather(wish, TABLE, Book(TABLE), tick=(PX, 1, 0), **USUAL)
    clock = ManualClock(0, 0)
    ports = SimpleNamespace(
        clock=clock, fresh=lambda slot: True,
        latest=SimpleNamespace(look=lambda slot: (PX, 1, clock.mono), last_px=lambda slot: PX),
    )  # fmt: skip
    plain = plain_of(context, LIMITS, ports=ports, facts=Facts(view=view, ahead_ns=lambda: ahead[0]))

    def ask(real_ns: int) -> bool:
        clock.real = real_ns
        return plain.passes(wish, 0, 0) is not None

    assert ask(5) and ask(99) and asked == [5]
    assert not ask(100) and not ask(101) and asked == [5, 100, 101]
    ahead[0] = -50
    assert ask(120) and ask(149) and asked[3:] == [120]
    ahead[0] = 0
    assert not ask(149) and asked[4:] == [149]


def test_the_quick_look_at_the_clock_is_the_watchs() -> None:
    clock = ManualClock(0, 1000)
    watch = ClockWatch(clock.mono_ns, clock.real_ns, 10)
    wish = intent(100)
    context = gather(wish, TABLE, Book(TABLE), tick=(PX, 1, 0), **USUAL)
    ports = SimpleNamespace(
        clock=clock, fresh=lambda slot: True,
        latest=SimpleNamespace(look=lambda slot: (PX, 1, 0), last_px=lambda slot: PX),
    )  # fmt: skip
    plain = plain_of(context, LIMITS, ports=ports, facts=Facts(clock_wrong=watch.wrong, watch=watch))
    skew: list[int | None] = [None]
    for real_ns, skew_ns, good in ((1010, None, True), (990, 10, True), (1000, 11, False), (1000, None, True),
                                   (1011, None, False), (1000, None, False)):  # fmt: skip
        clock.real, skew[0] = real_ns, skew_ns
        watch.skew_ns = None if skew_ns is None else lambda: skew[0]
        assert (plain.passes(wish, 0, 0) is not None) is good, (real_ns, skew_ns)


def test_circuit_limits_out_of_their_table_have_an_age() -> None:
    clock, bands = ManualClock(1000, 0), {}
    wish = intent(100)
    context = gather(wish, TABLE, Book(TABLE), tick=(PX, 1, 0), **USUAL)
    ports = SimpleNamespace(
        clock=clock, fresh=lambda slot: True,
        latest=SimpleNamespace(look=lambda slot: (PX, 1, 0), last_px=lambda slot: PX),
    )  # fmt: skip
    facts = Facts(band=lambda slot: (0, 0, -1), bands=bands)
    plain = plain_of(context, RiskLimits(band_age_s=1e-6), ports=ports, facts=facts)
    for kept, good in ((None, False), ((PX, PX, 0), True), ((PX, PX, -1), False), ((PX, PX, 5000), True),
                       ((PX + 5, PX + 5, 0), False), ((0, PX, 0), False)):  # fmt: skip
        bands.clear()
        if kept is not None:
            bands[0] = kept
        assert (plain.passes(wish, 0, 0) is not None) is good, kept


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
    wish, book = intent(100), holding((0, 1, 10), (1, 2, -10))
    assert passes(wish, book, RiskLimits(**{limit: most}))
    assert not passes(wish, book, RiskLimits(**{limit: less}))


@pytest.mark.parametrize(("held", "side"), [(10, Side.SELL), (-10, Side.BUY)])
def test_live_exits_count_in_what_reduces(held: int, side: Side) -> None:
    book = holding((0, 1, held))
    position = book.position_of(1, 0, Product.MIS)
    position.open_buy, position.open_sell = (0, 4) if side == Side.SELL else (4, 0)
    for quantity, reducing in ((6, True), (7, False)):
        wish = intent(100, side=side, qty=quantity)
        context = gather(wish, TABLE, book, tick=(PX, 1, 0), **USUAL)
        plain = plain_of(context, LIMITS)
        passed = plain.passes(wish, 0, 0)
        assert passed is not None and passed.reducing is plain.reducing is reducing
        assert is_reducing(wish, book, None) is reducing


@pytest.mark.parametrize("of", [(1, 0), (1, 3), (2, 0)])
@pytest.mark.parametrize(
    ("limit", "most", "less"),
    [
        ("period_orders", 3, 2),
        ("period_quantity", 30, 29),
        ("period_value", 3000.0, 2999.99),
        ("max_gross_notional", 3000.0, 2999.99),
        ("repeats_max", 3, 2),
    ],
)
def test_it_counts_up_to_each_limit(limit: str, most: float, less: float, of: tuple[int, int]) -> None:
    """Two were sent before, of the same strategy and instrument, or of one of both."""
    if limit == "repeats_max" and of != (1, 0):
        return
    for value, good in ((most, True), (less, False)):
        limits = RiskLimits(**{limit: value})
        tally = Tally(limits)
        for at in range(2):
            tally.add(*of, Side.BUY, 10, 10 * PX, at)
        context = gather(intent(100), TABLE, Book(TABLE), tick=(PX, 1, 0), tally=tally, **USUAL)
        assert (judge(intent(100), context, limits) is None) is good
        assert (plain_of(context, limits).passes(intent(100), 0, 2) is not None) is good


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({"funds_paise": 100}, True), ({"funds_paise": 99}, False), ({"killed": "latch"}, False),
        ({"view": View(expiry="soon")}, False), ({"view": View(cut_off="late")}, False),
        ({"view": View(closed={"entry": "ban"})}, False),
        ({"view": View(unlisted={int(Product.MIS): "x"})}, False),
        ({"view": View(unlisted={int(Product.CNC): "x"})}, True),
        ({"facts": Facts(band=lambda slot: (PX, PX, 180 * 10**9))}, True),
        ({"facts": Facts(band=lambda slot: (PX, PX, 180 * 10**9 + 1))}, False),
        ({"facts": Facts(band=lambda slot: (PX - 10, PX - 5, 0))}, False),
        ({"facts": Facts(band=lambda slot: (PX + 5, PX + 10, 0))}, False),
        ({"facts": Facts(clock_wrong=lambda: "stepped")}, False),
        ({"facts": Facts(traffic=seen(Traffic(100, 2)), per_contract=NOISY)}, False),
        ({"facts": Facts(traffic=seen(Traffic(99, 1)), per_contract=NOISY)}, True),
        ({"facts": Facts(traffic=seen(Traffic(100, 3)), per_contract=NOISY)}, True),
        ({"facts": Facts(traffic=seen(NONE, Traffic(0, 0, 8)), per_strategy=NOISY)}, False),
        ({"facts": Facts(traffic=seen(NONE, Traffic(0, 0, 7)), per_strategy=NOISY)}, True),
    ],
)  # fmt: skip
def test_facts_at_their_edges(more: dict[str, Any], good: bool) -> None:
    limits = RiskLimits(min_funds=1.0)
    context = gather(intent(100), TABLE, Book(TABLE), tick=(PX, 1, 0), **USUAL, **more)
    assert (judge(intent(100), context, limits) is None) is good
    assert (plain_of(context, limits).passes(intent(100), 0, 0) is not None) is good


@pytest.mark.parametrize(
    ("side", "px", "order", "good"),
    [
        (Side.BUY, PX, {"px": PX + 5}, True), (Side.BUY, PX, {"px": PX}, False),
        (Side.SELL, PX, {"px": PX}, False), (Side.SELL, PX, {"px": PX - 5}, True),
        (Side.BUY, PX, {"px": 0}, False), (Side.BUY, PX, {"px": PX, "slot": 1}, True),
        (Side.BUY, PX, {"px": PX, "order_type": OrderType.SL, "status": OrderStatus.TRIGGER_PENDING}, True),
        (Side.BUY, PX, {"px": PX, "order_type": OrderType.SL, "status": OrderStatus.OPEN}, False),
        (Side.BUY, 0, {"px": PX + 500}, False),
    ],
)  # fmt: skip
def test_against_our_own_orders(side: Side, px: int, order: dict[str, Any], good: bool) -> None:
    book = Book(TABLE)
    words = {"slot": 0, "order_type": OrderType.LIMIT, "status": OrderStatus.OPEN} | order
    status = words.pop("status")
    live = Order(
        50,
        2,
        50,
        side=Side(3 - side),
        product=3,
        validity=1,
        flags=0,
        quantity=1,
        trigger_px=0,
        tag="t",
        **words,
    )
    live.status = status
    book.add(live)
    wish = intent(100, side=side, px=px, order_type=OrderType.LIMIT if px else OrderType.MARKET)
    context = gather(wish, TABLE, book, tick=(PX, 1, 0), **USUAL)
    assert (judge(wish, context, LIMITS) is None) is good
    assert passes(wish, book) is good


@pytest.mark.parametrize(
    ("product", "side", "good"),
    [(Product.CNC, Side.SELL, False), (Product.MTF, Side.SELL, False), (Product.MIS, Side.SELL, True),
     (Product.CNC, Side.BUY, True), (Product.MTF, Side.BUY, True)],
)  # fmt: skip
def test_sales_out_of_holdings_are_the_tables(product: Product, side: Side, good: bool) -> None:
    wish = intent(100, product=product, side=side)
    facts = Facts(holding=lambda slot: Holding(0))
    context = gather(wish, TABLE, Book(TABLE), tick=(PX, 1, 0), facts=facts, **USUAL)
    assert (judge(wish, context, LIMITS) is None) is good
    assert (plain_of(context, LIMITS).passes(wish, 0, 0) is not None) is good


def test_a_new_instrument_needs_room_among_the_positions() -> None:
    wish, book = intent(100), holding((1, 2, -10))
    assert passes(wish, book, RiskLimits(max_positions=2))
    assert not passes(wish, book, RiskLimits(max_positions=1))


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
    context = gather(wish, TABLE, book, tick=(PX, 1, 0), **USUAL)
    assert (plain_of(context, limits).passes(wish, 0, 0) is not None) is good
    assert (judge(wish, context, limits) is None) is good
