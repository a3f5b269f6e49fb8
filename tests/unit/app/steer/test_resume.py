"""`kite-hft resume` without an engine: what the account's files say, and that a damaged one can be mended."""

from __future__ import annotations

from pathlib import Path

from kite_hft.app.picture import account_folder
from kite_hft.app.steer.resume import by_hand, kept
from kite_hft.engine.orders.latches import HOLDS, write_holds
from kite_hft.engine.runs.runs import Account
from kite_hft.trading.gate.holds import HALTED, Hold


def test_what_is_held_is_shown(tmp_path: Path) -> None:
    account = Account("kite", "A1", tmp_path, None)
    folder = account_folder(account)
    folder.mkdir(parents=True, exist_ok=True)
    assert kept(account, None) == []
    write_holds(folder, "live kite", {"wild": Hold(HALTED, "x")})
    assert kept(account, None) == kept(account, "wild") == ["strategy wild is HALTED: x"]
    assert kept(account, "tame") == []


def test_a_damaged_file_of_holds_is_latched_and_ends_when_all_is_resumed(tmp_path: Path) -> None:
    account = Account("kite", "A1", tmp_path, None)
    folder = account_folder(account)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / HOLDS).write_text("{", "utf-8")
    assert kept(account, None) == ["HOLDS cannot be read: who is held is not known"]
    assert kept(account, "wild") == []
    by_hand(account, None)
    assert kept(account, None) == [] and not (folder / HOLDS).exists()
