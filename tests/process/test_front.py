"""kite-hft beside a running engine and after it: what it shows, what it asks, what it steers."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from engine_tools import Engine, engine, kite_hft, own


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One engine for the tests that only look; it has traded."""
    with engine(tmp_path_factory.mktemp("front"), own("FRONTUP")) as found:
        found.until(lambda status: status["pnl_paise"] and status["pnl_paise"]["charges"] > 0, 60)
        yield found


def test_status_says_all_of_a_running_engine(running: Engine) -> None:
    status = running.json("status")
    assert status["run"]["running"] and status["run"]["pid"] == running.process.pid
    assert status["state"]["state"] == "ACTIVE" and not status["state"]["token_dead"]
    rows = {row["name"]: row for row in status["processes"]}
    children = {child.pid for child in psutil.Process(running.process.pid).children(recursive=True)}
    assert rows["supervisor"]["pid"] == running.process.pid
    assert {row["pid"] for name, row in rows.items() if name != "supervisor"} <= children and len(rows) >= 3
    assert all(row["state"] == "alive" and row["restarts"] == 0 and row["pss"] > 0 for row in rows.values())
    (link,) = status["connections"]
    assert link["connected"] and link["instruments"] == 20 and link["last_tick_s"] < 2
    assert {"drops", "watchdog_trips", "refused_403", "refused_429", "gaps"} <= set(link)
    assert status["ticks"]["published"] > 500 and status["ticks"]["lost"] == 0
    text = running.ask("status", columns=80)
    for words in (own("FRONTUP"), "engine runs", "ACTIVE", "orders", "connection", "net"):
        assert words in text, text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_verbs_agree_with_one_another_and_with_the_files(running: Engine) -> None:
    orders = running.json("orders", "--all")["orders"]
    positions = running.json("positions", "--all")
    pnl = running.json("pnl")
    assert len(orders) > 5 and {row["status"] for row in orders} >= {"COMPLETE", "REJECTED"}
    assert all(row["strategy"] == "kalman_simple" for row in orders)
    total = pnl["pnl_paise"]
    assert total["net"] == total["gross"] - total["charges"]
    assert total["gross"] == total["realised"] + total["unrealised"]
    parts = pnl["by_strategy"]["kalman_simple"]
    assert {name: parts[name] for name in total} == total == pnl["total"]
    summed = {name: sum(part[name] for part in pnl["by_product"].values()) for name in total}
    assert summed == total
    assert sum(row["charges_paise"] for row in positions["positions"]) == positions["pnl_paise"]["charges"]
    assert running.json("pnl", "--strategy", "kalman_simple")["pnl_paise"]["charges"] >= total["charges"]
    assert "no strategy 'other'" in running.ask("pnl", "--strategy", "other", code=1)


def test_top_shows_one_picture(running: Engine) -> None:
    text = running.ask("top", "--once", columns=80)
    for words in ("ticks/s", "read to computed", "p99.9", "market-0", "busiest", "stalest", "pss"):
        assert words in text, text
    rate = float(next(line for line in text.splitlines() if "ticks/s " in line).split()[0])
    assert 100 <= rate <= 300  # 20 instruments of 10 a second


