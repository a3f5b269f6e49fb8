"""Run folders: nothing overwritten, `latest`, one engine per account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kite_hft.configuring.keys import SECRETS
from kite_hft.engine.runs.run_folder import (
    ATTEMPTS,
    AccountLocked,
    copy_without_secrets,
    login_of,
    open_run,
    state_dir,
)
from kite_hft.memory.segment import make_directory
from kite_hft.settings import Settings

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


def test_files_of_one_name_are_all_copied(tmp_path: Path, home: Path) -> None:
    files = [tmp_path / place / "mine.yaml" for place in ("configs", "rules", "rules/old")]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_text(f"{path.parent.name}: 1\n")
    run = open_run(tmp_path, home, "kite", "DEMO", AT, [*files, files[0]])
    run.release()
    names = {source: target.name for source, target in run.copies.items()}
    assert names == dict(zip(files, ("mine.yaml", "mine-2.yaml", "mine-3.yaml"), strict=True))
    assert all(target.read_text() == source.read_text() for source, target in run.copies.items())


def test_an_overlay_and_variables_make_another_configuration_and_no_other_rules(
    tmp_path: Path, home: Path
) -> None:
    files = [tmp_path / name for name in ("c.yaml", "c.live.yaml", "rules.yaml")]
    for path in files:
        path.write_text(f"{path.name}: 1\n")

    def hashes(copies: list[Path], configs: int, more: str = "") -> tuple[int, int]:
        run = open_run(tmp_path, home, "kite", "DEMO", AT, copies, configs=configs, more=more)
        run.release()
        assert sorted(p.name for p in run.path.iterdir()) == sorted(p.name for p in copies)
        return run.config_hash, run.rules_hash

    alone = hashes([files[0], files[2]], 1)
    over = hashes(files, 2)
    assert alone[0] != over[0] and alone[1] == over[1]
    assert hashes(files, 2, "KITE_ACCOUNT=B")[0] != over[0] and hashes(files, 2) == over


def test_a_second_engine_is_refused_and_told_of_the_first(tmp_path: Path, home: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib, kite_hft.engine.runs.run_folder as r;"
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


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_every_secret_of_the_settings_is_blanked(tmp_path: Path, name: str) -> None:
    source, target = tmp_path / "in.yaml", tmp_path / "out.yaml"
    source.write_text(f"upstox:\n  {name}: SSSS\n  mode: full\n")
    copy_without_secrets(source, target)
    assert "SSSS" not in target.read_text() and "mode: full" in target.read_text()


def test_too_many_runs_in_one_second_are_refused(tmp_path: Path, home: Path) -> None:
    for _ in range(ATTEMPTS):
        open_run(tmp_path, home, "kite", "DEMO", AT, []).release()
    with pytest.raises(FileExistsError, match="try again"):
        open_run(tmp_path, home, "kite", "DEMO", AT, [])


def test_state_dir(tmp_path: Path) -> None:
    assert state_dir({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "kite_hft"
    assert state_dir({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/kite_hft"


def settings_of(
    mode: str = "sim", url: str = "http://127.0.0.1:9000", key: str = "SECRET", token: str = "t"
) -> Settings:
    return Settings.model_validate(
        {
            "mode": mode,
            "kite": {"api_url": url, "ws_url": "ws://127.0.0.1:1", "api_key": key, "access_token": token},
        }
    )


def test_two_names_of_one_account_at_the_broker_are_one(tmp_path: Path, home: Path) -> None:
    login = login_of(settings_of())
    first = open_run(tmp_path, home, "kite", "ALPHA", AT, [], login)
    with pytest.raises(AccountLocked, match="this api key of kite, under another account name"):
        open_run(tmp_path, home, "kite", "BETA", AT, [], login_of(settings_of(url="http://127.0.0.1:9000/")))
    assert not (tmp_path / "kite-BETA").exists()
    assert not any("SECRET" in path.name for path in home.iterdir())
    other = open_run(
        tmp_path, home, "kite", "BETA", AT, [], login_of(settings_of(url="http://127.0.0.1:9001"))
    )
    other.release()
    first.release()
    open_run(tmp_path, home, "kite", "BETA", AT, [], login).release()
    assert not list(home.iterdir())


def test_a_run_with_a_broker_of_its_own_shares_it_with_nobody(tmp_path: Path, home: Path) -> None:
    assert login_of(settings_of(token="")) == login_of(settings_of(mode="paper")) == ""
    runs = [open_run(tmp_path, home, "kite", name, AT, []) for name in ("A", "B")]
    for run in runs:
        run.release()
