"""Orders under any reports, in any order, doubled and late: the book agrees with its slow twin."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from orders_world import instruments
from reference import order_book as twin

from kite_hft.layout import OrderStatus, OrderType, Product, Side
from kite_hft.trading.book import Book
from kite_hft.trading.broker import OrderReport, TradeReport
from kite_hft.trading.lifecycle import LIVE, TERMINAL, Input
from kite_hft.trading.order import Order
from kite_hft.trading.pnl import CostBook, account

STATUSES = st.sampled_from(
    [
        None,
        OrderStatus.PENDING,
        OrderStatus.OPEN,
        OrderStatus.TRIGGER_PENDING,
        OrderStatus.COMPLETE,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
    ]
)
PRICES = st.integers(1, 3_000_000)


class BookMachine(RuleBasedStateMachine):
    """Executions are the truth that a made-up exchange keeps; reports show prefixes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.table = instruments()
        self.book = Book(self.table)
        self.costs = CostBook(self.book, self.table, None)
        self.orders: list[Order] = []
        self.done: dict[int, list[tuple[int, int]]] = {}  # order -> executions (quantity, px)
        self.reported: dict[int, int] = {}  # order -> executions that the book was told of
        self.told: list[tuple[Order, OrderReport]] = []
        self.fills: dict[tuple[int, int, int], list[list[int]]] = {}  # key -> [order, quantity, value]

    @rule(
        slot=st.integers(0, 1),
        side=st.sampled_from(Side),
        strategy=st.integers(1, 2),
        quantity=st.integers(1, 50),
        product=st.sampled_from([Product.MIS, Product.CNC]),
    )
    def place(self, slot: int, side: Side, strategy: int, quantity: int, product: Product) -> None:
        number = len(self.orders) + 1
        order = Order(
            number,
            strategy,
            number,
            slot,
            side,
            OrderType.LIMIT,
            product,
            1,
            0,
            quantity,
            100,
            0,
            f"tag{number}",
        )
        self.book.add(order)
        self.book.enter(order, Input.SUBMIT, 0)
        self.orders.append(order)
        self.done[number] = []
        self.reported[number] = 0

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), px=PRICES)
    def execute(self, data: Any, px: int) -> None:
        order = data.draw(st.sampled_from(self.orders))
        left = order.quantity - sum(q for q, _ in self.done[order.order_no])
        if left:
            self.done[order.order_no].append((data.draw(st.integers(1, left)), px))

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), status=STATUSES)
    def report(self, data: Any, status: OrderStatus | None) -> None:
        order = data.draw(st.sampled_from(self.orders))
        shown = self.done[order.order_no][: data.draw(st.integers(0, len(self.done[order.order_no])))]
        quantity = sum(q for q, _ in shown)
        value = sum(q * px for q, px in shown)
        average = value / quantity / 100 if quantity else 0.0
        report = OrderReport(
            f"id{order.order_no}", status, "", "", "NSE", "", 0, Side(order.side), OrderType.LIMIT,
            Product.MIS, order.quantity, quantity, order.quantity - quantity, 0, average, 100, 0,
            (order.tag,),
        )  # fmt: skip
        self.tell(order, report)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def repeat(self, data: Any) -> None:
        order, report = data.draw(st.sampled_from(self.told))
        before = (order.status, order.filled, order.filled_units)
        change = self.tell(order, report, keep=False)
        assert (order.status, order.filled, order.filled_units) == before and not change

    def tell(self, order: Order, report: OrderReport, keep: bool = True) -> bool:
        ended, before = order.status, order.filled
        change = self.book.fold(order, report, 0)
        assert order.filled >= before
        if ended in TERMINAL:
            assert order.status is ended
        if order.filled > before:
            self.account(order)
        if keep:
            self.told.append((order, report))
        return bool(change)

    def account(self, order: Order) -> None:
        """The twin hears of the fill that the book accounted: executions up to the quantity filled."""
        key = (order.strategy, order.slot, int(order.product))
        entries = self.fills.setdefault(key, [])
        known = sum(e[1] for e in entries if e[0] == order.order_no)
        known_value = sum(e[2] for e in entries if e[0] == order.order_no)
        quantity, value = 0, 0
        for q, px in self.done[order.order_no]:
            if quantity >= order.filled:
                break
            quantity, value = quantity + q, value + q * px
        assert quantity == order.filled
        sign = order.sign
        entries.append([order.order_no, sign * quantity - known, sign * value - known_value])

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def trades(self, data: Any) -> None:
        """The execution book, whole; it may know of more than any report."""
        order = data.draw(st.sampled_from(self.orders))
        for number, (quantity, px) in enumerate(self.done[order.order_no]):
            before = order.filled
            trade = TradeReport(
                f"{order.order_no}-{number}", f"id{order.order_no}", "NSE", "", 0, Side(order.side),
                Product.MIS, quantity, px / 100,
            )  # fmt: skip
            self.book.fold_trade(order, trade, 0)
            if order.filled > before:
                self.account(order)

    @invariant()
    def what_is_in_play_is_every_slot_counted_anew(self) -> None:
        found: dict[int, list[int]] = {}
        of: dict[tuple[int, int], list[int]] = {}
        for (_strategy, slot, product), p in self.book.positions.items():
            for at, part in enumerate((p.quantity, p.open_buy, p.open_sell)):
                found.setdefault(slot, [0, 0, 0])[at] += part
                of.setdefault((slot, product), [0, 0, 0])[at] += part
        busy = {p.slot for p in self.book.positions.values() if p.quantity or p.open_buy or p.open_sell}
        worst = dict.fromkeys(found, 0)
        for (slot, _product), (h, b, s) in of.items():
            worst[slot] += max(abs(h + b), abs(h - s))
        sums = {slot: (*three, worst[slot]) for slot, three in found.items()}
        assert dict(self.book.in_play()) == {slot: sums[slot] for slot in busy}
        assert all(self.book.worst_case(slot) == sums[slot][3] for slot in busy)

    @invariant()
    def positions_equal_the_twins(self) -> None:
        for key, entries in self.fills.items():
            held = self.book.positions[key]
            expected = twin.position([(quantity, value) for _, quantity, value in entries])
            assert (held.quantity, held.cost_units, held.realised_units) == expected
            assert held.realised_units == held.cost_units - sum(value for _, _, value in entries)

    @invariant()
    def open_quantities_are_those_of_the_live_orders(self) -> None:
        for key, held in self.book.positions.items():
            live = [o for o in self.orders if (o.strategy, o.slot, o.product) == key and o.status in LIVE]
            assert held.open_buy == sum(o.open_quantity for o in live if o.side == Side.BUY)
            assert held.open_sell == sum(o.open_quantity for o in live if o.side == Side.SELL)
        assert {o.order_no for o in self.book.live()} == {o.order_no for o in self.orders if o.status in LIVE}

    @invariant()
    def gross_is_cash_and_mark(self) -> None:
        gross = account(self.book, self.table, self.costs, lambda slot: 12_345).gross
        cash = sum(-value for entries in self.fills.values() for _, _, value in entries)
        held = sum(quantity for entries in self.fills.values() for _, quantity, _ in entries)
        assert gross == cash + held * 12_345


BookMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBook = BookMachine.TestCase


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(9_000, 11_000)), min_size=1, max_size=6),
    st.permutations(range(6)),
    st.data(),
)
def test_executions_in_any_order_set_the_value_that_rounded_averages_missed(
    executions: list[tuple[int, int]], order_of_trades: list[int], data: Any
) -> None:
    book = Book(instruments())
    total = sum(q for q, _ in executions)
    order = Order(1, 1, 1, 0, Side.BUY, OrderType.LIMIT, Product.MIS, 1, 0, total, 100, 0, "tag")
    book.add(order)
    book.enter(order, Input.SUBMIT, 0)
    shown = executions[: data.draw(st.integers(0, len(executions)))]
    quantity = sum(q for q, _ in shown)
    average = round(sum(q * px for q, px in shown) / quantity / 100, 1) if quantity else 0.0
    report = OrderReport(
        "id", OrderStatus.OPEN, "", "", "NSE", "", 0, Side.BUY, OrderType.LIMIT, Product.MIS, total, quantity,
        total - quantity, 0, average, 100, 0,
    )  # fmt: skip
    book.fold(order, report, 0)
    for i in [i for i in order_of_trades if i < len(executions)] * 2:
        q, px = executions[i]
        book.fold_trade(order, TradeReport(str(i), "id", "NSE", "", 0, Side.BUY, Product.MIS, q, px / 100), 0)
    exact = sum(q * px for q, px in executions)
    held = book.positions[(1, 0, Product.MIS)]
    assert (order.filled, order.filled_units) == (total, exact)
    assert (held.quantity, held.cost_units, held.net_units) == (total, exact, exact)