def test_top_on_a_terminal_ends_with_q(running: Engine) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "kite_hft.app.cli", "top", "--account", own("FRONTUP")]
    env = {**running.env, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    top = subprocess.Popen(command, env=env, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        deadline = time.monotonic() + 30
        while b"ticks/s" not in shown and time.monotonic() < deadline:
            if select.select([leader], [], [], 1.0)[0]:
                shown += os.read(leader, 65536)
        os.write(leader, b"q")
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while time.monotonic() < deadline:
                if select.select([leader], [], [], 0.1)[0]:
                    shown += os.read(leader, 65536)
        assert top.wait(10) == 0 and b"ticks/s" in shown and b"Traceback" not in shown
    finally:
        top.kill()
        top.wait()
        os.close(leader)


def test_subscriptions_change_while_it_runs(running: Engine) -> None:
    assert "NSE:SBIN: off" in running.ask("unsubscribe", "NSE:SBIN")
    assert "NSE:SBIN: ltp" in running.ask("subscribe", "NSE:SBIN", "--mode", "ltp")
    assert "NSE:SBIN: full" in running.ask("subscribe", "NSE:SBIN")
    codes = [row["code"] for row in running.json("alerts", "--all")["alerts"]]
    assert not codes, codes
    assert "did you mean NSE:SBIN" in running.ask("subscribe", "NSE:SBN", code=1)
    assert "its modes are ltp, quote, full" in running.ask("subscribe", "NSE:SBIN", "--mode", "all", code=1)


def test_stop_says_what_is_open_and_asks_before_it_stops(running: Engine) -> None:
    text = running.ask("stop", "--flatten", stdin="y\n", code=1)
    assert "stopping means: every order that rests is cancelled and every position is closed" in text
    assert "say --yes" in text and ("protects" in text or "no position" in text)
    assert "exclude one another" in running.ask("stop", "--keep", "--flatten", "--yes", code=2)
    assert running.process.poll() is None


def test_a_token_comes_by_standard_input_only(running: Engine) -> None:
    assert "no token was given" in running.ask("token", code=1)
    assert "no access token" in running.ask("token", stdin="two words\n", code=1)
    done = kite_hft(running.env, "token", "secret", "--account", own("FRONTUP"))
    assert (
        done.returncode == 2
        and "secret" not in Path(running.json("status")["run"]["folder"]).joinpath("engine.log").read_text()
    )


def test_looking_leaves_no_trace_in_the_engine(running: Engine) -> None:
    before = running.json("status")
    for _ in range(3):
        running.ask("top", "--once")
    after = running.json("status")
    assert [row["pid"] for row in after["processes"]] == [row["pid"] for row in before["processes"]]
    assert after["ticks"]["lost"] == 0 and after["state"]["state"] == "ACTIVE", after
    assert [row["code"] for row in after["alerts"]] == [row["code"] for row in before["alerts"]]


def test_stop_shows_the_end_and_the_verbs_go_on_with_the_engine_down(tmp_path: Path) -> None:
    with engine(tmp_path, own("FRONTEND")) as run:
        run.until(lambda status: status["positions"] != [], 60)
        told = run.ask("stop", "--keep", "--yes")
        assert "Summary" in told and "stopping: asked by the command line (keep)" in told
        assert run.process.wait(10) == 0
        status = run.json("status")
        report = json.loads((Path(status["run"]["folder"]) / "report.json").read_text())
        assert not status["run"]["running"] and status["run"]["ended_in_order"]
        assert status["state"]["state"] == "NOT_RUNNING" and not status["processes"]
        held = {row["instrument"]: row["quantity"] for row in report["positions"] if row["quantity"]}
        assert {row["instrument"]: row["quantity"] for row in status["positions"]} == held
        for name in ("gross", "charges", "net", "realised", "unrealised"):
            assert status["pnl_paise"][name] == report["pnl_paise"][name], name
        text = run.ask("positions")
        as_of = status["run"]["as_of"].partition(" ")[2]
        assert f"engine is not running; as of {as_of} IST from run" in text
        for verb in (["orders", "--all"], ["pnl"], ["status"], ["alerts"]):
            run.ask(*verb)
        for verb in (["top", "--once"], ["halt", "x"], ["subscribe", "NSE:SBIN"]):
            assert "no engine is running" in run.ask(*verb, code=1)
        assert "nothing to stop" in run.ask("stop", "--yes", code=1)


def test_after_a_kill_the_journal_still_answers_and_says_so(tmp_path: Path) -> None:
    with engine(tmp_path, own("FRONTKILL")) as run:
        run.until(lambda status: status["pnl_paise"] and status["pnl_paise"]["charges"] > 0, 60)
        top = subprocess.Popen(
            [sys.executable, "-m", "kite_hft.app.cli", "top", "--plain", "--account", own("FRONTKILL")],
            env=run.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert "is HALTED: a test" in run.ask("halt", "a test")
        halted = run.until(lambda status: status["alerts"] != [])
        assert halted["state"]["state"] == "HALTED" and halted["state"]["reason"] == "a test"
        (raised,) = [row for row in halted["alerts"] if row["code"] == "HALTED"]
        assert "HALTED: a test" in run.ask("alerts")
        assert "no open alert 99" in run.ask("alerts", "--ack", "99", code=1)
        run.ask("alerts", "--ack", str(raised["number"]))
        assert all(row["code"] != "HALTED" for row in run.json("alerts")["alerts"])
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        shown, said = top.communicate(timeout=30)
        assert top.returncode == 0 and "has ended" in shown and "Traceback" not in said
        status = run.json("status")
        assert not status["run"]["running"] and status["run"]["ended_in_order"] is False
        assert any("did not end in order" in warning for warning in status["run"]["warnings"])
        assert status["state"]["reason"] == "a test"
        assert run.json("orders", "--all")["orders"]
        # The next start of the account would remove what the killed one left in shared memory.
        note = json.loads((Path(status["run"]["folder"]) / "run.json").read_text())
        shutil.rmtree(note["shm"])


def test_without_any_run_the_message_says_what_to_do(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = kite_hft(env, "status", "--account", "NOBODY")
    assert done.returncode == 1 and "no run of --account NOBODY" in done.stderr and not done.stdout
    broken = tmp_path / "kite_hft/kite-X/2026-11-20/100000"
    broken.mkdir(parents=True)
    broken.parent.parent.joinpath("latest").symlink_to("2026-11-20/100000")
    done = kite_hft(env, "positions", "--account", "X")
    assert done.returncode == 1 and "ended before it could trade" in done.stderr


def test_a_wrong_token_is_tried_at_once_and_said_to_be_wrong(tmp_path: Path) -> None:
    with engine(tmp_path, own("FRONTTOKEN")) as made:
        made.until(lambda status: bool(status["state"]["state"] == "ACTIVE"))
        assert "the broker refuses it" in made.ask("token", stdin="rubbish\n", code=1)
        assert made.json("status")["state"]["token_dead"]
