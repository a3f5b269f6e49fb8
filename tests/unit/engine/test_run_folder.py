"""Run folders: nothing overwritten, `latest`, one engine per account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kite_hft.engine.run_folder import AccountLocked, open_run, state_dir

AT = 1_795_000_000 * 10**9


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("mode: sim\n")
    first = open_run(tmp_path, "kite", "DEMO", AT, [config])
    first.release()
    second = open_run(tmp_path, "kite", "DEMO", AT, [config])
    second.release()
    assert first.path != second.path and first.number != second.number
    assert (second.path / "c.yaml").read_text() == "mode: sim\n"
    assert (tmp_path / "kite-DEMO/latest").resolve() == second.path.resolve()
    assert first.path.stat().st_mode & 0o777 == 0o700


def test_a_second_engine_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, kite_hft.engine.run_folder as r;"
            "r.open_run(pathlib.Path(sys.argv[1]), 'kite', 'A', 0, []); print('held', flush=True); input()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(AccountLocked, match=f"process {holder.pid}"):
            open_run(tmp_path, "kite", "A", 0, [])
        open_run(tmp_path, "kite", "B", 0, []).release()
    finally:
        holder.kill()
        holder.communicate()
    open_run(tmp_path, "kite", "A", 0, []).release()


def test_state_dir(tmp_path: Path) -> None:
    assert state_dir({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "kite_hft"
    assert state_dir({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/kite_hft"
