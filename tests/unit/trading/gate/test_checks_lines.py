"""Single lines of the table, each asked for itself at its edge: nothing that stands before it helps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from orders_world import PX, intent

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate import checks_conduct as conduct
from kite_hft.trading.gate import checks_form as form
from kite_hft.trading.gate import checks_market as market
from kite_hft.trading.gate import checks_size as size
from kite_hft.trading.gate.facts import Traffic
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.gate.risk import is_reducing, plain_rows
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order
from kite_hft.verify.risk.bench import CURRENCY, METAL, OPTION, OTHER, SHARE, Bench, each_kind

BUY, SELL = Side.BUY, Side.SELL
S = 1_000_000_000


def asked(check: Any, wish: Any, limits: Any = None, *, given: Any = None, **more: Any) -> str | None:
    """What one line says of an intent in an open market, or where `more` is otherwise."""
    bench = Bench(**(given or {}))
    context = bench.stage.gate.context(wish, 0, bench.clock.mono)
    for name, value in more.items():
        setattr(context, name, value)
    return check(wish, context, limits or RiskLimits())  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", list(OrderType))
def test_only_what_is_at_market_needs_protection(kind: OrderType) -> None:
    none: Any = SimpleNamespace(market_protection=0.0)
    text = asked(market.protection, intent(1, order_type=kind), none)
    if kind in (OrderType.MARKET, OrderType.SLM):
        assert text == "market protection 0.0 is neither -1 nor in (0, 100] percent"
    else:
        assert text is None
    assert asked(market.protection, intent(1, order_type=kind)) is None


@pytest.mark.parametrize(
    ("closed", "side", "product", "word"),
    [
        ({"short": "gsm"}, SELL, Product.MIS, "short"), ({"short": "gsm"}, BUY, Product.MIS, None),
        ({"all": "gsm"}, BUY, Product.MIS, "all"), ({"entry": "gsm"}, SELL, Product.CNC, "entry"),
        ({"MIS": "gsm"}, BUY, Product.MIS, "MIS"), ({"MIS": "gsm"}, BUY, Product.CNC, None),
        ({"btst": "gsm"}, SELL, Product.CNC, None), ({}, SELL, Product.MIS, None),
    ],
)  # fmt: skip
def test_what_a_list_closes(closed: dict[str, str], side: Side, product: Product, word: str | None) -> None:
    view = replace(Bench().stage.gate.context(intent(1), 0, 0).view, closed=closed)
    text = asked(market.restricted, intent(1, side=side, product=product), view=view)
    assert text == (word and f"NSE:SBIN is on the list gsm: {word} is closed")


def test_a_price_is_fresh_up_to_the_second_that_is_told() -> None:
    limits = RiskLimits(stale_tick_s=3.0, price_collar_percent=5.0)
    far = intent(1, px=PX * 2)
    for age_ns, fresh in ((0, True), (3 * S, True), (3 * S + 1, False), (-1, False)):
        assert (asked(market.stale, far, limits, age_ns=age_ns) is None) is fresh
        assert (asked(market.collar, far, limits, age_ns=age_ns) is None) is not fresh, "no usable price"


def stop_order(**more: Any) -> Any:
    """A buying stop at 103 with its limit at 104, which waits for its trigger."""
    words = {"order_type": int(OrderType.SL), "side": int(BUY), "px": PX + 400, "trigger_px": PX + 300,
             "quantity": 10, "quantity_max": 0, "product": int(Product.MIS)}  # fmt: skip
    return SimpleNamespace(**words | more)


@pytest.mark.parametrize(
    ("kind", "words", "passes"),
    [
        (0, {"qty": 5}, True), (OrderType.SL, {"qty": 5}, True), (OrderType.LIMIT, {}, False),
        (OrderType.LIMIT, {"px": PX}, True), (OrderType.SLM, {}, False), (OrderType.MARKET, {}, True),
        (OrderType.SLM, {"trigger_px": PX + 50}, True),
    ],
)  # fmt: skip
def test_what_becomes_of_another_type_is_held_to_the_collar_at_the_prices_that_it_had(
    kind: int, words: dict[str, int], passes: bool
) -> None:
    """A stop's limit that waited far from the price is in the market when the stop becomes a limit."""
    wish = intent(2, kind=IntentKind.MODIFY, order_type=kind, **{"qty": 0, "px": 0} | words)
    text = asked(
        market.collar, wish, RiskLimits(price_collar_percent=2.0), target=stop_order(), age_ns=0, ref_px=PX
    )
    assert (text is None) is passes, text


