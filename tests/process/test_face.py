"""`from kite_hft import ...` as a user writes it: each script is a process, against the simulators."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from face_tools import Script, environment, feed_config
from sim_tools import simulator

KITE = ("--broker", "kite", "--instruments", "20", "--rate", "20", "--exchange-time", "2026-11-20T10:00:00")

PROMISED = """
from kite_hft import DataFeedService, KiteAuthenticator, config

known = dict(api_key=config.kite.api_key, api_url=config.kite.api_url, access_token={token!r})
auth = KiteAuthenticator(**known)
assert auth.authenticate()
access_token = auth.get_access_token()
datafeed = DataFeedService(api_key=config.kite.api_key, access_token=access_token)
instruments = [738561, 5633]
datafeed.subscribe(instruments, mode="quote")

def on_tick(tick):
    print(f"Token: {{tick.instrument_token}}, Price: {{tick.last_price}}")

datafeed.add_tick_callback(on_tick)
datafeed.start()

stats = datafeed.get_statistics()
print(f"Ticks/second: {{stats['ticks_per_second']}}")
print(f"Active connections: {{stats['active_connections']}}")
print(f"Buffer usage: {{stats['buffer_usage']:.2%}}")
"""


def gone(pid: int, seconds: float = 30.0) -> bool:
    """Whether a process ends within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


def test_the_promised_script_goes_on_until_ctrl_c(tmp_path: Path) -> None:
    with simulator(*KITE) as running:
        env = environment(tmp_path, feed_config(tmp_path, running))
        with Script(tmp_path, PROMISED.format(token=running.access_token), env) as script:
            said = script.until("Buffer usage")
            assert re.search(r"^Active connections: 1$", said, re.MULTILINE)
            assert re.search(r"^Buffer usage: \d+\.\d\d%$", said, re.MULTILINE)
            seen = len(said.splitlines())
            time.sleep(1.0)
            said = script.said
            assert len(said.splitlines()) > seen + 10, "the script has ended and its callbacks go on"
            tokens = set(re.findall(r"^Token: (\d+), Price: \d+\.\d+$", said, re.MULTILINE))
            assert tokens == {"738561", "5633"}
            assert script.interrupt() == 0, script.said
            assert "Traceback" not in script.said
        report = next((tmp_path / "state").glob("kite_hft/kite-FEED*/latest/report.json")).read_text()
        assert '"mode": "paper"' in report, "an engine for prices holds no token for orders"
        secret = running.access_token
        kept = [
            p for p in (tmp_path / "state").rglob("*") if p.is_file() and secret in p.read_text("latin-1")
        ]
        assert not kept, "the token is in no file of the run"


ASKED = """
import os, time
from kite_hft import DataFeedService

with DataFeedService(access_token={token!r}, {more}) as datafeed:
    datafeed.subscribe(["NSE:INFY"], mode="full")
    seen = []
    datafeed.add_tick_callback(seen.append)
    while len(seen) < 30:
        time.sleep(0.05)
    row = datafeed.instrument("NSE:INFY")
    assert all(tick.instrument_token == row.token for tick in seen)
    tick = seen[-1]
    assert tick["depth"]["buy"][0]["price"] == tick.bid_price < tick.ask_price
    assert abs(tick.change_percent - (tick.last_price / tick.ohlc["close"] - 1) * 100) < 1e-9
    ticks = datafeed.get_latest_ticks(row.token, count=10)
    assert len(ticks) == 10 and (ticks["instrument_token"] == row.token).all()
    assert (ticks["seq"][1:] > ticks["seq"][:-1]).all()
    known = {{tick.seq: tick.last_price for tick in seen}}
    assert all(known[t["seq"]] == t["last_price"] for t in ticks if t["seq"] in known)
    while len(bars := datafeed.get_ohlc_bars(row.token, count=2, period_s=1)) < 2:
        time.sleep(0.1)
    assert (bars["low"] <= bars["close"]).all() and (bars["close"] <= bars["high"]).all()
    assert bars["start_ns"][1] == bars["start_ns"][0] + 10**9 and (bars["volume"] >= 0).all()
    datafeed.config.datafeed.tick_storage_format = "binary"
    datafeed.config.datafeed.store_ticks = True
    time.sleep(1.0)
    datafeed.config.datafeed.store_ticks = False
    try:
        datafeed.config.datafeed.silence_s = 9
    except ValueError as error:
        print(error)
    stats = datafeed.get_statistics()
    assert stats["ticks_per_second"] > 5 and stats["ticks_lost"] == stats["ticks_missed"] == 0, stats
    assert 0 <= stats["buffer_usage"] < 0.5 and stats["active_connections"] == stats["connections"] == 1
print("done")
"""


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_what_may_be_asked_on_either_broker(tmp_path: Path, broker: str) -> None:
    with simulator("--broker", broker, *KITE[2:]) as running:
        config = feed_config(tmp_path, running, broker=broker)
        script = ASKED.format(token=running.access_token, more="attach=False")
        with Script(tmp_path, script, environment(tmp_path, config)) as child:
            said = child.end()
        assert said.endswith("done\n") and "datafeed.silence_s is read when the engine starts" in said
        (recorded,) = (tmp_path / "state").glob(f"kite_hft/{broker}-FEED*/*/*/ticks-0.rec")
        assert recorded.stat().st_size > 8192 + 10 * 64


