"""What the engine looks at before it touches anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from kite_hft.engine import command as engine


@pytest.mark.parametrize("key", ["market", "rules"])
@pytest.mark.parametrize("text", ["", "- no\n- mapping\n", "limits: 7\n"])
def test_a_wrong_rules_file_is_a_wrong_configuration_and_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], key: str, text: str
) -> None:
    def started(*arguments: Any) -> int:
        raise AssertionError("nothing may start")

    monkeypatch.setattr(engine, "run_engine", started)
    monkeypatch.setattr(engine, "hold_standard_streams", lambda: None)
    (tmp_path / "wrong.yaml").write_text(text)
    config = yaml.safe_load(Path("config/demo.yaml").read_text())
    rules = Path("config/rules").resolve()
    chosen = {"market": rules / "market_2026-08-03.yaml", "rules": rules / "kite_2026-04-01.yaml"}
    chosen[key] = tmp_path / "wrong.yaml"
    config["trading"] = (config.get("trading") or {}) | {name: str(path) for name, path in chosen.items()}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(typer.Exit) as ended:
        engine.main(tmp_path / "c.yaml")
    assert ended.value.exit_code == engine.EXIT_USAGE
    assert "configuration" in capfd.readouterr().err


def test_an_end_of_trading_before_the_hour_of_closing_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def started(*arguments: Any, **more: Any) -> int:
        raise AssertionError("nothing may start")

    monkeypatch.setattr(engine, "run_engine", started)
    monkeypatch.setattr(engine, "hold_standard_streams", lambda: None)
    config = {"mode": "paper", "account": "AB1234", "risk": {"max_daily_loss": 1000.0}}
    config["trading"] = {"market_start": "09:15:00", "market_end": "15:00:00"}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    for folder in (path for path in Path("config").resolve().iterdir() if path.is_dir()):
        (tmp_path / folder.name).symlink_to(folder)
    with pytest.raises(typer.Exit) as ended:
        engine.main(tmp_path / "c.yaml")
    assert ended.value.exit_code == engine.EXIT_USAGE
    assert "market_end 15:00:00 is before 15:08:00" in capfd.readouterr().err
