"""What a person reads who has written something else than was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.settings import SettingsError, load_settings


def told(folder: Path, text: str) -> str:
    path = folder / "c.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ={})
    return str(caught.value).replace(f"{path}, ", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rsk: {}", "line 1: unknown key 'rsk'; did you mean 'risk'?"),
        ("max_positions: 3", "line 1: unknown key 'max_positions'; it stands elsewhere: risk.max_positions"),
        (
            "risk: {store_ticks: true}",
            "unknown key 'risk.store_ticks'; it stands elsewhere: datafeed.store_ticks",
        ),
        ("risk: {cooldown: 3}", "unknown key 'risk.cooldown'; did you mean 'cooldown_s'?"),
        ("console: {qqq: 1}", "unknown key 'console.qqq'; known here: classic, every, timestamps"),
        (
            "strategies: [{name: x, max_positions: 1}]",
            "unknown key 'strategies.0.max_positions'; it stands else",
        ),
    ],
)
def test_an_unknown_key_leads_to_the_one_that_was_meant(text: str, words: str, tmp_path: Path) -> None:
    assert words in told(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "broker: upstocks",
            "broker: expected 'kite' or 'upstox'; did you mean 'upstox'? (found 'upstocks')",
        ),
        ("risk: {max_daily_loss: -5}", "risk.max_daily_loss: expected a number greater than 0 (found -5)"),
        ("risk: {max_positions: many}", "risk.max_positions: expected a whole number (found 'many')"),
        ("account: 12345", "account: expected text: put it in quotes, or YAML takes it for something else"),
        ("trading: {market_start: 9:15}", "trading.market_start: expected text: put it in quotes"),
        ("account: my-acc", "account: expected 1 to 32 letters, digits or _ (found 'my-acc')"),
        ("strategies: {name: x}", "strategies: expected a list, as [a, b]"),
        ("alerts: {hook: /bin/true}", "alerts.hook: expected a list, as [a, b]: here [/bin/true]"),
        ("risk: [1]", "risk: expected keys with values below it, indented"),
        (
            "datafeed: {store_ticks: perhaps}",
            "datafeed.store_ticks: expected true or false (found 'perhaps')",
        ),
    ],
)
def test_a_value_that_does_not_fit_says_what_does(text: str, words: str, tmp_path: Path) -> None:
    assert f"line 1: {words}" in told(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("datafeed: {instruments: NSE:INFY}", "datafeed.instruments: expected 'all' or a list, as [a, b]"),
        (
            "datafeed: {instruments: []}",
            "datafeed.instruments: expected 'all' or a list of at least 1 (found [])",
        ),
        ("datafeed: {aux: greeks}", "datafeed.aux: expected true or false or a list"),
        ("performance: {pin: atuo}", "performance.pin: expected 'off' or 'auto' or names with values"),
        ("data_broker: bth", "data_broker: expected 'kite' or 'upstox' or 'both'; did you mean 'both'?"),
    ],
)
def test_a_key_that_takes_several_kinds_is_told_once(text: str, words: str, tmp_path: Path) -> None:
    lines = told(tmp_path, text).splitlines()
    assert len(lines) == 1 and words in lines[0]


@pytest.mark.parametrize(
    "text",
    [
        "kite: canary", "kite: {access_token: [canary]}", "kite: {access_token: {canary: 1}}",
        "strategies: canary", "alerts: {webhook: {a: canary}}", "alerts: [canary]",
    ],
)  # fmt: skip
def test_no_part_of_what_may_be_a_secret_is_shown(text: str, tmp_path: Path) -> None:
    assert "expected" in (said := told(tmp_path, text)) and "canary" not in said


@pytest.mark.parametrize(
    "text", ["risk:\n", "strategies:\nrisk:\n  # max_positions: 3\nkite:\n  rate_limits:\n"]
)
def test_a_section_whose_keys_are_all_comments_is_as_if_it_were_not_there(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    found = load_settings(path, environ={})
    assert found.risk.max_positions == 20 and found.strategies == []


def test_an_empty_section_of_an_overlay_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("risk: {max_positions: 3}\n")
    (tmp_path / "c.live.yaml").write_text("risk:\n")
    assert load_settings(path, "live", environ={}).risk.max_positions == 3
    (tmp_path / "c.live.yaml").write_text("risk: {max_positions: null}\n")
    with pytest.raises(SettingsError, match=r"c\.live\.yaml, line 1: risk\.max_positions: expected a whole"):
        load_settings(path, "live", environ={})
