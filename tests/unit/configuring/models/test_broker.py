"""What of the configuration depends on the broker: modes, files, addresses, keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kite_hft.brokers.kite.wire import MODES as KITE_MODES
from kite_hft.brokers.upstox.subscriptions import MODES as UPSTOX_MODES
from kite_hft.configuring.models.broker import FILES, SAME_MODE, mode_of, rules_of
from kite_hft.configuring.modes import MODES
from kite_hft.settings import Settings, SettingsError, load_settings

CONFIG = Path(__file__).parents[4] / "config"


def load(folder: Path, text: str) -> Settings:
    (folder / "c.yaml").write_text(text)
    return load_settings(folder / "c.yaml")


def test_the_modes_are_those_of_the_wires() -> None:
    assert MODES["kite"] == tuple(KITE_MODES) and MODES["upstox"] == tuple(UPSTOX_MODES)
    assert all(word in MODES[broker] for broker, words in SAME_MODE.items() for word in words.values())


@pytest.mark.parametrize(
    ("broker", "name", "word"),
    [
        ("kite", "full", "full"),
        ("kite", "ltpc", "ltp"),
        ("upstox", "ltp", "ltpc"),
        ("upstox", "full", "full"),
    ],
)
def test_a_mode_may_be_said_in_the_other_brokers_word(broker: str, name: str, word: str) -> None:
    assert mode_of(broker, name) == word


@pytest.mark.parametrize(
    ("broker", "name", "said"),
    [
        ("upstox", "quote", "full is the nearest"),
        ("kite", "option_greeks", "no Greeks"),
        ("kite", "everything", "ltp, quote, full"),
        ("upstox", "all", "ltpc, option_greeks, full, full_d30"),
    ],
)
def test_a_mode_that_there_is_not_is_refused_with_those_that_there_are(
    broker: str, name: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        mode_of(broker, name)


def test_modes_are_checked_against_the_data_broker_and_the_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"c\.yaml, line 3: datafeed\.mode: upstox has no mode 'quote'"):
        load(tmp_path, "broker: upstox\ndatafeed:\n  mode: quote\n")
    with pytest.raises(SettingsError, match=r"line 4: datafeed\.modes\.NSE:SBIN: kite has no"):
        load(tmp_path, "broker: upstox\ndata_broker: kite\ndatafeed:\n  modes: {NSE:SBIN: full_d30}\n")
    with pytest.raises(SettingsError, match="Upstox Plus"):
        load(tmp_path, "broker: upstox\ndatafeed: {mode: full_d30}\n")
    load(tmp_path, "broker: upstox\nupstox: {plus: true}\ndatafeed: {mode: full_d30}\n")
    load(tmp_path, "broker: kite\ndata_broker: upstox\ndatafeed: {mode: option_greeks}\n")
    assert load(tmp_path, "broker: upstox\ndatafeed: {modes: {NSE:SBIN: off}}\n").datafeed.modes == {
        "NSE:SBIN": "off"
    }


def test_a_mode_that_was_translated_is_said(tmp_path: Path) -> None:
    said = load(tmp_path, "broker: upstox\ndatafeed: {mode: ltp}\n").renamed_modes()
    assert said == ["mode ltp is called ltpc at upstox: taken as that"]
    assert load(tmp_path, "datafeed: {mode: ltp}\n").renamed_modes() == []
    both = load(tmp_path, "data_broker: both\ndatafeed: {mode: ltp}\n")
    assert both.renamed_modes() == said and both.data_brokers == ("kite", "upstox")


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_rules_and_charges_follow_the_order_broker(tmp_path: Path, broker: str) -> None:
    found = load(tmp_path, f"broker: {broker}\n").trading
    assert (found.rules, found.charges) == tuple(
        tmp_path / FILES[broker][key] for key in ("rules", "charges")
    )
    assert all((CONFIG / path).is_file() for path in FILES[broker].values())
    own = load(tmp_path, f"broker: {broker}\ntrading: {{rules: mine.yaml}}\n").trading
    assert own.rules == tmp_path / "mine.yaml" and own.charges == found.charges
    assert Settings(broker=broker).trading.rules == FILES[broker]["rules"]
    with pytest.raises(SettingsError, match="trading"):
        load(tmp_path, f"broker: {broker}\ntrading: 5\n")


def test_the_data_brokers_rules_lie_beside_the_order_brokers() -> None:
    assert rules_of("kite", "kite", Path("a/own.yaml")) == Path("a/own.yaml")
    assert rules_of("upstox", "kite", Path("a/own.yaml")) == Path("a") / FILES["upstox"]["rules"].name


@pytest.mark.parametrize(
    ("words", "data", "all_"),
    [
        ({}, ("kite",), ("kite",)),
        ({"broker": "upstox"}, ("upstox",), ("upstox",)),
        ({"data_broker": "upstox"}, ("upstox",), ("kite", "upstox")),
        ({"broker": "upstox", "data_broker": "both"}, ("upstox", "kite"), ("upstox", "kite")),
    ],
)
def test_who_has_which_role(words: dict[str, Any], data: tuple[str, ...], all_: tuple[str, ...]) -> None:
    settings = Settings.model_validate(words)
    assert settings.data_brokers == data and settings.brokers == all_


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_url", "http://api.example"),
        ("hft_url", "ftp://x"),
        ("feed_url", "ws://feed.example"),
        ("feed_url", "https://u:p@feed.example"),
        ("sandbox_url", "http://a.example"),
        ("instruments_url", "http://a.example/x"),
    ],
)
def test_addresses_of_upstox_are_encrypted(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"line 2: upstox\.{key}: "):
        load(tmp_path, f"upstox:\n  {key}: {value}\n")
    with pytest.raises(SettingsError, match=r"upstox\.failover\.1"):
        load(tmp_path, "upstox: {failover: ['https://a.example', 'http://b.example']}\n")
    load(tmp_path, "upstox: {feed_url: 'wss://api.upstox.com', api_url: 'http://127.0.0.1:5'}\n")


def test_the_sandbox_is_for_paper_and_for_upstox(tmp_path: Path) -> None:
    load(tmp_path, "mode: paper\nbroker: upstox\nupstox: {sandbox: true}\n")
    for text in ("mode: live\nbroker: upstox\n", "mode: paper\n"):
        with pytest.raises(SettingsError, match="sandbox"):
            load(tmp_path, f"{text}upstox: {{sandbox: true}}\n")


def test_no_secret_of_upstox_is_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, "upstox: {access_token: abcsecret, sandbox_token: defsecret}\n")
    assert "abcsecret" not in repr(settings) and "defsecret" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, "upstox: {access_token: [abcsecret]}\n")
    assert "abcsecret" not in str(caught.value)
