"""What is in force and where it is from; secrets stay hidden."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.configuring.keys import SECRETS, is_secret, keys_of
from kite_hft.configuring.showing import SET, Shown, shown
from kite_hft.settings import Settings, read_settings


def rows_of(folder: Path, text: str, **environ: str) -> dict[str, Shown]:
    (folder / "c.yaml").write_text(text)
    loaded = read_settings(folder / "c.yaml", environ=environ)
    return {row.key: row for row in shown(loaded.settings, loaded.given)}


def test_every_key_is_there_once_and_plain(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "mode: paper\n")
    json.dumps([row.value for row in rows.values()])
    aliases = {"performance.store_ticks", "trading.max_position_size"}
    aliases |= {"notifications.telegram.token", "notifications.telegram.chat_id"}
    assert set(rows) == {".".join(path) for path, _f in keys_of(Settings)} - aliases
    assert rows["mode"].source == f"{tmp_path}/c.yaml:1" and rows["broker"].source == "default"
    assert rows["trading.rules"].source == "by broker"


@pytest.mark.parametrize("path", [p for p, _f in keys_of(Settings) if is_secret(p)], ids=".".join)
def test_no_secret_is_shown(tmp_path: Path, path: tuple[str, ...]) -> None:
    text = "\n".join(f"{'  ' * n}{name}:" for n, name in enumerate(path)) + " https://canary\n"
    text += "".join("  telegram_chat_id: '1'\n" for _ in [0] if path == ("alerts", "telegram_bot_token"))
    if path[0] == "notifications" and path[-1] == "token":
        text += "    chat_id: '1'\n"
    rows = rows_of(tmp_path, f"mode: paper\n{text}")
    assert "canary" not in str(rows)
    set_rows = [row.key for row in rows.values() if row.value == SET]
    assert set_rows == [".".join(path).replace("notifications.telegram.token", "alerts.telegram_bot_token")]


def test_the_names_of_secrets_cover_the_models() -> None:
    """A key of a name like these, and not among them, would be shown."""
    for path, _field in keys_of(Settings):
        like = any(word in path[-1] for word in ("secret", "password", "token", "webhook"))
        assert not like or path[-1] in SECRETS, path


def test_a_share_of_the_capital_says_so(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "risk:\n  capital: 100000\n  daily_loss_limit: 0.01\n  max_drawdown: 5\n")
    assert rows["risk.max_daily_loss"].value == 1000
    source = rows["risk.max_daily_loss"].source
    assert source == f"risk.daily_loss_limit ({tmp_path}/c.yaml:3) of risk.capital ({tmp_path}/c.yaml:2)"
    assert rows["risk.max_drawdown"].source == f"{tmp_path}/c.yaml:4"


def test_variables_and_profiles(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "profile: lean\n", KITE_RISK__MAX_POSITIONS="3")
    assert rows["risk.max_positions"] == Shown("risk.max_positions", 3, "KITE_RISK__MAX_POSITIONS")
    assert rows["performance.buffer_size"].source == "profile lean"
