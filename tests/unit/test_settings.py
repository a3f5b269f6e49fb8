"""The configuration file: defaults, and errors that name file, line, cause and fix."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kite_hft.addresses import is_loopback
from kite_hft.brokers.table import broker_of
from kite_hft.configuring.models.broker import PROTECTION_PERCENT
from kite_hft.settings import Settings, SettingsError, load_settings, load_yaml
from kite_hft.trading.instruments import InstrumentTable

NINE = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi"))
BOMB = f"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n{NINE}"
"""Five hundred bytes that stand for 9^9 values."""
PATHS = {"trading": True, "risk": {"lists"}}  # relative ones are meant from the file's folder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, text))
    return str(caught.value)


@pytest.mark.parametrize(("name", "broker"), [("demo.yaml", "kite"), ("demo_upstox.yaml", "upstox")])
def test_the_demo_loads(name: str, broker: str) -> None:
    settings = load_settings(Path("config") / name)
    assert settings.mode == "sim" and settings.strategies[0].name == "kalman_simple"
    assert settings.broker == broker and broker in settings.trading.rules.name


def test_the_pool_of_upstox_loads_for_an_account_with_keys_on_each_connection() -> None:
    settings = load_settings(Path("config/pool_upstox.yaml"))
    assert settings.upstox.keys_counted == "connection" and "upstox" in settings.trading.rules.name


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
    with pytest.raises(SettingsError, match=r"no such file; .*config init.*config/demo\.yaml"):
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


@pytest.mark.parametrize("mode", ["sim", "paper"])
def test_a_market_protection_that_the_order_broker_refuses_is_told_with_its_line(
    tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"mode: {mode}\nbroker: upstox\nrisk:\n  market_protection: 0.5\n")
    with pytest.raises(
        SettingsError, match=r"c\.yaml, line 4: risk\.market_protection: upstox takes 1 to 25 per"
    ):
        load_settings(path)
    path.write_text(f"mode: {mode}\nbroker: kite\ndata_broker: upstox\nrisk:\n  market_protection: 0.5\n")
    load_settings(path)


def test_values_that_only_upstox_sends_are_not_asked_of_kite(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for asked in ("true", "[greeks]"):
        path.write_text(f"mode: sim\nbroker: kite\ndatafeed:\n  aux: {asked}\n")
        with pytest.raises(SettingsError, match=r"c\.yaml, line 4: datafeed\.aux: Kite's"):
            load_settings(path)
        for brokers in (
            "broker: upstox",
            "broker: kite\ndata_broker: both",
            "broker: kite\ndata_broker: upstox",
        ):
            path.write_text(f"mode: sim\n{brokers}\ndatafeed:\n  aux: {asked}\n")
            load_settings(path)
    path.write_text("mode: sim\nbroker: kite\ndatafeed:\n  aux: false\n")
    load_settings(path)


def test_the_settings_and_the_adapters_know_one_market_protection() -> None:
    none = InstrumentTable(())
    for broker, percent in PROTECTION_PERCENT.items():
        assert broker_of(broker, none).protection_percent == percent


def test_a_recording_is_not_played_by_a_simulator_that_nobody_subscribes_to(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    text = "mode: sim\nbroker: kite\ndata_broker: {data}\nsimulator:\n  replay: day\n"
    path.write_text(text.format(data="upstox"))
    with pytest.raises(
        SettingsError, match=r"line 5: simulator\.replay: .* at kite, .*Set data_broker to both"
    ):
        load_settings(path)
    path.write_text(text.format(data="upstox") + "kite: {access_token: t}\n")
    load_settings(path)  # a simulator that somebody else has started may be told when to begin
    for data in ("both", "kite"):
        path.write_text(text.format(data=data))
        load_settings(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kite: {bind_address: eth0}", "kite.bind_address: 'eth0' is no address"),
        ("upstox: {bind_address: '10.0.0.256'}", "upstox.bind_address: '10.0.0.256' is no address"),
        ("upstox: {bind_address: '2001:db8::1'}", "takes orders from a registered IPv4 address"),
        (
            "mode: paper\nkite: {bind_address: 127.0.0.2}",
            "nothing but this machine is reached from 127.0.0.2",
        ),
    ],
)
def test_a_source_address_that_leads_nowhere(text: str, words: str, tmp_path: Path) -> None:
    assert words in error_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "kite: {bind_address: '2001:db8::1'}",
        "mode: paper\nkite: {bind_address: 0.0.0.0}",
        "mode: paper\nupstox: {bind_address: 127.0.0.2}",  # not in this run
        "mode: paper\nkite: {bind_address: 127.0.0.2, ws_url: 'ws://127.0.0.1:1', api_url: 'http://localhost:2'}",
    ],
)
def test_a_source_address_that_may_lead_there(text: str, tmp_path: Path) -> None:
    load_settings(write(tmp_path, text), environ={})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trading:\n  date: 2026-02-30\n", ("line 2", "2026-02-30", "day is out of range")),
        ("mode: paper\nrisk:\n  max_positions: 010\n", ("line 3", "base 8")),
        ("risk:\n  max_positions: yes\n", ("max_positions", "a number is wanted")),
        ("risk:\n  max_positions: !!int\n", ("line 2", "no int")),
        ("risk: !!int\n  max_positions: 5\n", ("line 1", "expected a scalar")),
        ("trading:\n  watchdog: !!bool perhaps\n", ("line 2", "no bool")),
        ("trading:\n  date: !!timestamp soon\n", ("line 2", "no timestamp")),
        ("risk: &r\n  x: *r\n", ("aliases",)),
        ("[" * 5000, ("nested too deeply",)),
        (BOMB, ("aliases", "500,000")),
    ],
)
def test_what_yaml_reads_otherwise_than_it_looks_is_refused(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    error = error_of(tmp_path, text)
    assert all(word in error for word in words) and str(tmp_path) in error


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "pipe.yaml")
    for path in (tmp_path, fifo, Path("/dev/zero")):
        with pytest.raises(SettingsError, match=r"(a folder|no plain file), so it cannot"):
            load_settings(path)
    long = write(tmp_path, "#" * (5 << 20))
    with pytest.raises(SettingsError, match="longer than 4 MiB"):
        load_settings(long)


def test_text_of_another_editor(tmp_path: Path) -> None:
    """As a Windows editor saves it, and as a web page shows it."""
    path = tmp_path / "c.yaml"
    path.write_bytes("\ufeffaccount: AB1234\r\nbroker: upstox\r\n".encode())
    assert load_settings(path).account == "AB1234"
    path.write_bytes("account: AB1234\n".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"no UTF-8 text \(byte 1 is 0xff\): save it as UTF-8"):
        load_settings(path)
    path.write_text("account:\u00a0AB1234\n")
    with pytest.raises(SettingsError, match=r"as `mode: paper`, found str; .*U\+00A0"):
        load_settings(path)


def test_rules_that_lie_in_the_project_are_named(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "account: AB1234\n"))
    with pytest.raises(SettingsError, match=r"it is /.*/config/rules/market_.*config init"):
        load_yaml(settings.trading.market)
    with pytest.raises(SettingsError, match="relative paths count"):
        load_yaml(tmp_path / "rules/market_2001-01-01.yaml")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_dotenv_that_is_no_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[str], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    make(".env")
    path = write(tmp_path, "account: AB1234\n")
    with pytest.raises(SettingsError, match=r"\.env: cannot be read: no plain file"):
        load_settings(path)
