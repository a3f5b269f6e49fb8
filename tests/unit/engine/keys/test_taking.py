"""What a run takes out of the vault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vault_tools import PASSWORD, place, quick

from kite_hft.configuring.models.safety import NO_SINK
from kite_hft.engine.keys.contents import VaultError
from kite_hft.engine.keys.taking import (
    keeps_secrets,
    needs_vault,
    shortcomings,
    take_keys,
    wanted,
    with_keys,
)
from kite_hft.engine.keys.vault import create
from kite_hft.settings import Settings
from kite_hft.units import NS_PER_S

NOW_NS = 1_795_393_800 * NS_PER_S  # 2026-11-23 06:00 in India
LATER, EARLIER = "2026-11-23T06:00:01+05:30", "2026-11-23T06:00:00+05:30"
HERE = {"api_url": "http://127.0.0.1:1", "ws_url": "ws://127.0.0.1:1"}
VAULT = {
    "kite/default": {"api_key": "K", "access_token": "KT", "api_secret": "never taken"},
    "kite/second": {"api_key": "K2", "access_token": "KT2"},
    "upstox/default": {"api_key": "U", "access_token": "UT", "sandbox_token": "US", "analytics_token": "UA"},
}


def settings(**more: Any) -> Settings:
    return Settings.model_validate({"mode": "paper", **more})


def test_only_empty_keys_are_filled() -> None:
    found = with_keys(settings(), VAULT)
    assert (found.kite.api_key, found.kite.access_token) == ("K", "KT")
    assert not found.upstox.access_token and not needs_vault(found)
    kept = with_keys(settings(kite={"api_key": "mine", "access_token": "also mine"}), VAULT)
    assert (kept.kite.api_key, kept.kite.access_token) == ("mine", "also mine")
    half = with_keys(settings(kite={"api_key": "mine"}), VAULT)
    assert (half.kite.api_key, half.kite.access_token) == ("mine", "KT")


def test_the_profile_is_the_configured_one() -> None:
    found = with_keys(settings(credentials={"profile": "second"}), VAULT)
    assert (found.kite.api_key, found.kite.access_token) == ("K2", "KT2")
    assert with_keys(settings(credentials={"profile": "third"}), VAULT) == settings(
        credentials={"profile": "third"}
    )


def test_paper_trading_gets_no_token_that_can_order() -> None:
    found = with_keys(settings(data_broker="upstox"), VAULT)
    assert not found.kite.access_token and found.upstox.access_token == "UT"
    live = with_keys(settings(mode="live", data_broker="upstox"), VAULT)
    assert (live.kite.access_token, live.upstox.access_token) == ("KT", "UT")
    assert not live.upstox.sandbox_token
    sandbox = with_keys(settings(broker="upstox", upstox={"sandbox": True}), VAULT)
    assert sandbox.upstox.sandbox_token == "US"


@pytest.mark.parametrize(
    ("more", "needs"),
    [
        ({"mode": "sim"}, False),
        ({"mode": "sim", "kite": HERE}, True),
        ({"mode": "sim", "kite": {**HERE, "api_key": "a", "access_token": "b"}}, False),
        ({"mode": "sim", "broker": "upstox", "upstox": {"api_url": "http://127.0.0.1:1"}}, True),
        ({"mode": "paper"}, True),
        ({"mode": "live"}, True),
        ({"mode": "live", "alerts": {"hook": ["x"]}, "kite": {"api_key": "a", "access_token": "b"}}, False),
        ({"mode": "paper", "broker": "upstox", "upstox": {"access_token": "b"}}, False),
    ],
)
def test_when_a_vault_is_needed(more: dict[str, Any], needs: bool) -> None:
    assert needs_vault(settings(**more)) == needs == bool(wanted(settings(**more)))


def test_live_needs_the_vault_for_a_way_to_tell_somebody() -> None:
    keys = {"mode": "live", "kite": {"api_key": "a", "access_token": "b"}}
    assert needs_vault(settings(**keys)) and not wanted(settings(**keys))
    for alerts in ({"hook": ["x"]}, {"webhook": "https://w.example/x"}, {"waive_sinks": NO_SINK}):
        assert not needs_vault(settings(**keys, alerts=alerts))


ALERTS = {"webhook": "https://w.example/x", "telegram_bot_token": "1:B", "telegram_chat_id": "7",
          "heartbeat_url": "https://hc.example/y"}  # fmt: skip


def test_alerts_come_with_the_keys_where_the_configuration_leaves_them_empty() -> None:
    contents = {**VAULT, "alerts/default": ALERTS}
    found = with_keys(settings(), contents).alerts
    assert {name: getattr(found, name) for name in ALERTS} == ALERTS
    own = settings(alerts={"webhook": "https://mine.example/z", "telegram_bot_token": "2:C",
                           "telegram_chat_id": "8"})  # fmt: skip
    kept = with_keys(own, contents).alerts
    assert (kept.webhook, kept.telegram_bot_token, kept.telegram_chat_id, kept.heartbeat_url) == (
        "https://mine.example/z", "2:C", "8", "https://hc.example/y",
    )  # fmt: skip
    assert with_keys(settings(), contents, sinks=False).alerts == settings().alerts
    rehearsed = settings(mode="sim", kite=HERE)
    assert with_keys(rehearsed, contents).alerts == rehearsed.alerts  # it pages nobody


def test_a_profile_has_alerts_of_its_own_or_those_of_default() -> None:
    second = settings(credentials={"profile": "second"})
    contents = {**VAULT, "alerts/default": {"webhook": "https://d.example/"}}
    assert with_keys(second, contents).alerts.webhook == "https://d.example/"
    contents["alerts/second"] = {"heartbeat_url": "https://s.example/"}
    found = with_keys(second, contents).alerts
    assert (found.webhook, found.heartbeat_url) == ("", "https://s.example/")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"telegram_bot_token": "1:canary"}, "telegram_chat_id go together"),
        ({"webhook": "http://canary.example/"}, "alerts.webhook: expected https"),
    ],
)
def test_alerts_in_the_vault_that_cannot_be_used(values: dict[str, str], words: str) -> None:
    with pytest.raises(VaultError, match=words) as told:
        with_keys(settings(), {**VAULT, "alerts/default": values})
    assert "canary" not in str(told.value) and "kite-hft credentials --broker alerts" in str(told.value)


def test_a_token_that_has_ended_is_not_taken() -> None:
    contents = {"kite/default": {**VAULT["kite/default"], "access_token_until": EARLIER}}
    assert with_keys(settings(), contents, NOW_NS).kite.access_token == ""
    (line,) = shortcomings(settings(), contents, NOW_NS)
    assert EARLIER in line and "kite-hft login --broker kite --profile default" in line and "KT" not in line
    contents["kite/default"]["access_token_until"] = LATER
    assert with_keys(settings(), contents, NOW_NS).kite.access_token == "KT"
    assert shortcomings(settings(), contents, NOW_NS) == []


def test_paper_trading_reads_prices_with_the_analytics_token_when_the_days_has_ended() -> None:
    values = {**VAULT["upstox/default"], "access_token_until": EARLIER, "analytics_token_until": LATER}
    paper = settings(broker="upstox")
    assert with_keys(paper, {"upstox/default": values}, NOW_NS).upstox.access_token == "UA"
    assert shortcomings(paper, {"upstox/default": values}, NOW_NS) == []
    live = settings(mode="live", broker="upstox")
    assert with_keys(live, {"upstox/default": values}, NOW_NS).upstox.access_token == ""
    values["analytics_token_until"] = EARLIER
    assert with_keys(paper, {"upstox/default": values}, NOW_NS).upstox.access_token == ""


def test_real_secrets_are_told_from_those_of_a_simulator() -> None:
    assert keeps_secrets(settings()) and keeps_secrets(settings(mode="live"))
    assert not keeps_secrets(settings(mode="sim"))
    assert not keeps_secrets(settings(mode="sim", kite={**HERE, "api_key": "a", "access_token": "b"}))
    assert keeps_secrets(settings(mode="sim", alerts={"heartbeat_url": "https://hc.example/x"}))


def test_a_run_opens_its_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)
    asked = []

    def prompt() -> str:
        asked.append(1)
        return PASSWORD.decode()

    path = place(tmp_path)
    environ = {"KITE_HFT_VAULT": str(path)}
    paper = settings()
    assert take_keys(paper, environ, NOW_NS, prompt=prompt) == paper and not asked  # no vault: as it is
    create(path, PASSWORD, VAULT, "pbkdf2")
    assert take_keys(paper, environ, NOW_NS, prompt=prompt).kite.access_token == "KT"
    elsewhere = settings(credentials={"file": path})
    assert take_keys(elsewhere, {}, NOW_NS, prompt=prompt).kite.access_token == "KT"
    own = settings(mode="sim")
    assert take_keys(own, environ, NOW_NS, prompt=prompt) == own and len(asked) == 2  # needs nothing
    with pytest.raises(VaultError, match="kite/third: the vault has no api_key"):
        take_keys(settings(credentials={"profile": "third"}), environ, NOW_NS, prompt=prompt)
    with pytest.raises(VaultError, match="password is wrong"):
        take_keys(paper, environ, NOW_NS, prompt=lambda: "another one")
    path.chmod(0o640)
    asked.clear()
    with pytest.raises(VaultError, match="chmod 600"):
        take_keys(paper, environ, NOW_NS, prompt=prompt)
    assert not asked  # nobody types a password for a file that is refused anyway