LIVE = """
import time
from kite_hft import DataFeedService, config

assert config.mode == "live" and config.strategies
with DataFeedService({given}) as datafeed:
    while datafeed.get_statistics()["ticks_received"] < 100:
        time.sleep(0.05)
    assert len(datafeed.get_latest_ticks("NSE:INFY", count=5)) == 5
print("done")
"""


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_a_configuration_for_live_gives_prices_and_sends_no_order(tmp_path: Path, broker: str) -> None:
    """The same file as the engine's: its strategies do not run, its alerts page nobody, no account is asked
    for, and the run is one on paper."""
    more = (
        "alerts: {heartbeat_url: 'http://127.0.0.1:9/never'}\nperformance: {ring_buffer_size: 65536}\n"
        "strategies:\n  - {name: kalman_simple, params: {threshold: 0.00001, warmup: 1, quantity: 1}}\n"
    )
    with simulator("--broker", broker, *KITE[2:]) as running:
        path = feed_config(tmp_path, running, broker=broker, more=more)
        path.write_text(path.read_text().replace("mode: paper", "mode: live", 1))
        given = f"access_token={running.access_token!r}"
        with Script(tmp_path, LIVE.format(given=given), environment(tmp_path, path)) as child:
            said = child.end()
        requests = json.loads(running.get("/_sim/requests"))["requests"]
    assert said.endswith("done\n") and requests == [], "nothing but reads"
    (report,) = (tmp_path / "state").glob(f"kite_hft/{broker}-FEED*/*/*/report.json")
    found = json.loads(report.read_text())
    assert found["mode"] == "paper" and found["orders"]["intents"] == 0 and found["ticks"]["computed"] > 0


READS = """
import time
from kite_hft import DataFeedService

datafeed = DataFeedService(settings={config!r})
datafeed.subscribe([408065], mode="full")
datafeed.start()
print("engine", datafeed._live.note.pid, datafeed._live.note.account)
while not len(datafeed.get_latest_ticks("NSE:INFY", 5)):
    time.sleep(0.1)
try:
    datafeed.subscribe(["NSE:NOSUCH"])
except Exception as error:
    print(type(error).__name__, error)
datafeed.stop()
print("stopped")
"""


def test_an_engine_that_runs_is_read_and_goes_on(tmp_path: Path) -> None:
    with simulator(*KITE) as running:
        config = feed_config(tmp_path, running)
        config.write_text(
            config.read_text().replace("api_key:", f"access_token: {running.access_token}, api_key:")
        )
        env = environment(tmp_path, None)
        command = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(config)]
        out = tmp_path / "engine.out"
        with out.open("w") as said_there, subprocess.Popen(command, env=env, stdout=said_there) as process:
            try:
                deadline = time.monotonic() + 90
                while "subscribed: 20" not in out.read_text():
                    assert process.poll() is None and time.monotonic() < deadline, out.read_text()
                    time.sleep(0.1)
                with Script(tmp_path, READS.format(config=str(config)), env) as child:
                    said = child.end()
                assert process.poll() is None, "the engine goes on"
            finally:
                process.terminate()
        assert f"engine {process.pid} FACE{os.getpid()}" in said
        assert "DataFeedError instrument 'NSE:NOSUCH'" in said and "datafeed.instruments" in said


SLOW = """
import time
from kite_hft import DataFeedService

datafeed = DataFeedService(access_token={token!r}, attach=False)
losses = []
datafeed.add_loss_callback(losses.append)
datafeed.add_tick_callback(lambda tick: time.sleep(0.02))
datafeed.start()
while sum(loss.ticks for loss in losses) < 500:
    time.sleep(0.1)
stats = datafeed.get_statistics()
assert stats["ticks_missed"] >= 500 and stats["ticks_lost"] == 0, stats
datafeed.stop()
print("done")
"""


