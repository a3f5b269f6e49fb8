"""kite-hft with standard streams that are closed, full or leave early, and in terminals of odd sizes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from engine_tools import own
from vault_tools import place

from kite_hft.engine.keys.vault import create

ROOT = Path(__file__).resolve().parents[2]
HFT = f"{sys.executable} -m kite_hft.app.cli"
FULL = "standard output: No space left on device"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("KITE_", "XDG_", "COLUMNS"))}
    return kept | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}


def sh(env: dict[str, str], line: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A line of bash; `kite-hft` is the command under test."""
    words = ["bash", "-o", "pipefail", "-c", line.replace("kite-hft", HFT)]
    return subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize(
    "words",
    [
        "config show config/demo.yaml", "config show config/demo.yaml --json", "config schema", "--help",
        "doctor --help", "status --json", "instruments find --help",
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_written_is_told(env: dict[str, str], words: str) -> None:
    done = sh(env, f"kite-hft {words} > /dev/full")
    assert done.returncode == 3 and FULL in done.stderr and "fault" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr


@pytest.mark.parametrize("words", ["config schema", "--help", "config show config/demo.yaml", "run --help"])
def test_a_reader_that_has_seen_enough_is_no_failure(env: dict[str, str], words: str) -> None:
    done = sh(env, f"kite-hft {words} | head -c 1 > /dev/null")
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_without_stderr_its_words_do_not_get_into_the_answer(env: dict[str, str]) -> None:
    done = sh(env, "kite-hft status --json --account NOBODY 2>&-")
    assert done.returncode == 1 and "NOBODY" in json.loads(done.stdout)["error"]
    done = sh(env, "kite-hft config check nowhere.yaml 2>&-")
    assert done.returncode == 2 and not done.stdout
    for closed in (">&-", "<&- >&- 2>&-"):
        assert sh(env, f"kite-hft config show config/demo.yaml {closed}").returncode == 0


def test_no_file_gets_the_number_of_a_closed_stream(env: dict[str, str], tmp_path: Path) -> None:
    env["KITE_HFT_VAULT"] = str(tmp_path / "keys/credentials.vault")
    lines = tmp_path / "lines"
    lines.write_text("master_password=correct horse battery\napi_key=abc\napi_secret=def\n")
    done = sh(env, f"kite-hft credentials --kdf pbkdf2 < {lines} >&- 2>&-")
    assert done.returncode == 0
    done = sh(env, "kite-hft credentials --status --json")
    assert json.loads(done.stdout)["exists"] and "checksum" not in done.stderr, done.stdout


@pytest.mark.parametrize("columns", ["0", "-5", "wide", "1", "20", "\u0664\u0660"])
def test_odd_terminals_get_words(env: dict[str, str], columns: str) -> None:
    env["COLUMNS"] = columns
    for words, said in (("--help", "Usage"), ("config show config/demo.yaml --section mode", "sim")):
        done = sh(env, f"kite-hft {words}")
        assert done.returncode == 0 and said in done.stdout, (words, done.stdout, done.stderr)


def test_a_run_goes_on_when_nobody_can_be_told(env: dict[str, str], tmp_path: Path) -> None:
    env |= {"XDG_STATE_HOME": str(tmp_path / "state"), "KITE_ACCOUNT": own("FULLOUT")}
    for program in ("kite-hft run", f"{sys.executable} -m kite_hft.engine --config"):
        done = sh(env, f"{program} config/demo.yaml --duration 3 > /dev/full")
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    logs = list((tmp_path / "state").rglob("engine.log"))
    assert any("step 1 of 6" in log.read_text() for log in logs)


@pytest.mark.parametrize("words", [["doctor"], ["morning"], ["login"]], ids=" ".join)
def test_ctrl_c_at_a_prompt_is_said(env: dict[str, str], tmp_path: Path, words: list[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("{mode: paper, account: PROMPT}\n")
    vault = place(tmp_path / "keys")
    create(vault, b"correct horse battery", {"kite/default": {"api_key": "k"}}, "pbkdf2")
    env |= {"KITE_HFT_VAULT": str(vault), "TERM": "xterm"}
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "kite_hft.app.cli", *words, "-c", str(config)], env=env, cwd=tmp_path,
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(follower)
    shown, typed, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            shown += os.read(leader, 4096)
        except OSError:  # it has ended
            break
        if not typed and b"not shown" in shown:
            time.sleep(0.3)
            os.write(leader, b"\x03")
            typed = True
    os.close(leader)
    assert process.wait(30) == 130 and shown.rstrip().endswith(b"kite-hft: broken off"), shown
