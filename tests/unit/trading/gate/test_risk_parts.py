"""Parts of risk.py for themselves: what reduces, which order is named, which lines are left to ask."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from orders_world import PX, intent

from kite_hft.layout import IntentKind, OrderStatus, OrderType, Product, Reason, Side
from kite_hft.trading.book import Book
from kite_hft.trading.gate import risk
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.gate.risk import Verdict, is_reducing, judge, judge_as, plain_rows, target_of
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order
from kite_hft.verify.risk.bench import NO_FREEZE, OPTION, OTHER, SHARE, Bench, each_kind

BUY, SELL = Side.BUY, Side.SELL
OPEN, ENDED = OrderStatus.OPEN, OrderStatus.CANCELLED


def order(number: int = 1, **more: Any) -> Order:
    words: dict[str, Any] = {
        "order_no": number, "strategy": 1, "strategy_seq": number, "slot": 0, "side": BUY,
        "order_type": OrderType.SL, "product": 3, "validity": 1, "flags": 0, "quantity": 10, "px": PX,
        "trigger_px": PX - 5, "tag": f"t{number}", "status": OPEN,
    }  # fmt: skip
    return Order(**(words | more))


def change(**words: Any) -> Any:
    return intent(9, **({"kind": IntentKind.MODIFY, "order_type": 0, "qty": 0, "px": 0} | words))


@pytest.mark.parametrize(
    ("words", "reduces"),
    [
        ({"qty": 9}, True), ({"qty": 1}, True), ({"qty": 10}, False), ({"qty": 0}, False),
        ({"qty": 11}, False),
        ({"qty": 9, "px": PX}, True), ({"qty": 9, "px": PX + 5}, False), ({"qty": 9, "px": 1}, False),
        ({"qty": 9, "trigger_px": PX - 5}, True), ({"qty": 9, "trigger_px": PX}, False),
        ({"qty": 9, "trigger_px": 1}, False), ({"qty": 9, "order_type": OrderType.SL}, True),
        ({"qty": 9, "order_type": OrderType.LIMIT}, False), ({"qty": 9, "order_type": 1}, False),
    ],
)  # fmt: skip
def test_of_an_order_that_opens_only_less_of_the_same_reduces(words: dict[str, Any], reduces: bool) -> None:
    book = Bench().stage.book
    opens = order()
    opens.opening = True
    book.add(opens)
    assert is_reducing(change(**words), book, opens) is reduces


def test_one_share_reduces_a_position_of_one() -> None:
    book = Bench().stage.book
    book.position_of(1, 0, Product.MIS).quantity = 1
    for qty, reduces in ((0, False), (1, True), (2, False)):
        assert is_reducing(intent(1, side=SELL, qty=qty, product=Product.MIS), book, None) is reduces


def named(book: Book, seq: int, target: int, kind: IntentKind = IntentKind.CANCEL) -> Order | None:
    return target_of(intent(1, kind=kind, target_seq=target)._replace(strategy_seq=seq), book)


def test_of_an_order_in_slices_the_first_that_lives_is_named() -> None:
    book = Bench().stage.book
    whole, *slices = [order(n, parent=0 if n == 1 else 1) for n in (1, 2, 3)]
    for one in (whole, *slices):
        book.add(one)
    book.families[1, 1] = [whole, *slices]
    assert named(book, 9, 1) is whole and named(book, 9, 1, IntentKind.PLACE) is None
    whole.status = slices[0].status = ENDED
    assert named(book, 9, 1) is slices[1], "the others have ended"
    assert named(book, ENGINE_SEQ, 1) is whole, "we name the slice that we mean"
    assert named(book, ENGINE_SEQ - 1, 1) is slices[1]
    slices[1].status = ENDED
    assert named(book, 9, 1) is whole and named(book, 9, 8) is None


def test_what_is_known_to_reduce_or_not_is_judged_so() -> None:
    bench = Bench(states={"halted": "disk"})
    context = bench.stage.gate.context(intent(1), 0, bench.clock.mono)
    verdict = judge_as(intent(1), context, RiskLimits(), reducing=False)
    assert verdict == Verdict(Reason.HALTED, "halted: disk") and context.reducing is False
    assert judge_as(intent(1), context, RiskLimits(), reducing=True) is None and context.reducing is True
    assert judge_as(intent(1), context, RiskLimits(), reducing=False, again=True) == verdict


def test_lines_that_are_proved_are_not_asked_again() -> None:
    lines, exits = (risk._APPLYING[risk.PLACE, reducing, False] for reducing in (False, True))
    every, none = risk.bits(check for check, _ in lines), 0
    first = 1 << risk._BIT[lines[0][0]]
    assert risk._left(lines, every) == () and risk._left(lines, none) == lines
    assert risk._left(lines, first) == lines[1:] and risk._left(lines, first) is risk._left(lines, first)
    proved = every & ~first
    assert risk._left(lines, proved) == lines[:1]
    assert risk._left(exits, proved) == tuple(line for line in exits if not proved >> risk._BIT[line[0]] & 1)
    assert risk._left(lines, proved) == lines[:1], "of the same bits, other lines"


def test_what_is_remembered_of_them_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = risk._APPLYING[risk.PLACE, False, False]
    kept: dict[Any, Any] = {}
    monkeypatch.setattr(risk, "_LEFT", kept)
    monkeypatch.setattr(risk, "_LEFT_MAX", 3)
    sizes = []
    for proved in range(1, 8):
        risk._left(lines, proved)
        sizes.append(len(kept))
    assert sizes == [1, 2, 3, 1, 2, 3, 1]


def test_each_line_has_a_bit_of_its_own() -> None:
    for check, bit in risk._BIT.items():
        assert risk.bits([check]) == 1 << bit
    assert risk.bits([]) == 0 and len(set(risk._BIT.values())) == len(risk._BIT)


def test_the_lines_about_sizes() -> None:
    assert [reason for _, reason in risk.SIZES] == [
        Reason.MAX_ORDER_VALUE, Reason.MAX_EXPOSURE, Reason.MAX_EXPOSURE, Reason.CAPITAL, Reason.PERIOD_LIMIT,
    ]  # fmt: skip


def test_what_the_quick_way_knows_of_an_instrument() -> None:
    rows = plain_rows(each_kind())
    assert rows[SHARE] == (1, 5, -1, 1, True, False) and rows[OPTION] == (75, 5, 1800, 1, True, True)
    assert rows[NO_FREEZE][4] is False
    for freeze, known in ((0, 0), (-5, 0), (1, 1)):
        table = InstrumentTable((replace(each_kind()[SHARE], freeze_quantity=freeze),))
        assert plain_rows(table)[0][2] == known
    assert rows[OTHER][5] is False


def exit_of(held: int, quantity: int, **more: Any) -> tuple[Book, Order]:
    """So much is held, and an order lives that sells so much of it."""
    book = Bench().stage.book
    book.position_of(1, SHARE, Product.MIS).quantity = held
    exit_ = order(side=SELL, order_type=OrderType.LIMIT, opening=False, quantity=quantity, **more)
    book.add(exit_)
    return book, exit_


@pytest.mark.parametrize(
    ("held", "quantity", "more", "qty", "ours", "theirs"),
    [
        (7, 8, {}, 0, True, False),  # we fit ours one by one, a strategy's must all find their part
        (1, 1, {}, 0, True, True),
        (0, 1, {}, 0, False, False),
        (0, 8, {"filled": 5}, 5, False, False),  # nothing is left of either
        (9, 8, {"quantity_max": 9}, 9, True, True),  # it is to grow already: that counts once
        (8, 8, {"quantity_max": 9}, 9, True, False),
    ],
)
def test_at_another_price_an_exit_is_one_as_long_as_it_closes_something(
    held: int, quantity: int, more: dict[str, int], qty: int, ours: bool, theirs: bool
) -> None:
    book, exit_ = exit_of(held, quantity, **more)
    wish = change(qty=qty, px=PX + 5)
    assert is_reducing(wish._replace(strategy_seq=ENGINE_SEQ), book, exit_) is ours
    assert is_reducing(wish._replace(strategy_seq=ENGINE_SEQ - 1), book, exit_) is theirs


def test_a_strategy_changes_none_of_our_own_orders_and_we_do() -> None:
    book = Bench().stage.book
    for number in (1, 2, 3):
        book.add(order(number, strategy_seq=ENGINE_SEQ - 2 + number))
    for target, theirs in ((ENGINE_SEQ - 1, 1), (ENGINE_SEQ, None), (ENGINE_SEQ + 1, None)):
        found = named(book, ENGINE_SEQ - 1, target)
        assert (found.order_no if found else None) == theirs
        for seq in (ENGINE_SEQ, ENGINE_SEQ + 1):
            assert named(book, seq, target) is not None, "we change all"


def test_what_was_proved_of_an_exit_proves_nothing_of_an_opening() -> None:
    bench = Bench(states={"halted": "disk"})
    context = bench.stage.gate.context(intent(1), 0, bench.clock.mono)
    every = risk.bits(check for check, _ in risk._APPLYING[risk.PLACE, False, False])
    for reducing, refused in ((True, True), (False, False)):
        plain: Any = SimpleNamespace(proved=every, reducing=reducing)
        verdict = judge(intent(1), context, RiskLimits(), plain=plain)
        assert verdict == (Verdict(Reason.HALTED, "halted: disk") if refused else None)
