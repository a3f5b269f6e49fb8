"""The engine as a user runs it: the demo, its report, its ends, and what it leaves behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ENGINE = [sys.executable, "-m", "kite_hft.engine", "--plain"]
DEMO = Path("config/demo.yaml")
SHM = Path(f"/dev/shm/kite_hft-{os.getuid()}")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment with a state directory of its own."""
    yield {**os.environ, "XDG_STATE_HOME": str(tmp_path)}


def demo(tmp_path: Path, account: str, form: str = "A") -> Path:
    """The demo under an account of its own, so that tests do not lock one another out."""
    path = tmp_path / "demo.yaml"
    text = (
        DEMO.read_text().replace("account: DEMO", f"account: {account}").replace("form: B", f"form: {form}")
    )
    lines = [f"  {key}: {Path('config').resolve() / value}" for key, value in
             (("calendar", "calendar/india.yaml"), ("rules", "rules/kite_2026-04-01.yaml"),
              ("charges", "rules/charges_zerodha_2026-04-01.yaml"),
              ("market", "rules/market_2026-08-03.yaml"))]  # fmt: skip
    path.write_text(text.replace("trading:\n", "trading:\n" + "\n".join(lines) + "\n"))
    return path


def run(config: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*ENGINE, "--config", str(config), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def latest(env: dict[str, str], account: str) -> Path:
    return Path(env["XDG_STATE_HOME"]) / f"kite_hft/kite-{account}/latest"


def segments_of(run_folder: Path) -> list[Path]:
    """The run's folder in shared memory, if it is there: <broker>-<hash of the account>-<run>."""
    run_folder = run_folder.resolve()
    account = run_folder.parent.parent.name.removeprefix("kite-")
    tag = hashlib.sha256(account.encode()).hexdigest()[:8]
    return list(SHM.glob(f"kite-{tag}-{run_folder.name}"))


def start(config: Path, env: dict[str, str]) -> subprocess.Popen[str]:
    """An engine that is trading: its feed is connected."""
    engine = subprocess.Popen([*ENGINE, "--config", str(config)], env=env, stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    for line in engine.stdout:
        if "connected" in line:
            return engine
    raise AssertionError("the engine ended before its feed was connected")


def family(engine: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """Child processes by what they are: of the engine by name, others (sim, watchdog) by module."""
    found = {}
    for child in psutil.Process(engine.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end just now: then its words are gone, too
            if words := child.cmdline()[2:]:
                ours = "kite_hft.engine.processes.child" in words
                found[words[1] if ours else words[0].rpartition(".")[2]] = child
    return found


def without_restarts(config: Path) -> Path:
    """The same, but the first process that fails ends the run."""
    config.write_text(config.read_text() + "\nsupervision: {restart: false}\n")
    return config


def assert_nothing_left(children: dict[str, psutil.Process], run_folder: Path) -> None:
    _gone, alive = psutil.wait_procs(list(children.values()), timeout=5)
    assert not alive, alive
    assert not segments_of(run_folder)


def test_the_demo_trades_and_reports(tmp_path: Path, state: dict[str, str]) -> None:
    config, copy = demo(tmp_path, "TRADES", form="B"), tmp_path / "copy.json"
    done = run(config, state, "--duration", "15", "--report", str(copy))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Summary" in done.stdout and "Traceback" not in done.stderr
    folder = latest(state, "TRADES")
    report = json.loads((folder / "report.json").read_text())
    assert report == json.loads(copy.read_text())
    ticks, orders = report["ticks"], report["orders"]
    assert ticks["received"] == ticks["decoded"] == ticks["published"] == ticks["computed"] > 2000
    assert ticks["lost"] == 0 and len(set(ticks["checksum"].values())) == 1
    assert orders["sent"] >= 30 and orders["filled"] >= 20 and orders["partial_fills"] >= 1
    assert sum(orders["refused"].values()) >= 1 and orders["rejected"] >= 1
    assert orders["intents"] == orders["sent"] + sum(orders["refused"].values())
    assert report["latency_us"]["intent_to_sent"]["n"] == orders["sent"]
    assert {p.name for p in folder.iterdir()} >= {
        "journal.bin", "trades.csv", "orders.csv", "report.json", "engine.log", "demo.yaml",
        "kite_2026-04-01.yaml", "instruments.csv",
    }  # fmt: skip
    assert len((folder / "trades.csv").read_text().splitlines()) > orders["filled"]
    assert not segments_of(folder)


def test_a_second_start_compiles_no_kernel(tmp_path: Path, state: dict[str, str]) -> None:
    config = demo(tmp_path, "SECOND", form="B")
    starts = []
    for _ in range(2):
        done = run(config, state, "--duration", "2")
        assert done.returncode == 0, done.stderr
        report = json.loads((latest(state, "SECOND") / "report.json").read_text())
        starts += report["start"].values()
    assert starts[0]["kernel_compilations"] > 0
    assert starts[1]["kernel_compilations"] == 0 and starts[1]["kernels_from_cache"] > 0
    assert starts[1]["first_tick_s"] > 0 and "first tick after" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_in_order(tmp_path: Path, state: dict[str, str], number: signal.Signals) -> None:
    account = f"SIGNAL{int(number)}"
    engine = start(demo(tmp_path, account), state)
    children = family(engine)
    named = {name for name in children if not name.startswith("spare")}
    assert {"orders", "sim"} <= named and named & {"market-0", "compute-0"}
    time.sleep(7)
    engine.send_signal(number)
    rest, _ = engine.communicate(timeout=60)
    assert engine.returncode == 0 and "Summary" in rest and f"stopping: {number.name}" in rest
    assert json.loads((latest(state, account) / "report.json").read_text())["orders"]["sent"] > 0
    assert_nothing_left(children, latest(state, account))


@pytest.mark.parametrize("victim", ["market-0", "orders", "sim"])
def test_a_child_that_dies_ends_the_run_by_name(tmp_path: Path, state: dict[str, str], victim: str) -> None:
    account = f"KILL{victim[:4]}"
    engine = start(without_restarts(demo(tmp_path, account)), state)
    children = family(engine)
    name = victim if victim in children else "compute-0"
    children[name].kill()
    rest, _ = engine.communicate(timeout=60)
    words = "simulator has ended" if victim == "sim" else f"{name} ended by itself"
    assert engine.returncode == 4 and words in rest
    assert_nothing_left(children, latest(state, account))


def test_a_child_that_hangs_ends_the_run_by_name(tmp_path: Path, state: dict[str, str]) -> None:
    engine = start(without_restarts(demo(tmp_path, "HANGS")), state)
    children = family(engine)
    children["orders"].suspend()
    rest, _ = engine.communicate(timeout=60)
    assert engine.returncode == 4 and "orders hangs: no sign of life" in rest
    assert_nothing_left(children, latest(state, "HANGS"))


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path, state: dict[str, str]) -> None:
    config = demo(tmp_path, "ORPHANS")
    engine = start(config, state)
    children = family(engine)
    left = latest(state, "ORPHANS").resolve()
    engine.kill()
    engine.communicate()
    _gone, alive = psutil.wait_procs(list(children.values()), timeout=10)
    assert not alive
    assert segments_of(left), "nobody was there to remove the memory"
    done = run(config, state, "--duration", "1")
    assert done.returncode == 0 and not segments_of(left)


def test_mistakes_are_told_without_a_traceback(tmp_path: Path, state: dict[str, str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("mode: sim\nrisc:\n  max_positions: 1\n")
    unknown = tmp_path / "unknown.yaml"
    text = demo(tmp_path, "UNKNOWN").read_text()
    unknown.write_text(text.replace("kalman_simple", "kalman_simpel"))
    wrong_day = tmp_path / "day.yaml"
    wrong_day.write_text(text.replace("date: 2026-11-20", "date: 2026-11-22"))
    for config, code, words in (
        (tmp_path / "none.yaml", 2, "no such file"),
        (bad, 2, "line 2: unknown key 'risc'; did you mean 'risk'?"),
        (wrong_day, 2, "closed on 2026-11-22"),
        (unknown, 2, "no strategy 'kalman_simpel' in form A; did you mean 'kalman_simple'?"),
    ):
        done = run(config, state, "--duration", "1")
        told = (done.stderr + done.stdout).replace("\n", " ")
        assert done.returncode == code and words in told, told
        assert "Traceback" not in told
    assert run(DEMO, state, "--duration", "-1").returncode == 2


def test_a_second_engine_on_one_account_is_refused(tmp_path: Path, state: dict[str, str]) -> None:
    config = demo(tmp_path, "TWICE")
    engine = start(config, state)
    try:
        done = run(config, state, "--duration", "1")
        assert done.returncode == 3 and f"process {engine.pid}" in done.stderr.replace("\n", " ")
    finally:
        engine.send_signal(signal.SIGINT)
        engine.communicate(timeout=60)
    assert engine.returncode == 0


@pytest.mark.parametrize("lines", [1, 4])
def test_a_console_that_goes_away_does_not_end_the_run(
    tmp_path: Path, state: dict[str, str], lines: int
) -> None:
    account = f"PIPE{lines}"
    command = [*ENGINE, "--config", str(demo(tmp_path, account)), "--duration", "11"]
    engine = subprocess.Popen(command, env=state, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert engine.stdout is not None and engine.stderr is not None
    for _ in range(lines):
        engine.stdout.readline()
    engine.stdout.close()
    told = engine.stderr.read()
    assert engine.wait(60) == 0, told
    engine.stderr.close()
    folder = latest(state, account)
    assert json.loads((folder / "report.json").read_text())["ticks"]["computed"] > 1000
    assert "Traceback" not in told and not segments_of(folder)


def test_a_console_that_nobody_reads_stops_nothing(tmp_path: Path, state: dict[str, str]) -> None:
    """A pager, a stopped terminal, a link that is gone: the pipe is full, and each write to it stands."""
    account = "UNREAD"
    engine = start(demo(tmp_path, account), state)
    children = family(engine)
    assert engine.stdout is not None
    into = os.open(f"/proc/{engine.pid}/fd/1", os.O_WRONLY)

    def fill() -> None:
        with contextlib.suppress(OSError):
            os.write(into, b"." * (1 << 20))

    filling = threading.Thread(target=fill, daemon=True)
    filling.start()
    try:
        time.sleep(7)  # a line every 5 s
        assert filling.is_alive()
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(60) == 0
    finally:
        engine.kill()
        engine.stdout.close()
        filling.join(20)
        os.close(into)
    assert json.loads((latest(state, account) / "report.json").read_text())["ticks"]["computed"] > 1000
    assert "stopping: SIGTERM" in (latest(state, account) / "engine.log").read_text()
    assert_nothing_left(children, latest(state, account))


def test_a_console_without_the_rupee_sign(tmp_path: Path, state: dict[str, str]) -> None:
    env = {**state, "PYTHONIOENCODING": "ascii"}
    done = run(demo(tmp_path, "ASCII"), env, "--duration", "7")
    assert done.returncode == 0, done.stderr
    assert "gross P&L Rs " in done.stdout and "Summary" in done.stdout


def test_too_little_shared_memory_is_an_error_before_the_start(tmp_path: Path, state: dict[str, str]) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, to mount a small /dev/shm in a namespace of its own")
    config = demo(tmp_path, "NOROOM")
    inner = (
        f"mount -t tmpfs -o size=8m tmpfs /dev/shm && exec {' '.join(ENGINE)} --config {config} --duration 1"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inner],
        env=state,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stderr.replace("\n", " ")
    assert done.returncode == 3 and "not ready" in told and "/dev/shm" in told, told
    assert "feed: connected" not in done.stdout