@pytest.mark.parametrize(
    ("kind", "words", "passes"),
    [
        (0, {"qty": 5}, True), (OrderType.SL, {"qty": 5}, True), (OrderType.LIMIT, {}, False),
        (OrderType.LIMIT, {"px": PX}, True), (OrderType.SLM, {}, False), (OrderType.MARKET, {}, True),
        (OrderType.SL, {"px": PX + 250}, False), (0, {"trigger_px": PX + 250}, False),
    ],
)  # fmt: skip
def test_what_becomes_of_another_type_is_held_to_the_circuit_at_the_prices_that_it_had(
    kind: int, words: dict[str, int], passes: bool
) -> None:
    """The limits of the day have moved since the stop was taken."""
    wish = intent(2, kind=IntentKind.MODIFY, order_type=kind, **{"qty": 0, "px": 0} | words)
    given = {"band": {0: (PX - 200, PX + 200, 0.0)}}
    text = asked(market.circuit, wish, target=stop_order(), given=given)
    assert (text is None) is passes, text


def test_a_modification_to_a_type_that_does_not_exist() -> None:
    for kind in (5, 77, 255):
        wish = intent(2, kind=IntentKind.MODIFY, order_type=kind, qty=0, px=0)
        assert asked(form.numbers, wish, target=stop_order()) == f"order type {kind} does not exist"


def test_an_opening_order_becomes_no_type_that_is_not_enabled_and_an_exit_may() -> None:
    limits = RiskLimits(order_types=(OrderType.SL,))
    wish = intent(2, kind=IntentKind.MODIFY, order_type=OrderType.LIMIT, qty=0, px=PX)
    text = asked(form.numbers, wish, limits, target=stop_order())
    assert text == "order type LIMIT is not enabled"
    assert asked(form.numbers, wish, limits, target=stop_order(), reducing=True) is None
    assert asked(form.numbers, wish, target=stop_order()) is None


def test_what_is_enlarged_counts_at_the_price_at_which_it_stands() -> None:
    wish = intent(2, kind=IntentKind.MODIFY, qty=20, px=0)
    for check, name in ((size.position_size, "max_position_size"), (size.exposure, "max_exposure")):
        for rupees, passes in ((1040.0, True), (1039.99, False)):
            text = asked(check, wish, RiskLimits(**{name: rupees}), target=stop_order(), ref_px=PX)
            assert (text is None) is passes, (name, text)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_what_is_held_of_one_product_closes_nothing_of_another(side: Side) -> None:
    sign = 1 if side == SELL else -1  # NRML against the wish, MIS with it: netted they would be nothing
    held = ((1, OPTION, Product.NRML, 75 * sign), (2, OPTION, Product.MIS, -75 * sign))
    wish = intent(1, slot=OPTION, side=side, product=Product.MIS, qty=75)
    lot = PX * 75 / 100
    for check, name in ((size.position_size, "max_position_size"), (size.exposure, "max_exposure")):
        for rupees, passes in ((3 * lot, True), (3 * lot - 0.01, False)):
            text = asked(check, wish, RiskLimits(**{name: rupees}), given={"held": held}, ref_px=PX)
            assert (text is None) is passes, (name, text)
    book = Bench(held=held).stage.book
    assert book.worst_case(OPTION) == book.in_play()[OPTION][3] == 150


@pytest.mark.parametrize("product", [Product.NRML, Product.MIS])
def test_the_quick_way_leaves_another_product_in_play_to_the_table(product: Product) -> None:
    for qty, passes in ((75, True), (150, product == Product.NRML)):
        limits = {"max_position_size": PX * 150 / 100, "max_order_value": 1e9, "max_exposure": 1e9}
        given = {"held": ((1, OPTION, Product.NRML, -75),), "limits": limits}
        bench = Bench(**given)
        wish = intent(1, slot=OPTION, side=BUY, product=product, qty=qty)
        verdict = bench.stage.gate.judge(wish, 0, bench.clock.mono)[0]
        reason = None if verdict is None else verdict.reason.name
        assert reason == (None if passes else "MAX_EXPOSURE")


def test_exits_that_we_keep_may_lie_far_from_the_price() -> None:
    for seq, passes in ((ENGINE_SEQ - 1, False), (ENGINE_SEQ, True), (ENGINE_SEQ + 1, True)):
        far = intent(1, px=PX * 2)._replace(strategy_seq=seq)
        assert (asked(market.collar, far, reducing=True, age_ns=0) is None) is passes
        assert asked(market.collar, far, reducing=False, age_ns=0), "an opening never"


