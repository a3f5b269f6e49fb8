"""The order stage's files: the charges of the day, refused by name when they do not fit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kite_hft.engine.orders.settings import (
    charges_of_day,
    check_reach,
    limits_of,
    loss_limit_words,
    orders_config,
)
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import Instrument, InstrumentTable

CONFIG = Path("config").resolve()
SHARE = Instrument(0, 257, 1, "X", "NSE", "NSE", "EQ", 5, 1)
TABLE = InstrumentTable((SHARE,))


def settings(**trading: object) -> Settings:
    files = {
        "calendar": CONFIG / "calendar/india.yaml",
        "rules": CONFIG / "rules/kite_2026-04-01.yaml",
        "charges": CONFIG / "rules/charges_zerodha_2026-04-01.yaml",
    }
    return Settings.model_validate({"trading": files | trading})


def test_the_day_that_is_traded_pays_its_own_rates() -> None:
    old = charges_of_day(settings(date="2023-07-10"), TABLE, 0)
    new = charges_of_day(settings(date="2026-11-20"), TABLE, 0)
    assert old.of(SHARE, 3)["exchange_charge"].ppb == 32_500
    assert new.of(SHARE, 3)["exchange_charge"].ppb == 29_700
    assert orders_config(settings(), loopback=True, charges=new).charges is new


def test_what_does_not_fit_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"charges_zerodha.*no brokerage.*for NSE on 2019-01-01"):
        charges_of_day(settings(date="2019-01-01"), TABLE, 0)
    with pytest.raises(SettingsError, match=r"nothing\.yaml: no such file"):
        charges_of_day(settings(charges=tmp_path / "nothing.yaml"), TABLE, 0)
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: x\nvalid_from: 2026-01-01\nbrokerage: [{exchanges: [NSE]}]\n")
    with pytest.raises(SettingsError, match=r"broken\.yaml: brokerage\[0\]: a row needs"):
        charges_of_day(settings(charges=broken, date="2026-11-20"), TABLE, 0)


def test_limits_that_no_broker_grants_stay_on_this_machine() -> None:
    rules = CONFIG / "rules/loopback_limits.yaml"
    large = orders_config(settings(rules=rules), loopback=True).limits
    kites = orders_config(settings(), loopback=True).limits
    assert (large.connections, large.instruments_per_connection) == (16, 50_000)
    assert large.order_windows == kites.order_windows and large.orders_per_day == kites.orders_per_day
    here, there = "ws://127.0.0.1:1", "wss://ws.kite.trade"
    check_reach(large, rules, here, "http://localhost:2")
    check_reach(kites, rules, there, "https://api.kite.trade")
    for urls in ((there, here), (here, "https://api.kite.trade")):
        with pytest.raises(SettingsError, match=r"loopback_limits\.yaml: no broker grants"):
            check_reach(large, rules, *urls)


def test_live_needs_a_loss_limit_of_the_day_and_the_other_modes_say_that_there_is_none() -> None:
    def words(mode: str, loss: float | None) -> str:
        return loss_limit_words(Settings(mode=mode, risk={"max_daily_loss": loss}))  # type: ignore[arg-type]

    for mode in ("sim", "paper"):
        assert "NO LOSS LIMIT OF THE DAY" in words(mode, None) and "risk.max_daily_loss" in words(mode, None)
    with pytest.raises(SettingsError, match=r"mode live needs .* risk\.max_daily_loss is not set.*Set it"):
        words("live", None)
    assert "5,000.00 rupees net, then reduce" in words("live", 5000.0)


def test_a_live_start_without_a_loss_limit_ends_before_anything_is_made(tmp_path: Path) -> None:
    files = {name: str(path) for name, path in settings().trading if isinstance(path, Path)}
    files["market"] = str(CONFIG / "rules/market_2026-08-03.yaml")
    config = tmp_path / "live.yaml"
    config.write_text(yaml.safe_dump({"mode": "live", "trading": files}))
    state = tmp_path / "state"
    env = os.environ | {"XDG_STATE_HOME": str(state)}
    words = [sys.executable, "-m", "kite_hft.engine", "--config", str(config), "--duration", "1"]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "risk.max_daily_loss is not set" in done.stderr, done.stderr
    assert not state.exists()


def test_a_traders_own_limits_of_calls_reach_the_order_stage() -> None:
    own = {"rate_limits": {"order_placement": 200, "max_orders_per_day": 3000}}
    chosen = settings().model_copy(update={"kite": Settings.model_validate({"kite": own}).kite})
    limits = orders_config(chosen, loopback=True).limits
    assert limits.orders_per_day == 3000 and limits.order_windows[-1].calls == 200
    looser = {"rate_limits": {"order_placement": 4000}}
    chosen = settings().model_copy(update={"kite": Settings.model_validate({"kite": looser}).kite})
    with pytest.raises(
        SettingsError, match=r"kite_2026-04-01\.yaml: kite\.rate_limits\.order_placement: 4000"
    ):
        limits_of(chosen, "kite")
