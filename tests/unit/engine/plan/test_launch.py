"""Which instruments a strategy gets that names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.configuring.models.broker import KiteSection
from kite_hft.engine.orders.market_facts import lists_of_day
from kite_hft.engine.plan.launch import public_settings, wanted_slots
from kite_hft.settings import Settings, StrategySection, load_settings
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import InstrumentTable

TABLE, _ = default_instruments(20, 7)
NOW_NS = 1_795_147_200_000_000_000  # 2026-11-20 09:30 IST
INDICES = [row.slot for row in TABLE if row.is_index]


@pytest.mark.parametrize("form", ["A", "B"])
@pytest.mark.parametrize("name", ["kalman_simple", "kalman_ml"])
def test_of_all_a_strategy_that_trades_what_it_watches_gets_no_index(name: str, form: str) -> None:
    """Every order of it there would be refused: NOT_TRADABLE."""
    found = wanted_slots(StrategySection(name=name, form=form), TABLE)  # type: ignore[arg-type]
    assert INDICES and found is not None
    assert sorted([*found, *INDICES]) == list(range(len(TABLE)))


def test_what_is_named_is_given_and_another_strategy_gets_all() -> None:
    index = TABLE[INDICES[0]]
    assert wanted_slots(StrategySection(name="kalman_simple", instruments=[index.key]), TABLE) == (
        index.slot,
    )
    assert wanted_slots(StrategySection(name="probe", form="B"), TABLE) is None


def test_a_run_on_indices_alone_watches_them() -> None:
    """A recording of one, say."""
    rows = InstrumentTable.select(TABLE, [TABLE[slot] for slot in INDICES])
    assert wanted_slots(StrategySection(name="kalman_simple", form="B"), rows) is None


def test_a_child_learns_limits_and_no_secret_and_no_address_of_kites() -> None:
    kite = {"api_key": "canary", "access_token": "canary", "api_secret": "canary", "password": "canary",
            "totp_secret": "canary", "user_id": "canary", "api_url": "https://canary",
            "rate_limits": {"order_placement": 7}}  # fmt: skip
    upstox = {"api_key": "canary", "access_token": "canary", "sandbox_token": "canary"}
    told = {"telegram": {"token": "canary"}, "email": {"password": "canary"}}
    alerts = {"webhook": "https://canary", "telegram_bot_token": "canary", "telegram_chat_id": "canary"}
    settings = Settings.model_validate(
        {"kite": kite, "upstox": upstox, "notifications": told, "alerts": alerts}
    )
    given = public_settings(settings)
    assert "canary" not in str(given) and "credentials" not in given
    assert Settings.model_validate(given).kite.rate_limits.order_placement == 7


@pytest.mark.parametrize(
    ("ws_url", "has_lists"), [("ws://127.0.0.1:9000", False), ("wss://ws.kite.trade", True)]
)
def test_supervisor_and_child_agree_whether_the_market_has_daily_lists(ws_url: str, has_lists: bool) -> None:
    settings = load_settings(Path("config/demo.yaml")).model_copy(
        update={"mode": "paper", "kite": KiteSection(ws_url=ws_url)}
    )
    child = Settings.model_validate(public_settings(settings))
    for one in (settings, child):
        assert (lists_of_day(one, NOW_NS).lists is not None) is has_lists