@pytest.mark.parametrize("kind", ["CE", "PE"])
def test_an_option_without_a_trade_is_not_traded_at_market(kind: str) -> None:
    row = replace(each_kind()[OPTION], kind=kind)
    for order_type, text in ((OrderType.MARKET, "has not traded"), (OrderType.SLM, "has not traded"),
                             (OrderType.LIMIT, ""), (OrderType.SL, "")):  # fmt: skip
        wish = intent(1, slot=OPTION, order_type=order_type)
        told = asked(market.untraded, wish, given={"traded": ()}, instrument=row)
        assert text in (told or "") and bool(told) is bool(text)
        assert asked(market.untraded, wish, given={"traded": (OPTION,)}, instrument=row) is None


@pytest.mark.parametrize(("closed", "most"), [({}, 17), ({"btst": "t2t"}, 10)])
def test_what_may_be_sold_of_holdings(closed: dict[str, str], most: int) -> None:
    """10 are settled, 3 of yesterday, 4 bought today: on a trade-to-trade list only the 10 count."""
    given = {"holding": {OTHER: {"settled": 10, "t1": 3, "authorised": 100}},
             "held": ((1, OTHER, Product.CNC, 4),)}  # fmt: skip
    limits = RiskLimits(btst=True)
    for qty in range(8, 20):
        wish = intent(1, slot=OTHER, side=SELL, product=Product.CNC, qty=qty)
        view = replace(Bench().stage.gate.context(wish, 0, 0).view, closed=closed)
        text = asked(market.holdings, wish, limits, given=given, view=view)
        assert (text is None) is (qty <= most), (qty, text)


def test_what_was_bought_back_after_the_broker_told_of_the_sale_gives_nothing_back() -> None:
    """5 of 10 are sold by his word, all of them ours; 2 have been bought since."""
    given = {"holding": {OTHER: {"settled": 10, "used": 5, "ours": 5, "authorised": 100}},
             "held": ((1, OTHER, Product.CNC, -3),)}  # fmt: skip
    for qty, text in (
        (5, None),
        (6, "a sale of 6: 10 settled + 0 T1 + 0 bought today - 5 used - 0 under way = 5"),
    ):
        wish = intent(1, slot=OTHER, side=SELL, product=Product.CNC, qty=qty)
        assert asked(market.holdings, wish, given=given) == text


def test_a_stop_limit_needs_both_prices() -> None:
    stop = {"order_type": OrderType.SL}
    assert asked(form.numbers, intent(1, px=0, trigger_px=PX, **stop)) == "a limit price is missing"
    assert asked(form.numbers, intent(1, px=PX, trigger_px=0, **stop)) == "a trigger price is missing"
    assert asked(form.numbers, intent(1, px=PX, trigger_px=PX, **stop)) is None


def resting(**more: Any) -> Order:
    words: dict[str, Any] = {
        "order_no": 1, "strategy": 1, "strategy_seq": 1, "slot": 0, "side": SELL, "order_type": OrderType.SL,
        "product": 3, "validity": 1, "flags": 0, "quantity": 10, "px": PX, "trigger_px": PX, "tag": "",
    }  # fmt: skip
    return Order(**(words | more))


def test_a_stop_meets_nobody_before_it_has_triggered() -> None:
    for status, meets in ((OrderStatus.TRIGGER_PENDING, False), (OrderStatus.OPEN, True)):
        order = resting(status=status)
        assert conduct.meets(PX, BUY, order) is meets and conduct.meets(None, BUY, order) is meets
        assert conduct.meets(PX - 1, BUY, order) is False


def test_where_the_brokers_books_contradict_one_another_nothing_opens() -> None:
    def told(reducing: bool) -> str | None:
        bench = Bench()
        bench.stage.book.apart[0] = "the books differ"
        context = bench.stage.gate.context(intent(1), 0, bench.clock.mono)
        context.reducing = reducing
        return conduct.frozen(intent(1), context, RiskLimits())

    assert told(False) == "the books differ" and told(True) is None


def test_the_ratio_of_no_trades_is_that_of_one() -> None:
    levels = Conduct(messages_min=5, ratio_stop=10.0)
    assert conduct.noise(Traffic(9, 0), levels) is None
    assert conduct.noise(Traffic(10, 0), levels) == "10 messages, 0 trades: 10.0 to one >= 10"


def test_orders_that_are_promised_count_as_live() -> None:
    def told(promised: int) -> str | None:
        bench = Bench()
        bench.stage.book.promised = promised
        context = bench.stage.gate.context(intent(1), 0, bench.clock.mono)
        return size.working(intent(1), context, RiskLimits(max_working_orders=2))

    assert told(1) is None and told(2) == "2 live orders >= max_working_orders 2"


