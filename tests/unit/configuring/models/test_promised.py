"""Keys of the first design: all load, and each acts, stands for another, or is told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kite_hft.configuring.keys import keys_of
from kite_hft.configuring.layers import value_at
from kite_hft.configuring.models.promised import ALIAS, NOTE, extra_of
from kite_hft.settings import Settings, SettingsError, read_settings, yaml_value

PROMISED = """\
kite:
  api_key: ""
  api_secret: ""
  user_id: ""
  password: ""
  totp_secret: ""
  rate_limits: {http_api: 3, historical_api: 2, order_placement: 200, max_orders_per_day: 3000}
  websocket: {max_connections: 3, max_instruments_per_connection: 3000, reconnect_delay: 5,
              max_reconnect_attempts: 50, ping_interval: 30}
performance: {buffer_size: 10000, ring_buffer_size: 1000000, worker_threads: 4, io_threads: 2,
              batch_size: 500, tick_aggregation_interval: 100, use_mmap: true, mmap_size: 100000000}
trading: {market_start: "09:15:00", market_end: "15:30:00", pre_market: "09:00:00", default_quantity: 1,
          max_position_size: 1000000, risk_per_trade: 0.02, order_timeout: 30, order_retry_count: 3,
          order_retry_delay: 1}
datafeed: {primary_source: websocket, equity_mode: quote, futures_mode: full, options_mode: quote,
           auto_subscribe: true, subscription_batch_size: 100, store_ticks: true, tick_storage_format: binary,
           max_storage_days: 7}
risk: {max_positions: 20, max_sector_exposure: 0.3, max_single_stock: 0.1, default_stop_loss: 0.02,
       trailing_stop: true, daily_loss_limit: 0.05, drawdown_limit: 0.1}
logging: {level: INFO, format: "%(message)s", log_to_file: true, log_file: logs/trading.log,
          max_log_size: 100000000, backup_count: 5, performance_logging: true, performance_interval: 300}
notifications:
  telegram: {enabled: false, token: "", chat_id: ""}
  email: {enabled: false, smtp_server: "", smtp_port: 587, username: "", password: "", from_address: "",
          to_address: ""}
  system: {enabled: true, level: WARNING}
debug: {enabled: false, profiling: false, memory_profiling: false, save_raw_ticks: false,
        simulation_mode: false}
