"""Mistakes that people make at the command line: each is told in words, with a fix, and has its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.runs.runs import NoRun, accounts, choose

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "config/demo.yaml"
DATED = {
    "calendar": "calendar/india.yaml", "market": "rules/market_2026-08-03.yaml",
    "rules": "rules/kite_2026-04-01.yaml", "charges": "rules/charges_zerodha_2026-04-01.yaml",
    "indices": "rules/indices_2026-08-03.yaml",
}  # fmt: skip


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("KITE_", "XDG_", "COLUMNS"))}
    return kept | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}


def ask(env: dict[str, str], *words: str, code: int) -> dict[str, Any]:
    """The object that a verb answers with."""
    done = subprocess.run(
        [sys.executable, "-m", "kite_hft.app.cli", *map(str, words), "--json"], env=env, cwd=env["HOME"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code and "Traceback" not in done.stderr, (done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("report", "told"), [("", "a folder; name a file in it"), ("none/r.json", "nothing can be written into")]
)
def test_a_place_of_the_report_is_looked_at_before_the_run(
    env: dict[str, str], tmp_path: Path, report: str, told: str
) -> None:
    error = ask(env, "run", str(DEMO), "--report", str(tmp_path / report), code=2)["error"]
    assert "--report" in error and told in error
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize("place", ["/proc/nowhere", str(DEMO)])
def test_a_state_directory_that_cannot_be_is_told_with_a_way_out(env: dict[str, str], place: str) -> None:
    env["XDG_STATE_HOME"] = place
    error = ask(env, "run", str(DEMO), "--duration", "1", code=3)["error"]
    assert f"the state directory {place}/kite_hft: " in error and "set XDG_STATE_HOME" in error
    assert "Errno" not in error


def test_a_folder_of_an_account_that_is_a_file_is_named(env: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / ".local/state/kite_hft/kite-DEMO"
    place.parent.mkdir(parents=True)
    place.touch()
    error = ask(env, "run", str(DEMO), "--duration", "1", code=3)["error"]
    assert error == f"not ready: {place}: File exists"


def test_a_missing_configuration_is_no_fault_of_the_program(env: dict[str, str]) -> None:
    assert "no such file" in ask(env, "alerts", "--test", "--config", "none.yaml", code=2)["error"]
    told = ask(env, "config", "show", str(DEMO), "--section", "nope", code=2)["error"]
    assert "no key begins with 'nope'" in told
    assert ask(env, "config", "show", str(DEMO), "--section", "risk.", code=0)["keys"]


def test_an_accepted_morning_answers_programs(env: dict[str, str], tmp_path: Path) -> None:
    dead = "http://127.0.0.1:1"
    data = {
        "mode": "paper", "broker": "kite", "account": "ACCEPTED",
        "kite": {"ws_url": "ws://127.0.0.1:1", "api_url": dead, "api_key": "k", "access_token": "t"},
        "upstox": {"instruments_url": dead},
        "trading": {name: str(ROOT / "config" / path) for name, path in DATED.items()},
    }  # fmt: skip
    config = tmp_path / "paper.yaml"
    config.write_text(json.dumps(data))
    config.chmod(0o600)
    assert ask(env, "morning", "-c", str(config), code=1)["verdict"] == "NO-GO"
    row = ask(env, "morning", "-c", str(config), "--accept", "  a rehearsal ", code=0)
    assert (row["event"], row["reason"], row["mode"]) == ("accepted", "a rehearsal", "paper")


def test_an_account_is_meant_by_either_of_its_names(tmp_path: Path) -> None:
    for name in ("kite-AB1234", "upstox-AB1234", "kite-CD5678"):
        run = tmp_path / name / "2026-11-20/100000"
        run.mkdir(parents=True)
        (tmp_path / name / "latest").symlink_to("2026-11-20/100000")
    found = accounts(tmp_path, elsewhere=False)
    assert choose(found, "upstox-AB1234", None).title == "upstox-AB1234"
    assert choose(found, "CD5678", None).title == "kite-CD5678"
    with pytest.raises(NoRun, match="did you mean --account CD5678"):
        choose(found, "cd5678", None)
    with pytest.raises(NoRun, match="no run of --broker kite --account upstox-AB1234"):
        choose(found, "upstox-AB1234", "kite")
