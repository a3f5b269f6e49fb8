"""The configuration file: defaults, and errors that name file, line, cause and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.settings import Settings, SettingsError, is_loopback, load_settings

PATHS = {"trading": True, "risk": {"lists"}}  # relative ones are meant from the file's folder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, text))
    return str(caught.value)


def test_the_demo_loads() -> None:
    settings = load_settings(Path("config/demo.yaml"))
    assert settings.mode == "sim" and settings.strategies[0].name == "kalman_simple"


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""))
    assert settings.model_dump(exclude=PATHS) == Settings().model_dump(exclude=PATHS)
    assert settings.trading.rules == tmp_path / "rules/kite_2026-04-01.yaml"


def test_an_unknown_key_names_line_and_nearest_key(tmp_path: Path) -> None:
    text = error_of(tmp_path, "mode: sim\nrisk:\n  max_positionz: 3\n")
    assert "c.yaml, line 3" in text and "'risk.max_positionz'" in text and "'max_positions'" in text


def test_an_unknown_key_inside_a_list(tmp_path: Path) -> None:
    text = error_of(tmp_path, "strategies:\n  - name: x\n    fom: A\n")
    assert "line 3" in text and "did you mean 'form'" in text


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = error_of(tmp_path, "risk:\n  max_positions: -1\nperformance:\n  wait: sometimes\n")
    assert "line 2" in text and "line 4" in text and "'sometimes'" in text


@pytest.mark.parametrize("url", ["ws://ws.kite.trade", "http://10.0.0.1:80", "ftp://127.0.0.1"])
def test_plain_addresses_only_on_loopback(tmp_path: Path, url: str) -> None:
    assert "kite.ws_url" in error_of(tmp_path, f"kite:\n  ws_url: {url}\n")


def test_a_missing_file_says_what_to_start_from(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no such file; config/demo\.yaml"):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "x: \x00"])
def test_what_is_no_mapping_or_no_yaml(tmp_path: Path, text: str) -> None:
    assert "c.yaml" in error_of(tmp_path, text)


def test_secrets_do_not_show(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "kite:\n  access_token: verysecret\n"))
    assert "verysecret" not in repr(settings)


def test_loopback() -> None:
    assert (
        is_loopback("ws://127.0.0.1:1") and is_loopback("http://localhost") and is_loopback("http://[::1]:9")
    )
    assert not is_loopback("http://127.0.0.1.example.com") and not is_loopback("http://0.0.0.0")


def test_addresses_of_sinks_are_secrets_and_stand_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for words in (
        "webhook: http://far.example/s3cret",
        "heartbeat_url: ftp://far.example/s3cret",
        "webhook: [s3cret]",
        "telegram_bot_token: s3cret",  # without a chat
        "waive_sinks: maybe",
    ):
        path.write_text(f"alerts:\n  {words}\n")
        with pytest.raises(SettingsError) as error:
            load_settings(path)
        assert "s3cret" not in str(error.value) and "far.example" not in str(error.value), words
    path.write_text("alerts: {webhook: 'https://far.example/s3cret', telegram_bot_token: s3cret-2,"
                    " telegram_chat_id: '1', heartbeat_url: 'http://127.0.0.1:1/s3cret'}\n")  # fmt: skip
    assert "s3cret" not in repr(load_settings(path))


@pytest.mark.parametrize(
    "key",
    ["alerts.remind_s", "alerts.stale_position_s", "trading.poll_s", "trading.intent_deadline_s",
     "risk.repeats_s", "risk.skew_s", "risk.market_read_s", "exits.group_leg_s", "exits.stop_rest_s"],
)  # fmt: skip
def test_a_span_beyond_any_clock_names_its_key(tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    text = error_of(tmp_path, f"{section}:\n  {name}: 1.0e+300\n")
    assert "line 2" in text and key in text and "at most 1,000,000 can be set here" in text
    load_settings(write(tmp_path, f"{section}:\n  {name}: 1000000\n"))


@pytest.mark.parametrize("value", ["1.0e+300", "1000000000000000000000000000000"])
def test_so_does_any_other_number(tmp_path: Path, value: str) -> None:
    assert "risk.max_order_value" in error_of(tmp_path, f"risk:\n  max_order_value: {value}\n")
