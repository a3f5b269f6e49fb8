"""The engine of a DataFeedService: it brings prices and can do nothing else."""

from __future__ import annotations

import pytest

from kite_hft.app.face.base import SIMULATED_DAY, with_login, without_file
from kite_hft.app.face.engines import child_environment, own_settings
from kite_hft.settings import Settings, SettingsError

LIVE = {
    "mode": "live",
    "kite": {"api_key": "k", "access_token": "t"},
    "strategies": [{"name": "kalman_simple"}],
    "alerts": {"webhook": "https://example.org/secret"},
    "datafeed": {"mode": "full", "instruments": ["NSE:INFY"]},
}


def test_with_keys_it_is_paper_and_has_no_strategies_and_pages_nobody() -> None:
    made = own_settings(
        Settings.model_validate(LIVE), {"738561": "quote", "NSE:SBIN": "full", "5633": "quote"}
    )
    assert (made.mode, made.strategies, made.alerts.webhook) == ("paper", [], "")
    assert made.kite.access_token == "t" and not made.upstox.sandbox and not made.trading.watchdog
    assert made.datafeed.instruments == ["738561", "NSE:SBIN", "5633"]
    assert made.datafeed.mode == "quote" and made.datafeed.modes["NSE:SBIN"] == "full"


def test_what_is_not_subscribed_comes_from_the_configuration() -> None:
    made = own_settings(Settings.model_validate(LIVE), {})
    assert made.datafeed.instruments == ["NSE:INFY"] and made.datafeed.mode == "full"


def test_without_keys_it_has_a_simulator_on_a_trading_day() -> None:
    base = with_login(without_file(), None, "", "")
    assert base.trading.date == SIMULATED_DAY and base.simulator.exchange_time == "2026-11-20T10:00:00"
    assert own_settings(base, {}).mode == "sim"
    assert own_settings(with_login(without_file(), None, "k", "t"), {}).mode == "paper"
    assert with_login(without_file(), None, "k", "t").trading.date is None, "today, at a broker"


def test_another_broker_brings_its_own_rules() -> None:
    made = with_login(without_file(), "upstox", "k", "t")
    assert made.broker == "upstox" and made.upstox.access_token == "t" and not made.kite.access_token
    assert made.trading.rules.name.startswith("upstox") and made.trading.rules.is_file()
    assert "upstox" in made.trading.charges.name and made.trading.charges.is_file()
    with pytest.raises(SettingsError, match="choose kite or upstox"):
        with_login(without_file(), "fyers", "", "")


def test_no_variable_with_a_key_goes_on_to_the_engine() -> None:
    given = {
        "KITE_ACCESS_TOKEN": "t",
        "KITE_MODE": "live",
        "KITE_HFT_VAULT": "v",
        "UPSTOX_X": "t",
        "HOME": "h",
    }
    assert child_environment(given) == {"KITE_HFT_VAULT": "v", "HOME": "h"}