@pytest.mark.parametrize(
    ("freeze", "lot", "quantity", "orders"),
    [
        (1800, 75, 4500, 3),
        (1800, 75, 3600, 2),
        (1800, 75, 1800, 1),
        (1850, 75, 3675, 3),
        (0, 75, 75_000, 1),
        (None, 75, 75_000, 1),
    ],
)
def test_an_order_in_slices_takes_the_room_of_each(
    freeze: int | None, lot: int, quantity: int, orders: int
) -> None:
    def told(room: int) -> str | None:
        bench = Bench()
        wish = intent(1, qty=quantity)
        context = bench.stage.gate.context(wish, 0, bench.clock.mono)
        assert context.instrument is not None
        context.instrument = replace(context.instrument, freeze_quantity=freeze, lot_size=lot)
        return size.working(wish, context, RiskLimits(max_working_orders=room))

    text = f"0 live orders + {orders} slices > max_working_orders {orders - 1}"
    assert told(orders) is None
    assert told(orders - 1) == (text if orders > 1 else "0 live orders >= max_working_orders 0")


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        ((1, 10, 0), None),
        ((2, 10, 0), "2 + 1 orders > period_orders 2"),
        ((1, 11, 0), "quantity 11 + 10 > period_quantity 20"),
        ((1, 10, 1), "value 0.01 + 1000.00 > period_value 1000.00"),
        ((0, 0, 100), "value 1.00 + 1000.00 > period_value 1000.00"),
    ],
)
def test_which_limit_of_a_period_is_told(seen: tuple[int, int, int], text: str | None) -> None:
    limits = RiskLimits(period_s=60, period_orders=2, period_quantity=20, period_value=1000)
    full = SimpleNamespace(**dict(zip(("orders", "quantity", "value_paise"), seen, strict=True)))
    none = SimpleNamespace(orders=0, quantity=0, value_paise=0)
    for of_strategy, of_slot, whose in ((full, none, "strategy 1"), (none, full, "slot 0")):
        tally: Any = SimpleNamespace(
            of_strategy=lambda strategy, now_ns, found=of_strategy: found,
            of_slot=lambda slot, now_ns, found=of_slot: found,
        )
        told = asked(size.period, intent(1, qty=10, px=PX), limits, tally=tally)
        assert told == (text and f"{whose} within 60 s: {text}")


def test_a_change_of_an_exit_that_closes_all_reduces_unless_it_grows() -> None:
    book = Bench().stage.book
    book.position_of(1, 0, Product.MIS).quantity = 10
    exit_ = resting(quantity=10, product=Product.MIS, status=OrderStatus.OPEN, order_type=OrderType.LIMIT)
    book.add(exit_)
    change = {"kind": IntentKind.MODIFY, "order_type": 0, "side": SELL}
    for qty, reduces in ((0, True), (1, True), (9, True), (10, True), (11, False)):
        assert is_reducing(intent(1, qty=qty, px=PX + 5, **change), book, exit_) is reduces, qty
    exit_.quantity_max = 12  # asked for and not answered
    assert is_reducing(intent(1, qty=12, px=PX, **change), book, exit_) is True
    assert is_reducing(intent(1, qty=13, px=PX, **change), book, exit_) is False


def test_a_change_of_an_order_that_opens_is_judged_with_all_of_it() -> None:
    """9 are short and 10 are being bought: made smaller or moved, it still was to turn the position."""
    book = Bench().stage.book
    book.position_of(1, 0, Product.MIS).quantity = -9
    turn = resting(side=BUY, product=Product.MIS, status=OrderStatus.OPEN, order_type=OrderType.LIMIT)
    turn.opening = True
    book.add(turn)
    for qty in (0, 5, 10):
        wish = intent(1, kind=IntentKind.MODIFY, order_type=0, side=BUY, qty=qty, px=PX + 5)
        assert is_reducing(wish, book, turn) is False, qty


def test_the_quick_way_does_not_value_what_is_not_priced_in_paise() -> None:
    weights = [row[3] for row in plain_rows(each_kind())]
    assert (weights[SHARE], weights[METAL], weights[CURRENCY]) == (1, 2500, 0)
    bench = Bench(limits={"max_order_value": 1000.0})
    words = {"slot": CURRENCY, "product": Product.NRML, "qty": 1}
    refused = bench.ask(**words)
    assert refused is not None and refused[0] == "MAX_ORDER_VALUE", "100,000 rupees"
