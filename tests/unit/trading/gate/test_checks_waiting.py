"""Asked of an order that has waited, and of one that is changed: how much is it, and does it still close?"""

from __future__ import annotations

from typing import Any

import pytest
from orders_world import PX, World, filled, intent

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Side
from kite_hft.trading.gate import checks_conduct as conduct
from kite_hft.trading.gate import checks_form as form
from kite_hft.trading.gate import checks_size as size
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order
from kite_hft.verify.risk.bench import OTHER, SHARE, Bench


def live(bench: Bench, number: int, status: OrderStatus = OrderStatus.OPEN, **more: Any) -> Order:
    words: dict[str, Any] = {
        "strategy": 1, "strategy_seq": number, "slot": SHARE, "side": Side.BUY, "order_type": OrderType.LIMIT,
        "product": Product.MIS, "validity": 1, "flags": 0, "quantity": 10, "px": PX, "trigger_px": 0,
        "tag": f"t{number}", "status": status,
    }  # fmt: skip
    made = Order(order_no=number, **(words | more))
    bench.stage.book.add(made)
    return made


def told(bench: Bench, check: Any, wish: Any, counted: Order | None = None, **limits: Any) -> str | None:
    context = bench.stage.gate.context(wish, 0, bench.clock.mono)
    context.counted = counted
    return check(wish, context, RiskLimits(**limits))  # type: ignore[no-any-return]


def test_an_instrument_that_is_held_takes_no_place_of_its_own_when_an_order_has_waited() -> None:
    for held, passes in ((5, True), (0, False)):
        bench = Bench(held=((1, OTHER, Product.MIS, 7),))
        bench.stage.book.position_of(2, SHARE, Product.MIS).quantity = held
        waits = live(bench, 1, OrderStatus.NEW)
        text = told(bench, size.positions, intent(1), waits, max_positions=1)
        assert text == (None if passes else "1 instruments in play >= max_positions 1"), held


def test_nor_does_one_that_others_buy_or_sell() -> None:
    for side in Side:
        bench = Bench(held=((1, OTHER, Product.MIS, 7),))
        waits = live(bench, 1, OrderStatus.NEW)
        live(bench, 2, strategy=2, side=side)
        assert told(bench, size.positions, intent(1), waits, max_positions=1) is None


def test_what_has_waited_is_counted_once() -> None:
    bench = Bench()
    waits = live(bench, 1, OrderStatus.NEW)
    assert told(bench, size.position_size, intent(1), waits, max_position_size=1000.0) is None
    assert told(bench, size.position_size, intent(1), waits, max_position_size=999.99) == (
        "worst case 10 of NSE:SBIN = 1000.00 > max_position_size 999.99"
    )


@pytest.mark.parametrize(
    ("seq", "qty", "shares"),
    [(ENGINE_SEQ - 1, 0, 20), (ENGINE_SEQ, 0, 10), (ENGINE_SEQ + 1, 0, 10), (9, 0, 20), (9, 15, 15)],
)
def test_a_price_is_changed_of_all_slices_by_a_strategy_and_of_one_by_us(
    seq: int, qty: int, shares: int
) -> None:
    """Of 30 in three slices one has filled: 20 are left that the price is for."""
    bench = Bench()
    live(bench, 1)
    for number, status in ((2, OrderStatus.OPEN), (3, OrderStatus.COMPLETE)):
        live(bench, number, status, strategy_seq=ENGINE_SEQ + number, parent=1)
    wish = intent(1, kind=IntentKind.MODIFY, order_type=0, target_seq=1, qty=qty, px=PX)
    wish = wish._replace(strategy_seq=seq)
    most = PX * shares / 100
    assert told(bench, size.order_value, wish, max_order_value=most) is None
    assert told(bench, size.order_value, wish, max_order_value=most - 0.01) == (
        f"order value {most:.2f} > max_order_value {most - 0.01:.2f}"
    )


