"""The engine on hard ground: wrong addresses, silent brokers, full disks, two at once, resting orders."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

WITH_SPARES = True
ENGINE = [sys.executable, "-m", "kite_hft.engine", "--plain"]
RULES, CALENDAR = Path("config/rules/kite_2026-04-01.yaml"), Path("config/calendar/india.yaml")
TOKEN = "topsecrettoken99"
LIST = """instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,\
instrument_type,segment,exchange
738561,2885,RELIANCE,RELIANCE,0,,0,0.05,1,EQ,NSE,NSE
"""

RESTING = """
from kite_hft.strategies.base import BaseStrategy

class Resting(BaseStrategy):
    name = "resting"
    placed = False

    def on_tick(self, tick):
        if not self.placed:
            self.placed = True
            price = round(tick.last_price * 0.97 / 0.05) * 0.05
            self.place_order("BUY", tick.instrument_token, 1, "LIMIT", "MIS", price)
"""


def configuration(tmp_path: Path, account: str, **more: object) -> Path:
    settings = {
        "mode": "sim",
        "account": account,
        "trading": {
            "date": "2026-11-20",
            "calendar": str(CALENDAR.resolve()),
            "rules": str(RULES.resolve()),
            "charges": str(RULES.with_name("charges_zerodha_2026-04-01.yaml").resolve()),
            "market": str(RULES.with_name("market_2026-08-03.yaml").resolve()),
        },
        "performance": {"ring_buffer_size": 1024},
        **more,
    }
    path = tmp_path / f"{account}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def run(config: Path, state: Path, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ENGINE, "--config", str(config), *arguments],
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


class SilentBroker(BaseHTTPRequestHandler):
    """Serves the instrument list and never answers anything else."""

    def do_GET(self) -> None:
        if self.path.startswith("/instruments"):
            body = LIST.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/csv")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.server.over.wait(60)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def silent_broker() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SilentBroker)
    server.over = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_heard_while_the_broker_is_silent(
    tmp_path: Path, silent_broker: str, number: signal.Signals
) -> None:
    keys = {"ws_url": "ws://127.0.0.1:9", "api_url": silent_broker, "api_key": "k", "access_token": TOKEN}
    config = configuration(tmp_path, f"SILENT{int(number)}", kite=keys)
    engine = subprocess.Popen(
        [*ENGINE, "--config", str(config)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert engine.stdout is not None
    assert any("NO LOSS LIMIT" in line for line in iter(engine.stdout.readline, ""))
    assert "1 instruments" in engine.stdout.readline()
    time.sleep(1)
    engine.send_signal(number)
    time.sleep(0.2)
    engine.send_signal(number)  # a second one hurries
    rest, _ = engine.communicate(timeout=30)
    assert f"stopping: {number.name}" in rest and "Summary" in rest


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"ws_url": "http://127.0.0.1:9"}, "kite.ws_url: expected wss://"),
        ({"ws_url": "ws://127.0.0.1:99999"}, "kite.ws_url: Port out of range"),
        ({"ws_url": f"ws://127.0.0.1:9?access_token={TOKEN}"}, "keys have settings of their own"),
        ({"api_url": "http://127.0.0.1:abc"}, "kite.api_url: Port could not be cast"),
        ({"access_token": [TOKEN]}, "kite.access_token"),
    ],
)
def test_a_wrong_address_or_key_is_refused_and_never_repeated(
    tmp_path: Path, keys: dict[str, object], words: str
) -> None:
    whole = {"ws_url": "ws://127.0.0.1:9", "api_url": "http://127.0.0.1:9", "api_key": "k"}
    config = configuration(tmp_path, "WRONG", kite={**whole, "access_token": TOKEN, **keys})
    done = run(config, tmp_path / "state")
    told = (done.stderr + done.stdout).replace("\n", " ")
    assert done.returncode == 2 and words in told and "Traceback" not in told, told
    assert TOKEN not in told
    for path in (tmp_path / "state").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"risk": {"max_exposure": float("inf")}}, "finite"),
        ({"trading": {"intent_deadline_s": float("inf")}}, "finite"),
        ({"trading": {"absence_horizon_s": 0}}, "greater than 0"),
        ({"datafeed": {"instruments": []}}, "at least 1"),
        ({"trading": {"rules": "garbage.yaml"}}, "garbage.yaml"),
    ],
)
def test_settings_that_no_process_could_use_are_refused_before_the_start(
    tmp_path: Path, section: dict[str, dict[str, object]], words: str
) -> None:
    (tmp_path / "garbage.yaml").write_text("just: words\n")
    path = configuration(tmp_path, "SETTINGS")
    settings = yaml.safe_load(path.read_text())
    for name, values in section.items():
        settings[name] = {**settings.get(name, {}), **values}
    path.write_text(yaml.safe_dump(settings))
    done = run(path, tmp_path / "state")
    told = (done.stderr + done.stdout).replace("\n", " ")
    assert done.returncode == 2 and words in told and "Traceback" not in told, told


def test_two_engines_on_one_account_are_refused_whatever_their_state_directory(tmp_path: Path) -> None:
    config = configuration(tmp_path, "SAME", simulator={"instruments": 2})
    first = subprocess.Popen(
        [*ENGINE, "--config", str(config)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "one")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout is not None
    assert any("connected" in line for line in first.stdout)
    second = run(config, tmp_path / "two", "--duration", "1")
    assert second.returncode == 3 and f"process {first.pid}" in second.stderr.replace("\n", " ")
    first.send_signal(signal.SIGINT)
    rest, _ = first.communicate(timeout=60)
    assert first.returncode == 0 and "Summary" in rest


def test_stopping_cancels_an_entry_that_rests(tmp_path: Path) -> None:
    strategy = tmp_path / "resting.py"
    strategy.write_text(RESTING)
    section = {"name": f"{strategy}:Resting", "instruments": ["NSE:RELIANCE"]}
    config = configuration(tmp_path, "RESTS", strategies=[section], simulator={"instruments": 4, "rate": 10})
    done = run(config, tmp_path / "state", "--duration", "5")
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "state/kite_hft/kite-RESTS/latest"
    report = json.loads((folder / "report.json").read_text())
    assert report["orders"]["sent"] == 1 and report["orders"]["cancelled"] == 1
    assert report["open_at_end"]["orders"] == [] and "no order" in done.stdout
    assert ",CANCELLED," in (folder / "orders.csv").read_text()


def test_a_disk_that_fills_up_stops_trading_and_is_said(tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, to mount a small disk in a namespace of its own")
    strategy = {"name": "kalman_simple", "params": {"threshold": 0.0005, "warmup": 10, "quantity": 10}}
    market = {"instruments": 10, "rate": 20, "exchange_time": "2026-11-20T10:00:00"}
    config = configuration(tmp_path, "FULL", strategies=[strategy], simulator=market)
    state = tmp_path / "state"
    state.mkdir()
    # 66 MiB: above what a journal asks for at its start; then somebody else writes the disk full.
    found = f"ls {state}/kite_hft/*/*/*/journal.bin >{os.devnull} 2>&1"
    journal = f"for _ in $(seq 900); do {found} && break; sleep 0.1; done"
    inner = (
        f"mount -t tmpfs -o size=66m tmpfs {state} && "
        f"({journal}; sleep 3; head -c 70m /dev/zero > {state}/filler) & "
        f"sleep 0.5; exec {' '.join(ENGINE)} --config {config} --duration 12"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", inner], env={**os.environ, "XDG_STATE_HOME": str(state)},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    assert "Traceback" not in told and "Summary" in told, told
    assert "journal write" in told and done.returncode == 4, told
