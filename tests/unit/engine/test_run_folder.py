"""Run folders: nothing overwritten, `latest`, one engine per account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kite_hft.engine.run_folder import ATTEMPTS, AccountLocked, open_run, state_dir
from kite_hft.memory.segment import make_directory

AT = 1_795_000_000 * 10**9


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Stands for the user's folder in shared memory."""
    return make_directory(tmp_path, "home")


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path, home: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("mode: sim\n")
    first = open_run(tmp_path, home, "kite", "DEMO", AT, [config])
    first.release()
    second = open_run(tmp_path, home, "kite", "DEMO", AT, [config])
    second.release()
    assert first.path != second.path and first.number != second.number
    assert (second.path / "c.yaml").read_text() == "mode: sim\n"
    assert (tmp_path / "kite-DEMO/latest").resolve() == second.path.resolve()
    assert first.path.stat().st_mode & 0o777 == 0o700


def test_a_second_engine_is_refused_and_told_of_the_first(tmp_path: Path, home: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, kite_hft.engine.run_folder as r;"
            "r.open_run(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), 'kite', 'A', 0, []);"
            "print('held', flush=True); input()",
            str(tmp_path / "other"),
            str(home),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(AccountLocked, match=f"process {holder.pid}"):
            open_run(tmp_path, home, "kite", "A", 0, [])
        open_run(tmp_path, home, "kite", "B", 0, []).release()
    finally:
        holder.kill()
        holder.communicate()
    open_run(tmp_path, home, "kite", "A", 0, []).release()


def test_the_copy_of_a_configuration_holds_no_secret(tmp_path: Path, home: Path) -> None:
    block, flow = tmp_path / "block.yaml", tmp_path / "flow.yaml"
    block.write_text("mode: paper\nkite:\n  api_key: KKKK\n  access_token: TTTT # mine\n  ws_url: ws://h\n")
    flow.write_text('{"kite": {"api_key": "KKKK", "access_token": "TTTT", "ws_url": "ws://h"}}')
    run = open_run(tmp_path, home, "kite", "DEMO", AT, [block, flow])
    run.release()
    for name in ("block.yaml", "flow.yaml"):
        copy = run.path / name
        text = copy.read_text()
        assert "KKKK" not in text and "TTTT" not in text and "ws://h" in text
        assert copy.stat().st_mode & 0o777 == 0o600
        assert isinstance(yaml.safe_load(text)["kite"]["ws_url"], str)


def test_too_many_runs_in_one_second_are_refused(tmp_path: Path, home: Path) -> None:
    for _ in range(ATTEMPTS):
        open_run(tmp_path, home, "kite", "DEMO", AT, []).release()
    with pytest.raises(FileExistsError, match="try again"):
        open_run(tmp_path, home, "kite", "DEMO", AT, [])


def test_state_dir(tmp_path: Path) -> None:
    assert state_dir({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "kite_hft"
    assert state_dir({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/kite_hft"