def test_a_strategy_changes_all_slices_and_we_one_as_often_as_each_may_be() -> None:
    for seq, done, text in (
        (ENGINE_SEQ - 1, (0, 25), "25 modifications >= 25: cancel and place anew"),
        (ENGINE_SEQ - 1, (25, 0), "25 modifications >= 25: cancel and place anew"),
        (ENGINE_SEQ - 1, (24, 24), None),
        (ENGINE_SEQ, (0, 25), None),
        (ENGINE_SEQ, (25, 0), "25 modifications >= 25: cancel and place anew"),
    ):
        bench = Bench()
        live(bench, 1, modifications=done[0])
        live(bench, 2, strategy_seq=ENGINE_SEQ + 2, parent=1, modifications=done[1])
        wish = intent(1, kind=IntentKind.MODIFY, order_type=0, target_seq=1, qty=0, px=PX - 5)
        assert told(bench, form.modifications, wish._replace(strategy_seq=seq)) == text, (seq, done)


def test_of_an_order_in_slices_that_has_waited_those_that_still_live_take_room() -> None:
    bench = Bench()
    waits = live(bench, 1, OrderStatus.NEW)
    live(bench, 5, strategy=2)
    assert told(bench, size.working, intent(1), waits, max_working_orders=2) is None
    text = "1 live orders >= max_working_orders 1"
    assert told(bench, size.working, intent(1), waits, max_working_orders=1) == text
    for number, status in ((2, OrderStatus.NEW), (3, OrderStatus.COMPLETE)):
        live(bench, number, status, strategy_seq=ENGINE_SEQ + number, parent=1)
    assert told(bench, size.working, intent(1), waits, max_working_orders=3) is None
    text = "1 live orders + 2 slices > max_working_orders 2"
    assert told(bench, size.working, intent(1), waits, max_working_orders=2) == text


HELD: dict[str, Any] = {"held": ((1, SHARE, Product.MIS, 10),)}
EXIT: dict[str, Any] = {"side": Side.SELL, "opening": False}


@pytest.mark.parametrize(
    ("number", "words", "before"),
    [
        (4, {}, True), (6, {}, False), (6, {"order_id": "k6"}, True), (4, {"order_id": "k4"}, True),
        (4, {"status": OrderStatus.NEW}, False), (6, {"status": OrderStatus.NEW}, False),
        (4, {"opening": True}, False), (4, {"side": Side.BUY}, False), (4, {"strategy": 2}, False),
        (4, {"slot": OTHER}, False), (4, {"product": Product.NRML}, False),
    ],
)  # fmt: skip
def test_which_exits_go_before_one_that_has_waited(number: int, words: dict[str, Any], before: bool) -> None:
    """Those that have left, in the order of their making; what the broker knows by an id has left."""
    bench = Bench(**HELD)
    waits = live(bench, 5, OrderStatus.NEW, **EXIT)
    assert conduct.outrun(bench.stage.book, waits) is None, "alone it closes what is held"
    live(bench, number, **{"status": OrderStatus.SENT, "quantity": 1} | EXIT | words)
    text = "an exit of 10: 10 held, 1 under way before it" if before else None
    assert conduct.outrun(bench.stage.book, waits) == text


def test_of_a_short_position_purchases_are_the_exits() -> None:
    bench = Bench(held=((1, SHARE, Product.MIS, -10),))
    waits = live(bench, 5, OrderStatus.NEW, quantity=7, opening=False)
    live(bench, 4, quantity=3, opening=False)
    assert conduct.outrun(bench.stage.book, waits) is None
    live(bench, 3, quantity=1, opening=False)
    assert conduct.outrun(bench.stage.book, waits) == "an exit of 7: 10 held, 4 under way before it"


