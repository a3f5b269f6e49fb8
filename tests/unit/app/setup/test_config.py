"""`kite-hft config`: what it prints, its exit codes, and that no secret leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kite_hft.app.answering import begin
from kite_hft.app.setup.config import config
from kite_hft.settings import read_settings

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without variables of whoever runs this, and without their vault."""
    import os

    for name in [n for n in os.environ if n.startswith(("KITE_", "UPSTOX_", "ZERODHA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))


def call(*words: str | Path, code: int = 0, typed: str | None = None) -> str:
    done = RUNNER.invoke(config, [str(word) for word in words], input=typed)
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout if code == 0 else done.stdout + done.stderr


def as_json(*words: str | Path, code: int = 0) -> dict[str, Any]:
    begin(["--json"])
    try:
        done = RUNNER.invoke(config, [*(str(word) for word in words), "--json"])
    finally:
        begin()
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def new(path: Path, *words: str, broker: str = "kite", mode: str = "paper") -> Path:
    call("init", path, "--broker", broker, "--mode", mode, "--account", "AB1234", *words)
    return path


def edited(path: Path, old: str, fresh: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, fresh))
    return path


@pytest.mark.parametrize("broker", ["kite", "upstox"])
@pytest.mark.parametrize("mode", ["sim", "paper", "live"])
def test_what_init_writes_passes_the_check(tmp_path: Path, broker: str, mode: str) -> None:
    words = ["--max-daily-loss", "2500"] if mode == "live" else []
    path = new(tmp_path / "deep" / "c.yaml", *words, broker=broker, mode=mode)
    assert path.stat().st_mode & 0o777 == 0o600
    if mode == "live":
        lacking = as_json("check", path, code=2)
        assert not lacking["ok"] and "alert sink" in lacking["errors"][0] and len(lacking["errors"]) == 1
        edited(path, "  remind_s: 300\n", "  remind_s: 300\n  hook: [/bin/cat]\n")
    found = as_json("check", path)
    assert found["ok"] and (found["mode"], found["broker"], found["account"]) == (mode, broker, "AB1234")
    assert {"trading.rules", "trading.market", "trading.charges"} <= set(found["files"])
    assert found["notes"] == [] and any("vault" in line for line in found["warnings"]) == (mode != "sim")
    settings = read_settings(path, environ={}).settings
    assert settings.risk.max_daily_loss == (2500 if mode == "live" else 5000)


def test_init_replaces_nothing_and_follows_no_link(tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml")
    before = path.read_text()
    assert "is there already" in call(
        "init", path, "--broker", "kite", "--mode", "sim", "--account", "X", code=1
    )
    assert path.read_text() == before
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere.yaml")
    call("init", tmp_path / "link.yaml", "--broker", "kite", "--mode", "sim", "--account", "X", code=1)
    assert not (tmp_path / "nowhere.yaml").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--broker, --mode, --account: needed"),
        (["--broker", "ib", "--mode", "sim", "--account", "A"], "--broker ib: one of kite, upstox"),
        (["--broker", "kite", "--mode", "demo", "--account", "A"], "--mode demo: one of sim, paper, live"),
        (["--broker", "kite", "--mode", "sim", "--account", "A B"], "--account A B"),
        (["--broker", "kite", "--mode", "live", "--account", "A"], "--max-daily-loss"),
    ],
)
def test_init_without_a_terminal_says_what_is_missing(tmp_path: Path, words: list[str], told: str) -> None:
    assert told in call("init", tmp_path / "c.yaml", *words, code=2)
    assert not (tmp_path / "c.yaml").exists()


def test_the_example_is_what_init_writes_into_config() -> None:
    from kite_hft.app.setup.starting import LOSS_DEFAULT
    from kite_hft.app.setup.template import template

    example = Path("config/config.yaml.example").read_text()
    assert example == template("kite", "sim", "MYACCOUNT", LOSS_DEFAULT)
    found = as_json("check", "config/config.yaml.example")
    assert found["ok"] and found["warnings"] == []


def test_all_mistakes_of_referenced_files_are_told_at_once(tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml")
    rules = tmp_path / "rules.yaml"
    rules.write_text("name: x\n")
    text = path.read_text()
    lines = [f"  rules: {rules}" if line.startswith("  rules:") else line for line in text.splitlines()]
    lines = [f"  charges: {tmp_path}/none.yaml" if x.startswith("  charges:") else x for x in lines]
    path.write_text("\n".join(lines).replace("threshold:", "treshold:") + "\n")
    (tmp_path / "lists").mkdir()
    found = as_json("check", path, code=2)
    told = "\n".join(found["errors"])
    assert not found["ok"] and len(found["errors"]) == 3
    for word in ("rules.yaml", "none.yaml: no such file", "strategy 'kalman_simple' cannot be made"):
        assert word in told, told


@pytest.mark.parametrize(
    ("key", "name", "told"),
    [
        ("rules", "kite_2026-04-01.yaml", "holds the limits of kite, and these are to be upstox's"),
        ("charges", "charges_zerodha_2026-04-01.yaml", "holds the charges of zerodha, and broker is upstox"),
    ],
)
def test_the_other_brokers_file_is_an_error(tmp_path: Path, key: str, name: str, told: str) -> None:
    path = new(tmp_path / "c.yaml", broker="upstox")
    ours = {"rules": "/upstox_2026-04-01.yaml", "charges": "/charges_upstox_2026-04-01.yaml"}
    edited(path, ours[key], f"/{name}")
    (text,) = as_json("check", path, code=2)["errors"]
    assert told in text and f"leave trading.{key} out, or name" in text and "upstox_2026-04-01.yaml" in text


def test_a_closed_day_that_is_named_is_an_error(tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml")
    edited(path, "\ntrading:\n", '\ntrading:\n  date: "2026-11-21"\n')
    assert any("closed on 2026-11-21" in text for text in as_json("check", path, code=2)["errors"])


def test_a_looser_limit_is_an_error_and_a_stricter_one_not(tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml")
    text = path.read_text()
    path.write_text(text + "kite:\n  rate_limits: {order_placement: 200}\n")
    assert as_json("check", path)["ok"]
    path.write_text(text + "kite:\n  rate_limits: {order_placement: 600}\n")
    found = as_json("check", path, code=2)
    assert (
        "kite.rate_limits.order_placement: 600 is more than kite_2026-04-01.yaml lets" in found["errors"][0]
    )


def test_secrets_in_the_file_are_warned_of_and_never_shown(tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml")
    path.write_text(path.read_text() + "kite:\n  api_key: canary1\n  access_token: canary2\n")
    path.chmod(0o644)
    said = call("check", path)
    assert "kite.access_token lies open in a file" in said and "kite-hft credentials" in said
    assert f"chmod 600 {path}" in said and "canary" not in said
    assert "canary" not in call("show", path) + call("show", path, "--json")
    wrong = path.read_text().replace("api_key: canary1", "api_key: [canary1]")
    path.write_text(wrong)
    for verb in ("check", "show"):
        assert "canary" not in call(verb, path, code=2)
        assert "canary" not in str(as_json(verb, path, code=2))


def test_a_wrong_file_is_told_with_line_and_as_json(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("mode: sim\nrisk:\n  max_positionz: 3\n")
    assert "c.yaml, line 3: unknown key" in call("check", path, code=2)
    found = as_json("show", path, code=2)
    assert found["ok"] is False and "line 3" in found["errors"][0]


def test_show_tells_values_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = new(tmp_path / "c.yaml")
    (tmp_path / "c.night.yaml").write_text("risk:\n  max_positions: 3\n")
    monkeypatch.setenv("KITE_RISK__MAX_EXPOSURE", "77")
    keys = as_json("show", path, "--environment", "night")["keys"]
    assert keys["risk.max_positions"] == {"value": 3, "source": f"{tmp_path}/c.night.yaml:2"}
    assert keys["risk.max_exposure"] == {"value": 77.0, "source": "KITE_RISK__MAX_EXPOSURE"}
    assert keys["risk.period_s"]["source"] == "default"
    few = as_json("show", path, "--changed", "--section", "risk")["keys"]
    assert "risk.period_s" not in few and "risk.max_order_value" in few and "mode" not in few
    table = call("show", path, "--changed")
    assert "KITE_RISK__MAX_EXPOSURE" in table and "risk.max_exposure" in table


def test_the_file_may_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITE_CONFIG_PATH", str(new(tmp_path / "c.yaml")))
    assert as_json("check")["file"] == str(tmp_path / "c.yaml")
    monkeypatch.delenv("KITE_CONFIG_PATH")
    monkeypatch.chdir(tmp_path)
    assert "config/config.yaml: no such file" in call("check", code=2)


def test_mode_live_is_checked_for_what_it_needs(tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml", "--max-daily-loss", "10", mode="live")
    edited(path, "  remind_s: 300\n", '  remind_s: 300\n  waive_sinks: "I have no alert sink"\n')
    assert as_json("check", path)["ok"]
    path.write_text(path.read_text() + "kite:\n  api_url: https://example.org\n")
    assert "a broker's own hosts only" in as_json("check", path, code=2)["errors"][0]
    edited(path, "https://example.org", "https://api.kite.trade")
    edited(path, "  max_daily_loss: 10 ", "  max_drawdown: 10 ")
    assert "max_daily_loss is not set" in as_json("check", path, code=2)["errors"][0]


@pytest.mark.parametrize("verb", ["check", "show"])
def test_the_file_may_be_named_as_other_verbs_take_it(verb: str, tmp_path: Path) -> None:
    path = new(tmp_path / "c.yaml", mode="sim")
    assert call(verb, path) == call(verb, "--config", path) == call(verb, "-c", path)
    assert "no such file" in call(verb, "-c", tmp_path / "d.yaml", code=2)


def test_what_to_do_next_names_how_a_person_is_told_in_mode_live(tmp_path: Path) -> None:
    live = call("init", tmp_path / "l.yaml", "--broker", "kite", "--mode", "live", "--account", "AB1234",
                "--max-daily-loss", "1000")  # fmt: skip
    assert "kite-hft credentials --broker alerts" in live
    assert "--broker alerts" not in call("init", tmp_path / "p.yaml", "--broker", "kite", "--mode", "paper",
                                         "--account", "AB1234")  # fmt: skip


def test_a_file_that_is_named_and_missing_is_told_once_with_its_key(tmp_path: Path) -> None:
    path = edited(new(tmp_path / "c.yaml", mode="sim"), "/rules/market_", "/rules/markt_")
    errors = as_json("check", path, code=2)["errors"]
    (one,) = [text for text in errors if "markt_" in text]
    assert one.startswith("trading.market: ") and "no such file" in one


def test_secrets_of_alerts_have_a_place_in_the_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = new(tmp_path / "c.yaml", "--max-daily-loss", "1000", mode="live")
    assert any(
        "kite-hft credentials --broker alerts" in text for text in as_json("check", path, code=2)["errors"]
    )
    (tmp_path / "v").touch()
    monkeypatch.setenv("KITE_HFT_VAULT", str(tmp_path / "v"))
    found = as_json("check", path)
    assert any("mode live needs one alert sink" in text for text in found["warnings"]), (
        "it may be in the vault"
    )
    edited(path, "  remind_s: 300", "  remind_s: 300\n  webhook: https://canary.example/x")
    warnings = as_json("check", path)["warnings"]
    (one,) = [text for text in warnings if "alerts.webhook lies open in a file" in text]
    assert "`kite-hft credentials --broker alerts` keeps it" in one and "canary" not in one


def test_an_end_of_trading_before_the_hour_of_closing_is_an_error(tmp_path: Path) -> None:
    path = new(tmp_path / "kite-hft.yaml")
    assert call("check", path)
    hours = 'trading:\n  market_start: "09:15:00"\n  market_end: "15:00:00"'
    found = as_json("check", edited(path, "trading:", hours), code=2)
    (error,) = found["errors"]
    assert "trading.market_end 15:00:00 is before 15:08:00" in error
