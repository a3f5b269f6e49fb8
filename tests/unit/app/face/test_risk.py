"""RiskManager: the section that the engine enforces, and what the gate's own table says offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.app.face.risk import RiskManager
from kite_hft.layout import Reason
from kite_hft.settings import SettingsError, load_settings
from kite_hft.trading.instruments import Instrument

FUTURE = Instrument(
    0, 40003 * 256 + 2, 40003, "X26DECFUT", "NFO", "NFO-FUT", "FUT", 5, 50, expiry="2026-12-29",
    multiplier=1, freeze_quantity=1800,
)  # fmt: skip
MANAGER = RiskManager(max_position_size=100000, daily_loss_limit=0.05, max_positions=20)


def test_the_section_is_one_that_the_engine_takes(tmp_path: Path) -> None:
    path = tmp_path / "engine.yaml"
    path.write_text(RiskManager(50_000, 0.02, 3, capital=1_000_000, cooldown_s=60).yaml())
    risk = load_settings(path).risk
    assert (risk.max_position_size, risk.max_daily_loss, risk.max_positions) == (50_000, 20_000, 3)
    assert risk.cooldown_s == 60


def test_without_a_capital_the_loss_limit_is_read_strictly() -> None:
    assert MANAGER.section() == {"max_position_size": 100000, "max_positions": 20, "max_daily_loss": 5000.0}


@pytest.mark.parametrize(
    ("arguments", "more", "reason"),
    [
        (("BUY", "NSE:INFY", 66), {}, Reason.NONE),
        (("BUY", "NSE:INFY", 67), {}, Reason.MAX_EXPOSURE),
        (("BUY", "NSE:INFY", 134), {}, Reason.MAX_ORDER_VALUE),
        (("BUY", "NSE:INFY", 26), {"positions": {"NSE:INFY": (40, 1500.0)}}, Reason.NONE),
        (("BUY", "NSE:INFY", 27), {"positions": {"NSE:INFY": (40, 1500.0)}}, Reason.MAX_EXPOSURE),
        (("BUY", "NSE:INFY", 1), {"positions": {f"NSE:S{i}": (1, 9.0) for i in range(19)}}, Reason.NONE),
        (
            ("BUY", "NSE:INFY", 1),
            {"positions": {f"NSE:S{i}": (1, 9.0) for i in range(20)}},
            Reason.MAX_POSITIONS,
        ),
        (("BUY", "NSE:INFY", 1), {"loss_today": 4999.99}, Reason.NONE),
        (("BUY", "NSE:INFY", 1), {"loss_today": 5000.0}, Reason.DAILY_LOSS),
        (("SELL", "NSE:INFY", 40), {"positions": {"NSE:INFY": (40, 1500.0)}, "loss_today": 9e9}, Reason.NONE),
        (
            ("SELL", "NSE:INFY", 41),
            {"positions": {"NSE:INFY": (40, 1500.0)}, "loss_today": 9e9},
            Reason.DAILY_LOSS,
        ),
        (("BUY", "NSE:INFY", 1), {"price": 1600.0, "order_type": "LIMIT"}, Reason.PRICE_COLLAR),
        (("BUY", FUTURE, 50), {}, Reason.NONE),
        (("BUY", FUTURE, 49), {}, Reason.LOT_MULTIPLE),
    ],
)
def test_check_says_what_the_gate_would(
    arguments: tuple[str, Instrument | str, int], more: dict[str, object], reason: Reason
) -> None:
    price = 1000.0 if arguments[1] is FUTURE else 1500.0
    found = MANAGER.check(*arguments, last_price=price, **more)  # type: ignore[arg-type]
    assert found.reason == reason, str(found)
    assert bool(found) is found.allowed is (reason == Reason.NONE)
    assert found.allowed or found.text in str(found)


def test_what_cannot_be_a_limit_is_refused() -> None:
    for wrong in (
        {"daily_loss_limit": 5},
        {"max_positions": 0},
        {"max_position": 1},
        {"daily_loss_limit": 0},
        {"daily_loss_limit": "0.05"},
        {"max_position_size": "100000"},
        {"capital": 0},
        {"capital": "1e6"},
        {"capital": float("nan")},
        {"capital": float("inf")},
    ):
        with pytest.raises(SettingsError):
            RiskManager(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="pass its Instrument"):
        MANAGER.check("BUY", "NFO:X26DECFUT", 50, last_price=1.0)


def test_one_loss_limit_is_written_and_judged_by() -> None:
    with pytest.raises(SettingsError, match="daily_loss_limit of the capital"):
        RiskManager(max_daily_loss=1e9)
    manager = RiskManager(daily_loss_limit=0.02, capital=1_000_000)
    assert manager.section()["max_daily_loss"] == manager.max_daily_loss == 20_000


@pytest.mark.parametrize(
    ("arguments", "more", "words"),
    [
        (("buy", "NSE:INFY", 1), {}, "side 'buy': choose one of BUY, SELL"),
        (("BUY", "NSE:INFY", 1), {"order_type": "market"}, "order_type 'market': .*MARKET"),
        (("BUY", "NSE:INFY", 1), {"product": None}, "product None: .*MIS"),
        (("BUY", 738561, 1), {}, "738561: an Instrument"),
        (("BUY", None, 1), {}, "None: an Instrument"),
        (("BUY", "NSE:INFY", 1), {"positions": {5: (1, 9.0)}}, "5: an Instrument"),
    ],
)
def test_a_slip_in_an_order_is_told_in_words(
    arguments: tuple[str, object, int], more: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        MANAGER.check(*arguments, last_price=1500.0, **more)  # type: ignore[arg-type]


def test_a_path_is_written_as_text(tmp_path: Path) -> None:
    assert f'lists: "{tmp_path}"' in RiskManager(lists=tmp_path).yaml()
