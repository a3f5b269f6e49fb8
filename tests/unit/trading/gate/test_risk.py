"""Every line of the risk table refuses what it must and lets pass what it may."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate_tools import plain_of
from orders_world import PX, S, instrument, instruments, intent

from kite_hft.layout import NO_SLOT, IntentKind, OrderStatus, OrderType, Product, Reason, Side, Validity
from kite_hft.trading.book import Book
from kite_hft.trading.gate import risk
from kite_hft.trading.gate.checks import Context, RiskLimits
from kite_hft.trading.gate.risk import CHECKS, Verdict, gather, judge
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Intent
from kite_hft.trading.lifecycle import Input
from kite_hft.trading.order import Order
from kite_hft.verify.risk.cases import CASES

TABLE = instruments()
MODIFY, CANCEL = IntentKind.MODIFY, IntentKind.CANCEL


class Desk:
    """A book and what surrounds an intent."""

    def __init__(self) -> None:
        self.book = Book(TABLE)
        self.tick = (PX, 1, 0)
        self.active, self.halted, self.last_seq, self.mark = True, "", 0, PX
        self.more: dict[str, Any] = {}  # what else gather is told
        self.limits = RiskLimits()

    def order(self, number: int, status: OrderStatus = OrderStatus.OPEN, **more: Any) -> Order:
        base: dict[str, Any] = {
            "strategy": 1, "strategy_seq": number, "slot": 0, "side": Side.BUY, "order_type": OrderType.LIMIT,
            "product": Product.MIS, "validity": Validity.DAY, "flags": 0, "quantity": 10, "px": PX,
            "trigger_px": 0, "tag": f"tag{number}", "status": status,
        }  # fmt: skip
        order = Order(order_no=number, **(base | more))
        self.book.add(order)
        return order

    def hold(self, quantity: int, slot: int = 0, strategy: int = 1) -> None:
        held = self.book.position_of(strategy, slot, Product.MIS)
        held.quantity += quantity

    def context(self, wish: Intent) -> Context:
        return gather(
            wish, TABLE, self.book, active=self.active, halted=self.halted, tick=self.tick,
            mark=lambda slot: self.mark, modifications_max=25, last_seq=self.last_seq,
            **self.more,
        )  # fmt: skip

    def judge(self, strategy_seq: int = 100, **fields: Any) -> Verdict | None:
        wish = intent(strategy_seq, **fields)
        context = self.context(wish)
        verdict, plain = judge(wish, context, self.limits), plain_of(context, self.limits)
        if plain.passes(wish, context.last_seq, context.now_ns) is not None:
            assert verdict is None
        assert judge(wish, self.context(wish), self.limits, plain=plain) == verdict
        return verdict

    def reason(self, **fields: Any) -> Reason | None:
        verdict = self.judge(**fields)
        return verdict.reason if verdict else None


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_good_intent_passes(desk: Desk) -> None:
    assert desk.judge() is None
    assert desk.judge(order_type=OrderType.MARKET, px=0) is None
    assert desk.judge(slot=3, qty=75, px=1000) is not None  # far off the last price
    desk.tick = (1000, 1, 0)
    assert desk.judge(slot=3, qty=75, px=1000) is None


BAD: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.BAD_INTENT, {"kind": 0}),
    (Reason.BAD_INTENT, {"kind": 9}),
    (Reason.BAD_INTENT, {"strategy_seq": 0}),
    (Reason.BAD_INTENT, {"side": 0}),
    (Reason.BAD_INTENT, {"side": 3}),
    (Reason.BAD_INTENT, {"order_type": 0}),
    (Reason.BAD_INTENT, {"order_type": 200}),
    (Reason.BAD_INTENT, {"order_type": OrderType.SL, "trigger_px": PX + 5}),
    (Reason.BAD_INTENT, {"order_type": OrderType.SL, "side": Side.SELL, "trigger_px": PX - 5}),
    (Reason.BAD_INTENT, {"order_type": OrderType.SL}),
    (Reason.BAD_INTENT, {"signal": math.inf}),
    (Reason.BAD_INTENT, {"product": 0}),
    (Reason.BAD_INTENT, {"product": 5}),
    (Reason.BAD_INTENT, {"validity": 0}),
    (Reason.BAD_INTENT, {"validity": Validity.TTL}),
    (Reason.BAD_INTENT, {"flags": 2}),
    (Reason.BAD_INTENT, {"qty": 0}),
    (Reason.BAD_INTENT, {"px": 0}),
    (Reason.BAD_INTENT, {"px": -PX}),
    (Reason.BAD_INTENT, {"trigger_px": -1}),
    (Reason.BAD_INTENT, {"signal": math.nan}),
    (Reason.UNKNOWN_INSTRUMENT, {"slot": 5}),
    (Reason.UNKNOWN_INSTRUMENT, {"slot": NO_SLOT}),
    (Reason.NOT_TRADABLE, {"slot": 2}),
    (Reason.NOT_TRADABLE, {"slot": 4, "qty": 75}),
    (Reason.LOT_MULTIPLE, {"slot": 3, "qty": 76}),
    (Reason.TICK_SIZE, {"px": PX + 1}),
    (Reason.MAX_ORDER_QUANTITY, {"slot": 3, "qty": 1875}),
    (Reason.MAX_ORDER_QUANTITY, {"qty": 10_001}),
    (Reason.PRICE_COLLAR, {"px": PX + 505}),
    (Reason.PRICE_COLLAR, {"px": PX - 505}),
    (Reason.MAX_ORDER_VALUE, {"qty": 2001}),
    (Reason.MAX_EXPOSURE, {"qty": 1001}),
    (Reason.UNKNOWN_ORDER, {"kind": CANCEL, "target_seq": 5}),
    (Reason.UNKNOWN_ORDER, {"kind": MODIFY, "target_seq": 5}),
]


@pytest.mark.parametrize(("reason", "fields"), BAD, ids=lambda v: str(v))
def test_refused(desk: Desk, reason: Reason, fields: dict[str, Any]) -> None:
    assert desk.reason(**fields) is reason


def test_the_edges_pass(desk: Desk) -> None:
    desk.limits = RiskLimits(max_position_size=200_000)
    for fields in ({"px": PX + 500}, {"px": PX - 500}, {"qty": 2000}, {"slot": 3, "qty": 1800}):
        assert desk.judge(**fields) is None, fields
    assert desk.reason(qty=2001, px=PX) is Reason.MAX_ORDER_VALUE


def test_numbers_stand_in_the_text(desk: Desk) -> None:
    verdict = desk.judge(px=PX + 505)
    assert verdict is not None and verdict.text == "price 10505 is 5.05 % off 10000 > 5.0 %"
    verdict = desk.judge(qty=1001)
    assert verdict is not None and "1001" in verdict.text and "100100.00" in verdict.text


def test_value_uses_the_multiplier(desk: Desk) -> None:
    rows = list(TABLE.rows)
    rows[3] = replace(rows[3], multiplier=100)
    wish = intent(1, slot=3, qty=75, px=PX)
    context = desk.context(wish)
    context.instrument = rows[3]
    verdict = judge(wish, context, desk.limits)
    assert verdict is not None and verdict.reason is Reason.MAX_ORDER_VALUE and "750000.00" in verdict.text


def test_a_market_order_is_valued_at_the_last_price(desk: Desk) -> None:
    assert desk.reason(order_type=OrderType.MARKET, px=0, qty=2001) is Reason.MAX_ORDER_VALUE


def test_not_active_and_duplicate_refuse_everything(desk: Desk) -> None:
    desk.order(1)
    desk.active = False
    for kind in (IntentKind.PLACE, IntentKind.MODIFY, IntentKind.CANCEL):
        assert desk.reason(kind=kind, target_seq=1) is Reason.NOT_ACTIVE
    desk.active, desk.last_seq = True, 100
    for kind in (IntentKind.PLACE, IntentKind.MODIFY, IntentKind.CANCEL):
        assert desk.reason(kind=kind, target_seq=1) is Reason.DUPLICATE_INTENT
    assert desk.judge(strategy_seq=101) is None


@pytest.mark.parametrize("kind", [0, int(IntentKind.PROBE), 99])
def test_what_is_no_order_call_is_refused(desk: Desk, kind: int) -> None:
    assert desk.reason(kind=kind) is Reason.BAD_INTENT


OPENING_ONLY: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.HALTED, {"halted": "kill"}),
    (Reason.REDUCING, {"more": {"reducing_only": "5 rejected in a row"}}),
    (Reason.MARKET_HALT, {"more": {"market_halted": True}}),
    (Reason.NO_SNAPSHOT, {"more": {"fresh": False}}),
    (Reason.NO_REFERENCE_PRICE, {"tick": (0, 0, -1)}),
    (Reason.STALE_TICK, {"tick": (PX, 1, 2 * S + 1)}),
]


@pytest.mark.parametrize(("reason", "state"), OPENING_ONLY)
def test_binds_openings_and_lets_reductions_and_cancels_pass(
    desk: Desk, reason: Reason, state: dict[str, Any]
) -> None:
    desk.hold(10)
    for name, value in state.items():
        setattr(desk, name, value)
    assert desk.reason() is reason
    assert desk.reason(side=Side.SELL, qty=11) is reason
    assert desk.reason(side=Side.SELL, qty=11, flags=1) is Reason.FROZEN, "whatever keeps openings back"
    assert desk.judge(side=Side.SELL, qty=10) is None
    desk.order(1)
    assert desk.judge(kind=CANCEL, target_seq=1) is None


def test_a_dead_token_refuses_everything_exits_and_cancels_too(desk: Desk) -> None:
    desk.hold(10)
    desk.order(1)
    desk.more = {"token_dead": "Incorrect api_key"}
    assert desk.reason(side=Side.SELL, qty=10) is Reason.TOKEN_DEAD
    assert desk.reason(kind=CANCEL, target_seq=1) is Reason.TOKEN_DEAD


def test_an_exit_never_opens_what_the_broker_has_closed_already(desk: Desk) -> None:
    assert desk.reason(side=Side.SELL, qty=10, flags=1) is Reason.FROZEN
    assert desk.judge(side=Side.SELL, qty=10) is None, "without the flag it may be meant as a short"
    desk.hold(10)
    assert desk.judge(side=Side.SELL, qty=10, flags=1) is None
    desk.book.position_of(1, 0, Product.MIS).cut_ns = 5 * S
    desk.more = {"now_ns": 6 * S - 1}
    assert desk.reason(side=Side.SELL, qty=11) is Reason.FROZEN, "the strategy may not know yet"
    assert desk.judge(side=Side.SELL, qty=10) is None
    desk.more = {"now_ns": 6 * S}
    assert desk.judge(side=Side.SELL, qty=11) is None


def test_just_fresh_enough(desk: Desk) -> None:
    desk.tick = (PX, 1, 2 * S)
    assert desk.judge() is None


def test_reducing_is_judged_per_strategy_and_product(desk: Desk) -> None:
    desk.hold(10, strategy=2)
    desk.halted = "kill"
    assert desk.reason(side=Side.SELL) is Reason.HALTED
    assert desk.judge(side=Side.SELL, strategy=2) is None
    assert desk.reason(side=Side.SELL, strategy=2, product=Product.CNC) is Reason.HALTED


def test_a_large_reduction_passes_limits_of_size_but_not_the_exchanges(desk: Desk) -> None:
    desk.hold(20_000)
    assert desk.judge(side=Side.SELL, qty=20_000) is None
    assert desk.reason(side=Side.SELL, qty=20_000, px=PX + 5000) is Reason.PRICE_COLLAR
    desk.hold(7500, slot=3)
    assert desk.reason(slot=3, side=Side.SELL, qty=1875) is Reason.MAX_ORDER_QUANTITY


def test_exposure_counts_positions_and_live_orders_of_all(desk: Desk) -> None:
    desk.hold(400)
    desk.hold(300, strategy=2)
    desk.order(1, OrderStatus.SENT, quantity=200, strategy=2)
    assert desk.judge(qty=100) is None
    assert desk.reason(qty=101) is Reason.MAX_EXPOSURE
    beyond = {"side": Side.SELL, "px": PX + 5}  # the live order
    assert desk.judge(qty=1200, **beyond) is None  # the worst case stays within: 400 + 300 - 1200
    assert desk.reason(qty=1701, **beyond) is Reason.MAX_EXPOSURE


def test_exposure_over_all_instruments(desk: Desk) -> None:
    desk.limits = RiskLimits(max_exposure=150_000)
    desk.hold(1000, slot=1)
    assert desk.judge(qty=500) is None
    assert desk.reason(qty=501) is Reason.MAX_EXPOSURE
    desk.mark = 0
    assert desk.reason(qty=1) is Reason.MAX_EXPOSURE


def test_the_smallest_price_is_a_price(desk: Desk) -> None:
    desk.tick = (1, 1, 0)
    assert desk.judge(order_type=OrderType.MARKET, px=0) is None
    desk.hold(5, slot=1)
    desk.mark = 1
    assert desk.judge(order_type=OrderType.MARKET, px=0) is None
    desk.mark = 0
    assert desk.reason(order_type=OrderType.MARKET, px=0) is Reason.MAX_EXPOSURE


def test_exposure_elsewhere_counts_with_its_multiplier() -> None:
    table = InstrumentTable((instrument(0), instrument(1, multiplier=5)))
    book = Book(table)
    book.position_of(1, 1, Product.MIS).quantity = 10
    wish = intent(100)
    for limit, reason in ((6000.0, None), (5999.99, Reason.MAX_EXPOSURE)):
        context = gather(
            wish, table, book, active=True, halted="", tick=(PX, 1, 0), mark=lambda slot: PX,
            modifications_max=25, last_seq=0,
        )  # fmt: skip
        verdict = judge(wish, context, RiskLimits(max_exposure=limit))
        assert (verdict.reason if verdict else None) is reason


def test_positions_and_working_orders(desk: Desk) -> None:
    desk.limits = RiskLimits(max_positions=1, max_working_orders=2)
    desk.hold(1)
    assert desk.judge() is None
    assert desk.reason(slot=1) is Reason.MAX_POSITIONS
    desk.order(1)
    assert desk.judge() is None
    desk.order(2)
    assert desk.reason() is Reason.MAX_WORKING_ORDERS


def test_frozen_side(desk: Desk) -> None:
    desk.order(1, OrderStatus.AMBIGUOUS)
    assert desk.reason() is Reason.FROZEN
    assert desk.reason(side=Side.SELL) is Reason.SELF_TRADE, "it may rest in the market"
    assert desk.judge(side=Side.SELL, px=PX + 5) is None
    assert desk.judge(slot=1) is None
    desk.hold(-30)
    assert desk.judge(qty=20) is None  # covers even if the ambiguous 10 fill
    assert desk.reason(qty=21) is Reason.FROZEN


def modification(desk: Desk, **fields: Any) -> Reason | None:
    return desk.reason(**({"kind": MODIFY, "target_seq": 1, "qty": 0, "px": 0} | fields))


def test_modifications(desk: Desk) -> None:
    order = desk.order(1)
    assert modification(desk, px=PX + 5) is None
    assert modification(desk, qty=11) is None
    assert modification(desk) is Reason.NO_CHANGE
    assert modification(desk, qty=10, px=PX) is Reason.NO_CHANGE
    assert modification(desk, px=PX + 3) is Reason.TICK_SIZE
    assert modification(desk, px=PX + 505) is Reason.PRICE_COLLAR
    assert modification(desk, px=PX + 5, slot=1) is Reason.BAD_INTENT
    assert modification(desk, qty=1001) is Reason.MAX_EXPOSURE
    order.filled = 5
    assert modification(desk, qty=5) is Reason.BAD_INTENT
    order.modifications = 25
    assert modification(desk, px=PX + 5) is Reason.MODIFICATION_CAP
    assert desk.judge(kind=CANCEL, target_seq=1) is None
    order.modifications, order.quantity_max = 0, 11
    assert modification(desk, px=PX + 5) is Reason.ORDER_NOT_OPEN


def test_another_type_needs_its_prices(desk: Desk) -> None:
    desk.order(1, side=Side.SELL, order_type=OrderType.SLM, px=0, trigger_px=PX - 100)
    assert modification(desk, order_type=OrderType.LIMIT) is Reason.BAD_INTENT
    assert modification(desk, order_type=OrderType.SL) is Reason.BAD_INTENT
    assert modification(desk, order_type=OrderType.SL, px=PX - 150) is None
    desk.order(2, side=Side.SELL)
    assert modification(desk, order_type=OrderType.SLM, target_seq=2) is Reason.BAD_INTENT
    assert modification(desk, order_type=OrderType.SLM, target_seq=2, trigger_px=PX - 5) is None


def test_an_entry_made_smaller_passes_whatever_the_state(desk: Desk) -> None:
    desk.order(1)
    desk.halted = "a test"
    assert modification(desk, qty=5) is None
    assert modification(desk, qty=5, px=PX, order_type=OrderType.LIMIT) is None
    assert modification(desk, qty=5, px=PX + 5) is Reason.HALTED, "at a better price it is likelier to fill"
    assert modification(desk, qty=5, order_type=OrderType.MARKET) is Reason.HALTED
    assert modification(desk, qty=11) is Reason.HALTED and modification(desk, px=PX - 5) is Reason.HALTED


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.SENT, OrderStatus.AMBIGUOUS])
def test_what_is_not_at_the_broker_can_be_cancelled_not_modified(desk: Desk, status: OrderStatus) -> None:
    desk.order(1, status)
    assert modification(desk, px=PX + 5) is Reason.ORDER_NOT_OPEN
    assert desk.judge(kind=CANCEL, target_seq=1) is None


def test_what_has_ended_can_be_neither(desk: Desk) -> None:
    order = desk.order(1)
    desk.book.enter(order, Input.REPORT_CANCELLED, 0)
    assert modification(desk, px=PX + 5) is Reason.ORDER_NOT_OPEN
    assert desk.reason(kind=CANCEL, target_seq=1) is Reason.ORDER_NOT_OPEN


def test_another_strategys_order_is_unknown(desk: Desk) -> None:
    desk.order(1, strategy=2)
    assert desk.reason(kind=CANCEL, target_seq=1) is Reason.UNKNOWN_ORDER


def test_asked_again_only_what_may_have_changed(desk: Desk) -> None:
    wish = intent(1)
    assert judge(wish, desk.context(wish), desk.limits) is None
    order = desk.order(1, OrderStatus.NEW)
    desk.last_seq, desk.limits = 1, RiskLimits(max_working_orders=1, max_position_size=1_000.0)
    (context := desk.context(wish)).counted = order
    assert judge(wish, context, desk.limits, again=True) is None
    desk.tick = (PX, 1, 10 * S)
    verdict = judge(wish, desk.context(wish), desk.limits, again=True)
    assert verdict is not None and verdict.reason is Reason.STALE_TICK


def test_an_exit_that_waited_does_not_grow_beyond_what_is_left(desk: Desk) -> None:
    desk.hold(20)
    exit_order = desk.order(1, side=Side.SELL, opening=False)
    wish = intent(100, kind=MODIFY, target_seq=1, side=0, qty=20, px=0)
    context = desk.context(wish)
    assert judge(wish, context, desk.limits) is None and context.reducing
    desk.book.ask_terms(exit_order, 20)  # it waits, and counts
    assert judge(wish, context, desk.limits, again=True) is None
    desk.hold(-10)  # closed by what the book did not count beside it: a trigger at the broker
    verdict = judge(wish, context, desk.limits, again=True)
    assert verdict is not None and verdict.reason is Reason.FROZEN
    price = intent(101, kind=MODIFY, target_seq=1, side=0, qty=0, px=PX + 5)
    less = intent(102, kind=MODIFY, target_seq=1, side=0, qty=5, px=0)
    context = desk.context(price)
    context.reducing = True
    assert judge(price, context, desk.limits, again=True) is None, "something is left that it closes"
    desk.hold(-10)
    verdict = judge(price, context, desk.limits, again=True)
    assert verdict is not None and verdict.reason is Reason.FROZEN and "nothing is left" in verdict.text
    assert judge(less, context, desk.limits, again=True) is None, "less of it passes"


def test_every_reason_of_the_table_is_tried_here_or_in_the_matrix() -> None:
    source = Path(__file__).read_text()
    here = {name for name in Reason.__members__ if f"Reason.{name}" in source}
    tried = here | {case.reason for case in CASES}
    assert {row.reason.name for row in CHECKS} <= tried
    assert risk.is_reducing(intent(1, kind=CANCEL), Book(TABLE), None)


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_limits_must_be_numbers(value: float) -> None:
    with pytest.raises(ValueError, match="max_order_value"):
        RiskLimits(max_order_value=value)


def test_a_limit_of_zero_refuses(desk: Desk) -> None:
    desk.limits = RiskLimits(max_order_value=0)
    assert desk.reason() is Reason.MAX_ORDER_VALUE
