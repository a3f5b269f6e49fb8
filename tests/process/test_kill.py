"""A real engine, killed by command and signal, over a restart; and a short `verify kill --real`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from engine_tools import Engine, engine, kite_hft, own

from kite_hft.engine.orders.latch import read_latch
from kite_hft.memory.journal import Kind, scan
from kite_hft.verify.kill import kill


def account_of(tmp_path: Path, name: str) -> Path:
    return tmp_path / "state/kite_hft" / f"kite-{name}"


def order_pid(run: Engine) -> int:
    rows = run.json("status")["processes"]
    return int(next(row["pid"] for row in rows if "orders" in row["stages"]))


def test_killed_stays_killed_over_a_restart_until_it_is_resumed(tmp_path: Path) -> None:
    name = own("KILL")
    title = f"kite-{name}"
    with engine(tmp_path, name) as run:
        run.until(lambda status: status["pnl_paise"] and status["state"]["state"] == "ACTIVE", 60)
        assert "nothing is latched" in run.ask("resume", code=1)
        told = run.ask("kill", "a test")
        assert f"{title} is KILLED: a test" in told and "confirmed by the order process" in told
        assert "no entry lives" in told
        status = run.json("status")
        assert status["state"]["state"] == "KILLED" and status["state"]["killed"] == "a test"
        assert all(not row["opening"] for row in status["orders"])
        assert "not resumed" in run.ask("resume", stdin="something else\n", code=1)
    found = read_latch(account_of(tmp_path, name))
    assert found is not None and found.reason == "a test" and "kite-hft kill" in found.by
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    down = kite_hft(env, "kill", "--flatten", "again", "--account", name)
    assert down.returncode == 0 and "an engine that is started begins KILLED" in down.stdout, down
    with engine(tmp_path, name) as run:
        status = run.until(lambda status: status["state"]["state"] == "KILLED", 60)
        assert "a test" in run.ask("status")
        told = run.ask("resume", stdin=f"{title}\n")
        assert "KILLED since" in told and "a test" in told and "resumed" in told
        assert read_latch(account_of(tmp_path, name)) is None
        run.until(lambda status: status["state"]["state"] == "ACTIVE")
        os.kill(order_pid(run), signal.SIGUSR1)
        run.until(lambda status: status["state"]["state"] == "KILLED")
        folder = Path(status["run"]["folder"])
        commands = [r.data() for r in scan((folder / "journal.bin").read_bytes()).records
                    if r.kind is Kind.COMMAND]  # fmt: skip
        assert [row["do"] for row in commands] == ["strategies", "kill", "resume", "kill"]
        assert commands[3]["by"] == "signal SIGUSR1"
    assert kite_hft(env, "resume", "--account", name, stdin=f"{title}\n").returncode == 0
    lines = (account_of(tmp_path, name) / "kills.jsonl").read_text().splitlines()
    assert [json.loads(line)["do"] for line in lines] == ["kill", "kill", "resume", "kill", "resume"]


@contextlib.contextmanager
def closed_to_files(folder: Path) -> Iterator[None]:
    """Nothing can be made in `folder` meanwhile; what lies in the folders below it is written on."""
    root = os.geteuid() == 0  # whom permissions do not bind

    def close(on: bool) -> None:
        if root:
            subprocess.run(["chattr", "+i" if on else "-i", str(folder)], check=True)
        else:
            folder.chmod(0o500 if on else 0o700)

    try:
        close(True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this file system keeps no file out: {error}")
    try:
        yield
    finally:
        close(False)


@pytest.mark.parametrize("way", ["command", "orders", "supervisor"])
def test_killed_although_the_latch_cannot_be_written(tmp_path: Path, way: str) -> None:
    """By each way to kill: nothing opens, no resume ends it, and the file follows as soon as it can."""
    name = own(f"UNW{way[0].upper()}")
    title, account = f"kite-{name}", account_of(tmp_path, name)
    with engine(tmp_path, name) as run:
        status = run.until(lambda status: status["orders"] and status["state"]["state"] == "ACTIVE", 60)
        folder = Path(status["run"]["folder"])
        with closed_to_files(account):
            if way == "command":
                told = run.ask("kill", "a test")
                assert "the engine was told, and is killed until it ends" in told
                assert "confirmed by the order process" in told and "no entry lives" in told
            else:
                os.kill(order_pid(run) if way == "orders" else run.process.pid, signal.SIGUSR1)
            status = run.until(lambda status: status["state"]["state"] == "KILLED")
            status = run.until(lambda status: all(not row["opening"] for row in status["orders"]))
            assert read_latch(account) is None
            reason = status["state"]["killed"]
            assert reason.startswith("a test, " if way == "command" else "SIGUSR1 to the ")
            code = [row for row in status["alerts"] if row["code"] == "FILE_FAILED"]
            assert [(row["key"], row["severity"]) for row in code] == [("KILL", "CRITICAL")], status["alerts"]
            told = run.ask("resume", stdin=f"{title}\n", code=1)
            assert f"KILLED, without the file KILL: {reason}" in told
            assert "not resumed: KILLED in the order process alone" in told
            assert run.json("status")["state"]["state"] == "KILLED"
        run.until(lambda status: read_latch(account) is not None, 15)
        found = read_latch(account)
        assert found is not None and found.reason == reason
        run.until(lambda status: not [row for row in status["alerts"] if row["code"] == "FILE_FAILED"])
        told = run.ask("resume", stdin=f"{title}\n")
        assert "KILLED since" in told and "resumed" in told
        run.until(lambda status: status["state"]["state"] == "ACTIVE")
    records = scan((folder / "journal.bin").read_bytes()).records
    commands = [r.data()["do"] for r in records if r.kind is Kind.COMMAND]
    assert commands == ["strategies", "kill", "resume"]


def test_the_campaign_on_a_real_engine(tmp_path: Path, capsys: object) -> None:
    """Its time limit is for a machine that does nothing else."""
    code = kill.main(["--trials", "0", "--real", "2", "--within-ms", "5000", "--keep", str(tmp_path)])
    assert code == 0
    assert not [p for p in psutil.process_iter() if str(tmp_path) in " ".join(_words(p))], "nobody is left"


def test_the_campaign_at_upstox(tmp_path: Path) -> None:
    words = ["--broker", "upstox", "--trials", "0", "--real", "1", "--within-ms", "5000"]
    assert kill.main([*words, "--keep", str(tmp_path)]) == 0


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_an_account_that_never_ran_cannot_be_killed(tmp_path: Path) -> None:
    done = kite_hft(dict(os.environ), "kill", "x", "--state", str(tmp_path / "state"))
    assert done.returncode == 1 and "nothing has run" in done.stderr, done