"""
"""All keys that were promised, with the values that they had."""
OTHER_DEFAULT = {
    "trading.order_retry_count", "performance.batch_size", "datafeed.store_ticks", "logging.format",
    "trading.market_start", "trading.market_end", "datafeed.equity_mode", "datafeed.futures_mode",
    "datafeed.options_mode", "trading.max_position_size",
}  # fmt: skip
"""Not repeated orders; a batch of ours; hours from the calendar; full depth unless somebody says less."""


def read(folder: Path, text: str, **environ: str) -> Any:
    path = folder / "c.yaml"
    path.write_text(text)
    return read_settings(path, environ=environ)


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text)
    return str(caught.value)


def test_a_file_with_all_of_them_loads(tmp_path: Path) -> None:
    found = read(tmp_path, PROMISED)
    assert found.settings.risk.max_position_size == 1_000_000  # trading.max_position_size
    assert found.settings.datafeed.equity_mode == "quote" and found.settings.datafeed.store_ticks
    told = "\n".join(found.said)
    fields = dict(keys_of(Settings))
    data = yaml_value(PROMISED)
    for path, field in fields.items():
        if NOTE in extra_of(field) and value_at(data, path) is not None:
            assert f"{'.'.join(path)} ({tmp_path}/c.yaml:" in told  # none is passed over in silence
    assert "filled twice" in told


def test_each_has_its_promised_default() -> None:
    for path, field in keys_of(Settings):
        promised = value_at(yaml_value(PROMISED), path)
        name = ".".join(path)
        limit = name.startswith(("kite.rate_limits", "kite.websocket.max_")) and "reconnect" not in name
        if promised is None or limit or name in OTHER_DEFAULT or ALIAS in extra_of(field):
            continue
        assert field.get_default(call_default_factory=True) == promised, name


@pytest.mark.parametrize(
    "key", ["max_sector_exposure: 0.3", "default_stop_loss: 0.02", "trailing_stop: true"]
)
def test_a_limit_that_nobody_checks_is_told_and_in_mode_live_refused(tmp_path: Path, key: str) -> None:
    text = f"mode: %s\nrisk:\n  {key}\n"
    assert any(line.startswith("risk.") for line in read(tmp_path, text % "paper").said)
    told = error_of(tmp_path, text % "live")
    assert (
        f"c.yaml, line 3: risk.{key.split(':')[0]}: nothing here acts by it" in told and "take it out" in told
    )


def test_what_is_switched_off_is_relied_upon_by_nobody(tmp_path: Path) -> None:
    read(tmp_path, "mode: live\nrisk:\n  trailing_stop: false\nnotifications:\n  email: {enabled: false}\n")
    assert "notifications.email.enabled" in error_of(
        tmp_path, "mode: live\nnotifications:\n  email: {enabled: true}\n"
    )


def test_another_name_of_a_key_and_both_at_once(tmp_path: Path) -> None:
    found = read(tmp_path, "performance:\n  store_ticks: true\ntrading:\n  max_position_size: 7\n")
    assert found.settings.datafeed.store_ticks and found.settings.risk.max_position_size == 7
    assert str(found.origin(("risk", "max_position_size"))).endswith("c.yaml:4 (trading.max_position_size)")
    told = error_of(tmp_path, "performance:\n  store_ticks: true\ndatafeed:\n  store_ticks: false\n")
    assert "line 2: performance.store_ticks is another name of datafeed.store_ticks" in told
    told = error_of(tmp_path, "trading:\n  max_position_size: -7\n")
    assert "line 2: risk.max_position_size" in told and "(written as trading.max_position_size)" in told
    telegram = "notifications:\n  telegram: {enabled: true, token: canary, chat_id: '5'}\n"
    assert read(tmp_path, telegram).settings.alerts.telegram_bot_token == "canary"


def test_shares_of_the_capital_are_limits_where_it_is_set(tmp_path: Path) -> None:
    risk = read(tmp_path, "risk:\n  daily_loss_limit: 0.05\n").settings.risk
    assert risk.max_daily_loss is None and risk.max_position_size == 100_000
    risk = read(tmp_path, "risk:\n  capital: 500000\n").settings.risk
    assert (risk.max_daily_loss, risk.max_drawdown, risk.max_position_size) == (25_000, 50_000, 50_000)
    assert read(tmp_path, "risk: {capital: 9000000}\n").settings.risk.max_position_size == 100_000
    both = "risk:\n  capital: 500000\n  daily_loss_limit: 0.01\n  max_daily_loss: {loss}\n"
    assert read(tmp_path, both.format(loss=9000)).settings.risk.max_daily_loss == 5000
    assert read(tmp_path, both.format(loss=900)).settings.risk.max_daily_loss == 900
    again = Settings.model_validate(read(tmp_path, both.format(loss=9000)).settings.model_dump(mode="json"))
    assert again.risk.max_daily_loss == 5000
    for wrong in ("capital: -1", "capital: many", "capital: 5\n  daily_loss_limit: 2"):
        assert "line" in error_of(tmp_path, f"risk:\n  {wrong}\n")


def test_modes_by_kind_of_instrument(tmp_path: Path) -> None:
    feed = read(tmp_path, "datafeed: {mode: ltp, equity_mode: quote, options_mode: full}\n").settings.datafeed
    modes = [feed.mode_of(kind, False) for kind in ("EQ", "FUT", "CE", "PE")]
    assert modes == ["quote", "ltp", "full", "full"] and feed.mode_of("EQ", True) == "ltp"
    told = error_of(tmp_path, "datafeed:\n  futures_mode: fulll\n")
    assert "line 2: datafeed.futures_mode: kite has no mode 'fulll'" in told


def test_a_format_that_is_made_afterwards(tmp_path: Path) -> None:
    assert "kite-hft convert" in error_of(tmp_path, "datafeed:\n  tick_storage_format: parquet\n")