def test_a_slow_callback_loses_its_own_ticks_and_nobody_elses(tmp_path: Path) -> None:
    with simulator(*KITE[:-3], "100", *KITE[-2:]) as running:
        config = feed_config(tmp_path, running, more="performance: {ring_buffer_size: 1024}")
        script = SLOW.format(token=running.access_token)
        with Script(tmp_path, script, environment(tmp_path, config)) as child:
            said = child.end()
    assert said.endswith("done\n") and "ticks were passed over before number" in said


WRONG = {
    "DataFeedService().start()": "needs kite.access_token",
    "DataFeedService(access_token='wrong').start()": "log in again",
    "feed = DataFeedService(access_token=TOKEN); feed.subscribe([1]); feed.start()": "'1' is not in",
    "DataFeedService(broker='fyers')": "choose kite or upstox",
    "DataFeedService().subscribe([1], mode='greeks')": "its modes are ltp, quote, full",
    "DataFeedService(settings='none.yaml')": "none.yaml",
    "DataFeedService().config.datafeed.nothing": "datafeed has no key 'nothing'; it has ",
    "DataFeedService().config.datafeed.tick_storage_format = 'csv'": "datafeed.tick_storage_format: ",
    "DataFeedService().get_latest_ticks(738561)": "call start()",
    "config.nothing": "has no section 'nothing'",
}


def test_what_is_wrong_is_said_with_its_fix(tmp_path: Path) -> None:
    with simulator(*KITE) as running:
        env = environment(tmp_path, feed_config(tmp_path, running))
        lines = ["from kite_hft import DataFeedService, config", f"TOKEN = {running.access_token!r}"]
        for number, statement in enumerate(WRONG):
            lines += ["try:", f"    {statement}", f"    print({number}, 'passed')"]
            lines += ["except Exception as error:", f"    print({number}, type(error).__name__, error)"]
        with Script(tmp_path, "\n".join(lines), env) as child:
            said = re.split(r"^(?=\d )", child.end(), flags=re.MULTILINE)[1:]
    for (statement, words), answer in zip(WRONG.items(), said, strict=True):
        assert words in answer, (statement, answer)


MORE = """
import time
from kite_hft import DataFeedService

datafeed = DataFeedService(access_token={token!r}, attach=False)
datafeed.subscribe(["NSE:INFY"])
seen = set()
datafeed.add_tick_callback(lambda tick: seen.add((tick.instrument, tick.mode)))
datafeed.start()
try:
    datafeed.subscribe([1])
except Exception as error:
    print(type(error).__name__, error)
assert datafeed.running
datafeed.subscribe(["NSE:SBIN"], mode="full")
while ("NSE:SBIN", "full") not in seen or ("NSE:INFY", "quote") not in seen:
    time.sleep(0.05)
datafeed.subscribe(["NSE:INFY"], mode="full")
while ("NSE:INFY", "full") not in seen:
    time.sleep(0.05)
datafeed.unsubscribe(["NSE:INFY", "NSE:SBIN"])
datafeed.stop()
print("done")
"""


def test_more_instruments_while_it_runs(tmp_path: Path) -> None:
    with simulator(*KITE) as running:
        env = environment(tmp_path, feed_config(tmp_path, running))
        with Script(tmp_path, MORE.format(token=running.access_token), env) as child:
            said = child.end()
    assert said.endswith("done\n") and re.search(r"^DataFeedError .*'1' is not in", said, re.MULTILINE)


KILLED = """
import time
from kite_hft import DataFeedService

datafeed = DataFeedService(access_token={token!r}, attach=False)
datafeed.start()
print("engine", datafeed._live.note.pid, flush=True)
time.sleep(100)
"""


def test_the_engine_ends_with_the_program_however_that_dies(tmp_path: Path) -> None:
    with simulator(*KITE) as running:
        env = environment(tmp_path, feed_config(tmp_path, running))
        with Script(tmp_path, KILLED.format(token=running.access_token), env) as child:
            pid = int(re.findall(r"engine (\d+)", child.until("engine "))[0])
            os.kill(child.process.pid, signal.SIGKILL)
            assert gone(pid), "the engine outlives its program"
    (report,) = (tmp_path / "state").glob("kite_hft/kite-FEED*/*/*/report.json")
    assert report.exists(), "and it has ended in order"
