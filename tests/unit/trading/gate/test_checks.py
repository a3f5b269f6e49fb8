"""Parts of the checks for themselves, at their edges."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, instrument, intent

from kite_hft.engine.orders.settings import NO_LIMITS
from kite_hft.layout import IntentKind, OrderStatus, OrderType, Side
from kite_hft.settings import RiskSection
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate import checks_form as form
from kite_hft.trading.gate.checks import more, resulting, type_of, value_of
from kite_hft.trading.gate.checks_conduct import noise
from kite_hft.trading.gate.checks_form import untradable
from kite_hft.trading.gate.checks_market import unsure
from kite_hft.trading.gate.facts import Traffic
from kite_hft.trading.gate.limits import RiskLimits, legal_protection
from kite_hft.trading.gate.risk import cut_age_ns, gather, is_reducing
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.order import Order
from kite_hft.verify.risk.bench import Bench, each_kind

SHARE = instrument(0)
FUTURE = replace(SHARE, exchange="NFO", kind="FUT", multiplier=1, freeze_quantity=10)


def order(**more: Any) -> Order:
    words: dict[str, Any] = {
        "order_no": 1, "strategy": 1, "strategy_seq": 1, "slot": 0, "side": Side.SELL,
        "order_type": OrderType.SL,
        "product": 3, "validity": 1, "flags": 0, "quantity": 10, "px": PX, "trigger_px": 0, "tag": "",
    }  # fmt: skip
    return Order(**(words | more))


def change(**words: Any) -> Any:
    return intent(1, **({"kind": IntentKind.MODIFY, "order_type": 0, "qty": 0, "px": 0} | words))


def test_what_an_order_would_be_after_a_modification() -> None:
    assert resulting(change(), order()) == (10, PX) and resulting(change(qty=5, px=7), order()) == (5, 7)
    assert resulting(intent(1, qty=3, px=4), None) == (3, 4)
    assert type_of(change(), order()) == OrderType.SL
    assert type_of(change(order_type=OrderType.MARKET), order()) == OrderType.MARKET
    assert type_of(intent(1, order_type=OrderType.LIMIT), None) == OrderType.LIMIT


def test_what_an_intent_adds() -> None:
    assert more(intent(1, side=Side.BUY, qty=3), None) == (Side.BUY, 3)
    assert more(change(qty=12), order()) == (Side.SELL, 2)
    assert more(change(qty=8), order()) == (Side.SELL, 0), "less is not less than nothing"
    assert more(change(qty=12), order(quantity_max=11)) == (Side.SELL, 1)
    assert more(change(), order()) == (Side.SELL, 0)


def test_values() -> None:
    assert value_of(PX, 3, SHARE) == 30_000 and value_of(PX, 3, replace(SHARE, multiplier=5)) == 150_000
    assert value_of(10**9, 1, replace(SHARE, scale=10**7, multiplier=1000)) == 10_000_000


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"lot_size": 0}, "lot size 0"), ({"lot_size": -1}, "lot size -1"), ({"tick_px": 0}, "tick 0"),
        ({"multiplier": None}, "multiplier unknown"), ({"multiplier": 0}, "multiplier 0"),
        ({"multiplier": -1}, "multiplier -1"), ({"freeze_quantity": None}, "freeze quantity unknown"),
        ({"token": 9}, "index"), ({}, None), ({"lot_size": 1, "tick_px": 1, "multiplier": 1}, None),
    ],
)  # fmt: skip
def test_what_cannot_be_traded(words: dict[str, Any], text: str | None) -> None:
    found = untradable(replace(FUTURE, **words))
    assert (text is None and found is None) or (found is not None and text is not None and text in found)
    assert untradable(replace(SHARE, freeze_quantity=None, multiplier=None)) is None


def test_barred_from_openings_is_not_untradable() -> None:
    assert untradable(replace(SHARE, barred="lists differ")) is None
    assert untradable(replace(SHARE, barred="a COM is no contract", lot_size=0)) == (
        f"{SHARE.key}: a COM is no contract"
    )


NOISE = Conduct(messages_min=10, ratio_stop=10.0, modifications_stop=5)


@pytest.mark.parametrize(
    ("seen", "loud"),
    [
        (Traffic(10, 0), True), (Traffic(10, 1), True), (Traffic(9, 0), False), (Traffic(19, 2), False),
        (Traffic(20, 2), True), (Traffic(21, 2), True), (Traffic(0, 0, 4), False), (Traffic(0, 0, 5), True),
        (Traffic(1, 1, 6), True),
    ],
)  # fmt: skip
def test_noise(seen: Traffic, loud: bool) -> None:
    assert (noise(seen, NOISE) is not None) is loud
    assert noise(seen, Conduct()) is None, "no levels"
    assert (noise(seen, Conduct(modifications_stop=5)) is None) is (seen.modifications < 5)


def test_how_noisy_is_told() -> None:
    assert noise(Traffic(30, 0), NOISE) == "30 messages, 0 trades: 30.0 to one >= 10"
    assert noise(Traffic(30, 3), NOISE) == "30 messages, 3 trades: 10.0 to one >= 10"
    assert noise(Traffic(0, 0, 5), NOISE) == "5 modifications >= 5"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, None), ({"states": {"market_halted": True}}, "silent"), ({"clock": "stepped"}, "stepped"),
        ({"states": {"stale": (0,)}}, "no tick since"), ({"price": {0: None}}, "no price"),
        ({"price": {0: (PX, 3.0)}}, "3.000 s old"), ({"band": {}}, "not known"),
        ({"parted": (0,)}, "different prices"), ({"parted": (1,)}, None),
        ({"at": "2026-11-20 15:16:00"}, "close_pause"),
    ],
)  # fmt: skip
def test_what_an_exit_passes_without(given: dict[str, Any], text: str | None) -> None:
    bench = Bench(**given)
    wish = intent(1, side=Side.SELL)
    context = bench.stage.gate.context(wish, 0, bench.clock.mono)
    found = unsure(wish, context, RiskLimits())
    assert (text is None and found is None) or (found is not None and text is not None and text in found)


@pytest.mark.parametrize(("percent", "legal"), [(-1.0, True), (0.0, False), (0.01, True), (100.0, True),
                         (100.01, False), (-0.5, False), (-2.0, False), (float("nan"), False)])  # fmt: skip
def test_market_protection(percent: float, legal: bool) -> None:
    assert legal_protection(percent) is legal
    if legal:
        assert RiskLimits(market_protection=percent).market_protection == percent
    else:
        with pytest.raises(ValueError, match="market_protection"):
            RiskLimits(market_protection=percent)


def test_the_limits_are_those_of_the_settings_unless_told() -> None:
    told = RiskSection().model_dump(exclude=NO_LIMITS)
    assert RiskLimits() == RiskLimits(**told)
    assert set(told) == set(RiskLimits.__dataclass_fields__) - {"order_types", "validities"}


@pytest.mark.parametrize("value", [-1, -0.01, math.nan, math.inf])
def test_a_limit_is_a_number_from_0_on(value: float) -> None:
    for name in ("max_exposure", "period_orders", "cooldown_s", "max_drawdown", "stop_losses_max"):
        with pytest.raises(ValueError, match=name):
            RiskLimits(**{name: value})
        assert getattr(RiskLimits(**{name: 0}), name) == 0


def test_what_reduces() -> None:
    book = Bench().stage.book
    held = book.position_of(1, 0, 3)
    held.quantity = 10
    sell = {"side": Side.SELL, "product": 3}
    assert is_reducing(intent(1, qty=10, **sell), book, None)
    assert not is_reducing(intent(1, qty=11, **sell), book, None)
    assert not is_reducing(intent(1, qty=0, **sell), book, None), "nothing is no reduction"
    assert not is_reducing(intent(1, qty=1, strategy=2, **sell), book, None)
    exit_ = order(quantity=8, order_type=OrderType.LIMIT, status=OrderStatus.OPEN)
    book.add(exit_)
    assert is_reducing(intent(1, qty=2, **sell), book, None)
    assert not is_reducing(intent(1, qty=3, **sell), book, None), "what is live counts"
    assert is_reducing(change(px=7), book, exit_) and is_reducing(change(qty=10), book, exit_)
    assert not is_reducing(change(qty=11), book, exit_)
    assert is_reducing(change(qty=1), book, exit_), "less of it"
    assert not is_reducing(change(qty=11), book, None), "of no order"
    assert is_reducing(intent(1, kind=IntentKind.CANCEL), book, None)


def test_an_exit_whose_position_something_else_has_closed_is_none_any_more() -> None:
    book = Bench().stage.book
    held, engines = book.position_of(1, 0, 3), {"strategy_seq": ENGINE_SEQ + 9}
    held.quantity = 10
    exit_ = order(quantity=8, order_type=OrderType.LIMIT, status=OrderStatus.OPEN, opening=False)
    book.add(exit_)
    held.quantity = 8
    assert is_reducing(change(px=7), book, exit_)
    held.quantity = 7
    assert not is_reducing(change(px=7), book, exit_), "one share of it would open"
    assert is_reducing(change(px=7, qty=7), book, exit_), "at another price, and made to fit"
    assert not is_reducing(change(px=7, qty=8), book, exit_)
    assert is_reducing(change(px=7)._replace(**engines), book, exit_), "the engine fits it by and by"
    entry = order(order_no=2, strategy_seq=2, quantity=5, status=OrderStatus.OPEN)
    held.quantity = 8
    book.add(entry)
    assert is_reducing(change(px=7), book, exit_), "an entry beside it is another matter"
    for quantity in (0, -3):
        held.quantity = quantity
        assert not is_reducing(change(px=7), book, exit_)
        assert not is_reducing(change(px=7)._replace(**engines), book, exit_)
        assert is_reducing(change(qty=1), book, exit_), "less of it is less of anything"


def test_how_long_ago_the_broker_cut_a_position() -> None:
    book = Bench().stage.book
    assert cut_age_ns(intent(1), book, 50) == -1
    held = book.position_of(1, 0, 3)
    assert cut_age_ns(intent(1), book, 50) == -1
    held.cut_ns = 20
    assert cut_age_ns(intent(1), book, 50) == 30 and cut_age_ns(intent(1, strategy=2), book, 50) == -1


def test_a_context_has_one_slice_unless_told() -> None:
    bench = Bench()
    context = gather(
        intent(1), each_kind(), bench.stage.book, active=True, halted="", tick=(PX, 1, 0),
        mark=lambda slot: PX,
        modifications_max=25, last_seq=0,
    )  # fmt: skip
    assert (context.slices_max, context.cut_age_ns, context.adds_paise, context.reducing) == (
        1,
        -1,
        None,
        False,
    )


def asked(check: Any, wish: Any, limits: RiskLimits | None = None, **more: Any) -> str | None:
    """What one line says of an intent in an open market."""
    bench = Bench()
    context = bench.stage.gate.context(wish, 0, bench.clock.mono)
    for name, value in more.items():
        setattr(context, name, value)
    return check(wish, context, limits or RiskLimits())  # type: ignore[no-any-return]


def test_an_order_type_that_is_not_enabled() -> None:
    limits = RiskLimits(order_types=frozenset({OrderType.MARKET}))
    assert asked(form.fields, intent(1), limits) == "order type LIMIT is not enabled"
    assert asked(form.fields, intent(1, order_type=OrderType.MARKET, px=0), limits) is None


def test_the_largest_quantity() -> None:
    limits = RiskLimits(max_order_quantity=10)
    assert asked(form.quantity, intent(1, qty=10), limits) is None
    assert asked(form.quantity, intent(1, qty=11), limits) == "quantity 11 > max_order_quantity 10"
    assert asked(form.quantity, intent(1, qty=11), limits, reducing=True) is None


@pytest.mark.parametrize(("slices", "most"), [(1, 10), (2, 16), (3, 24)])
def test_what_is_above_the_freeze_quantity_goes_in_slices_of_whole_lots(slices: int, most: int) -> None:
    lots = replace(FUTURE, lot_size=4, freeze_quantity=10)
    for qty in range(1, 40):
        for kind, largest in ((IntentKind.PLACE, most), (IntentKind.MODIFY, 10)):
            text = asked(form.quantity, intent(1, qty=qty, kind=kind), instrument=lots, slices_max=slices)
            assert (text is None) == (qty <= largest), (kind, qty, text)


def test_prices_are_not_negative() -> None:
    for words in ({"px": -1}, {"trigger_px": -1}):
        assert "negative" in (asked(form.numbers, intent(1, **words)) or "")
    assert asked(form.numbers, intent(1, kind=IntentKind.MODIFY, px=0)) is None
