"""The campaign's own reading of the gate: sizes by the price of the moment in which an order leaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from kite_hft.layout import Product, Side
from kite_hft.sim.order_path.judged_again import judged_again
from kite_hft.sim.order_path.ledger import Placed, Told
from kite_hft.sim.order_path.market import TABLE
from kite_hft.sim.order_path.queues import Prices
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.units import NS_PER_S

FUTURE, OTHER = 2, 0
NOW_NS = 100 * NS_PER_S


def breaks_of(
    shown_px: int, *lost: Placed, exposure: float = 1e9, left: tuple[Placed, ...] = ()
) -> list[str]:
    """Of a sale of 25 in MIS beside 50 sold in NRML: 75 at worst, of at most 9,000 rupees, and 10 of another
    instrument at 100 rupees. lost: orders whose records a power cut took. left: more that have left.
    """
    prices, found = Prices(), list[str]()
    prices.put(FUTURE, shown_px, 1, NOW_NS - NS_PER_S // 2)
    prices.put(OTHER, 10_000, 1, NOW_NS - NS_PER_S // 2)
    beside = Placed("d", 5, (2, 1), OTHER, int(Side.BUY), int(Product.MIS), 10, 10_000, True, filled=10,
                    under_way=False)  # fmt: skip
    other = Placed("a", 27, (1, 15), FUTURE, int(Side.SELL), int(Product.NRML), 50, 11_945, True, filled=50,
                   under_way=False)  # fmt: skip
    placed = Placed("b", 38, (1, 29), FUTURE, int(Side.SELL), int(Product.MIS), 25, 0, True)
    risk = RiskLimits(max_position_size=9_000.0, max_order_value=20_000.0, max_exposure=exposure)
    world = SimpleNamespace(
        stage=SimpleNamespace(active=True, stopping=False), day=SimpleNamespace(risk=risk, fsync=True),
        latch=None, now_ns=NOW_NS, clock=SimpleNamespace(mono=NOW_NS), prices=prices, stale=set(),
        exchange=SimpleNamespace(instruments=TABLE.rows),
    )  # fmt: skip
    checker: Any = SimpleNamespace(
        world=world, halt_told=False, calls=SimpleNamespace(cool_until_ns=0), market_halted=False,
        strangers=set(), break_=found.append, wishes={},
        ledger=SimpleNamespace(
            told=Told(), mine=lambda: [beside, other, placed, *left], placed=dict(enumerate(lost))
        ),
    )  # fmt: skip
    judged_again(checker, placed)
    return found


def test_a_price_that_leapt_while_an_order_waited_is_what_it_is_judged_by() -> None:
    assert not breaks_of(12_000)
    assert breaks_of(12_005) == ["order 38: worst case 75 of slot 2 at 12005"]


def test_what_is_held_of_another_product_closes_nothing() -> None:
    bought = Placed("c", 10, (3, 5), FUTURE, int(Side.BUY), int(Product.NRML), 100, 12_000, True, filled=100,
                    under_way=False)  # fmt: skip
    assert breaks_of(12_000, left=(bought,)) == [], "50 sold and 100 bought in NRML, 25 sold in MIS: 75"
    more = Placed("d", 11, (3, 6), FUTURE, int(Side.BUY), int(Product.NRML), 1, 12_000, True, filled=1,
                  under_way=False)  # fmt: skip
    assert breaks_of(12_000, left=(bought, more)) == ["order 38: worst case 76 of slot 2 at 12000"]


def test_all_instruments_together_count() -> None:
    assert not breaks_of(11_940, exposure=9_955.0)
    assert breaks_of(11_940, exposure=9_954.0) == ["order 38: worst case of all instruments 995500"]


def test_an_exit_that_has_left_while_the_order_waited_counts_with_what_it_closed() -> None:
    def exit_of(filled: int, left_ns: int) -> Placed:
        return Placed("e", 41, (2, 9), OTHER, int(Side.SELL), int(Product.MIS), 10, 10_000, False,
                      filled=filled, left_ns=left_ns, under_way=False)  # fmt: skip

    assert not breaks_of(11_940, exposure=8_955.0, left=(exit_of(10, NOW_NS - 1),))
    assert breaks_of(11_940, exposure=9_954.0, left=(exit_of(0, NOW_NS - 1),))
    assert breaks_of(11_940, exposure=9_954.0, left=(exit_of(0, 0),))


def test_what_an_adopted_order_has_filled_counts() -> None:
    def lost(side: Side, filled: int) -> Placed:
        return Placed("c", 10, (3, 5), FUTURE, int(side), int(Product.MIS), 25, 12_400, True, lost=True,
                      filled=filled, under_way=False)  # fmt: skip

    assert not breaks_of(12_430, lost(Side.BUY, 25))
    assert breaks_of(12_430, lost(Side.BUY, 0)) and breaks_of(12_430, lost(Side.SELL, 25))