def test_an_exit_of_the_same_size_at_another_price_grows_in_nothing() -> None:
    bench = Bench(**HELD)
    live(bench, 1, **EXIT)
    live(bench, 2, quantity=4, **EXIT)  # found again meanwhile: together they are too much
    for qty, passes in ((10, True), (0, True), (11, False)):
        change = {"kind": IntentKind.MODIFY, "order_type": 0, "side": 0, "target_seq": 1}
        wish = intent(9, qty=qty, px=PX + 5, **change)
        context = bench.stage.gate.context(wish, 0, bench.clock.mono)
        context.reducing = True
        text = conduct.outgrown(wish, context, RiskLimits())
        assert text == (None if passes else "an exit would grow to 11: 10 held"), qty


def test_an_exit_stays_one_down_to_the_last_share_that_is_held() -> None:
    for side, sign in ((Side.SELL, 1), (Side.BUY, -1)):
        for held, text in (
            (1, None),
            (0, "nothing is left for this exit to close: 0 held on its side"),
            (-3, "nothing is left for this exit to close: 3 held on its side"),
        ):
            bench = Bench()
            bench.stage.book.position_of(1, SHARE, Product.MIS).quantity = held * sign
            exit_ = live(bench, 1, side=side, opening=False)
            assert conduct.closed(bench.stage.book, exit_) == text


def test_an_exit_that_waits_is_not_behind_a_growth_that_waits_behind_it() -> None:
    """Its order has left at its old quantity; from when the change has left, the larger one counts."""
    bench = Bench(**HELD)
    waits = live(bench, 5, OrderStatus.NEW, quantity=4, **EXIT)
    grows = live(bench, 4, quantity=6, **EXIT)
    bench.stage.book.ask_terms(grows, 10, (10, PX, 0, OrderType.LIMIT))
    assert grows.open_quantity == 10 and conduct.outrun(bench.stage.book, waits) is None
    grows.growth = 0
    assert conduct.outrun(bench.stage.book, waits) == "an exit of 4: 10 held, 10 under way before it"
    bench.stage.book.set_terms(grows, 6, PX, 0, 0)
    assert conduct.outrun(bench.stage.book, waits) is None
    bench.stage.book.ask_terms(grows, 10, (10, PX, 0, OrderType.LIMIT))
    bench.stage.book.set_terms(grows, 10, PX, 0, 0)
    assert grows.growth == 0 and conduct.outrun(bench.stage.book, waits) is not None
    bench.stage.book.set_terms(grows, 6, PX, 0, 0)
    bench.stage.book.ask_terms(grows, 10)  # read from the journal: an earlier process let it out
    assert conduct.outrun(bench.stage.book, waits) is not None


def test_of_an_exit_and_the_growth_of_another_the_first_asked_for_leaves_first() -> None:
    world = World().start()
    world.send(1, qty=20)
    filled(world, 20)
    world.send(2, side=Side.SELL, qty=10, px=PX + 50)
    for number in range(3, 8):
        world.send(number, slot=1, qty=1)
    for number in (3, 4):  # with the proof of the address ten calls in all: the window is full
        world.send(number + 6, kind=IntentKind.CANCEL, target_seq=number, slot=1)
    world.run(0.8)
    world.quote()
    world.wish(20, side=Side.SELL, qty=10, px=PX + 60)
    world.step()
    world.wish(21, kind=IntentKind.MODIFY, target_seq=2, side=0, qty=20, px=0)
    world.step()
    assert (len(world.stage.desk.throttle), world.order(2).open_quantity) == (2, 20)
    world.run(3.0)
    assert world.status(20) is OrderStatus.OPEN and world.order(2).growth == 0


def test_a_growth_that_has_left_counts_before_its_answer() -> None:
    world = World().start()
    world.send(1, qty=20)
    filled(world, 20)
    world.send(2, side=Side.SELL, qty=10, px=PX + 50)
    world.wish(3, kind=IntentKind.MODIFY, target_seq=2, side=0, qty=20, px=0)
    world.step()
    assert (world.order(2).open_quantity, world.order(2).growth) == (20, 0) and world.stage.desk.modifying
