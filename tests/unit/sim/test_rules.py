"""What is refused before an order exists, and protection prices."""

from __future__ import annotations

import pytest
from sim_tools import COMMODITY, EQUITY, INDEX, OPTION

from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.sim.orders import NewOrder, Refusal
from kite_hft.sim.rules import Circuit, auto_protection, check_request, protected_px

GOOD = {"instrument": EQUITY, "side": Side.BUY, "order_type": OrderType.LIMIT, "product": Product.MIS,
        "quantity": 1, "px": 10_000}  # fmt: skip


def test_a_good_order_passes() -> None:
    check_request(NewOrder(**GOOD))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"instrument": INDEX}, "index"),
        ({"order_type": OrderType.MARKET}, "Market orders without market protection are not allowed via API"),
        ({"order_type": OrderType.SLM, "trigger_px": 10_000}, "Market orders without market protection"),
        ({"order_type": OrderType.MARKET, "protection_percent": 101}, "market_protection"),
        ({"order_type": OrderType.MARKET, "protection_percent": -2}, "market_protection"),
        ({"instrument": COMMODITY, "px": 12_000_000, "validity": Validity.IOC}, "IOC orders are not allowed"),
        ({"tag": "x" * 21}, "tag"),
        ({"quantity": 0}, "quantity"),
        ({"instrument": OPTION, "quantity": 76}, "multiple of lot size 75"),
        ({"px": 0}, "price"),
        ({"px": 10_001}, "Tick size for this script is 0.05"),
        ({"order_type": OrderType.SL}, "trigger_price"),
        ({"order_type": OrderType.SL, "trigger_px": 9_999}, "Tick size"),
    ],
)
def test_refused(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(Refusal, match=text) as refusal:
        check_request(NewOrder(**{**GOOD, **wrong}))  # type: ignore[arg-type]
    assert (refusal.value.error_type, refusal.value.status) == ("InputException", 400)


def test_tag_of_20_characters_passes() -> None:
    check_request(NewOrder(**{**GOOD, "tag": "x" * 20}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "px", "percent"),
    [
        (EQUITY, 99_99, 2.0), (EQUITY, 100_00, 1.0), (EQUITY, 499_95, 1.0), (EQUITY, 500_00, 0.5),
        (OPTION, 9_95, 5.0), (OPTION, 10_00, 3.0), (OPTION, 99_95, 3.0), (OPTION, 100_00, 2.0),
        (OPTION, 500_00, 1.0),
    ],
)  # fmt: skip
def test_automatic_bands(row: object, px: int, percent: float) -> None:
    assert auto_protection(row, px) == percent  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side", "last", "percent", "px"),
    # 1 % of 150.05 is 1.5005: 151.5505 down to the grid, 148.5495 up to it.
    [(Side.BUY, 15_005, 1.0, 15_155), (Side.SELL, 15_005, 1.0, 14_855), (Side.SELL, 5, 100.0, 5)],
)
def test_protection_price_is_on_the_grid_inside_the_band(
    side: Side, last: int, percent: float, px: int
) -> None:
    assert protected_px(EQUITY, side, last, percent) == px


def test_circuit_band() -> None:
    assert Circuit().band(EQUITY, 10_003) == (8_005, 12_000)
    assert Circuit().band(OPTION, 10_000)[0] == 5
    assert Circuit().band(EQUITY, 0) == (0, 0)
