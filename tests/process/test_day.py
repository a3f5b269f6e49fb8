"""Doctor, morning and incident beside both simulators, with and without an engine, and after one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_tools import engine, kite_hft, own

from kite_hft.app.day.asking import Asking
from kite_hft.brokers.table import broker_of
from kite_hft.engine.plan.masters import load_masters
from kite_hft.engine.plan.session import SIMULATED_MASTER, configured
from kite_hft.layout import OrderType, Product, Side, Validity
from kite_hft.settings import load_settings
from kite_hft.trading.broker import AUTOMATIC_BAND, OrderRequest
from kite_hft.trading.instruments import InstrumentTable

BROKERS = ("kite", "upstox")
FILES = Path("config").resolve()
HELD = "NSE:RELIANCE"
PARAMS = {"quantity": 10, "warmup": 20, "threshold": 0.0002}


@contextlib.contextmanager
def simulator(broker: str, *more: str) -> Iterator[dict[str, str]]:
    """Its ready line, as words."""
    command = [sys.executable, "-m", "kite_hft.sim", "--broker", broker, "--instruments", "12", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield dict(word.split("=", 1) for word in process.stdout.readline().split()[1:])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def configuration(folder: Path, broker: str, ready: dict[str, str], mode: str = "sim") -> Path:
    """A run against a simulator that stands by itself."""
    charges = "zerodha" if broker == "kite" else "upstox"
    files = {
        "calendar": "calendar/india.yaml", "market": "rules/market_2026-08-03.yaml",
        "rules": f"rules/{broker}_2026-04-01.yaml", "charges": f"rules/charges_{charges}_2026-04-01.yaml",
        "indices": "rules/indices_2026-08-03.yaml",
    }  # fmt: skip
    api, keys = ready["api"], {"api_key": ready["api_key"], "access_token": ready["access_token"]}
    if broker == "kite":
        section: dict[str, Any] = {"ws_url": ready["ws"], "api_url": api}
    else:
        section = {"api_url": api, "hft_url": api, "feed_url": api, "failover": [],
                   "instruments_url": api + SIMULATED_MASTER}  # fmt: skip
    trading: dict[str, Any] = {name: str(FILES / path) for name, path in files.items()}
    data = {
        "mode": mode, "broker": broker, "account": own("DAY"), broker: section | keys,
        "trading": trading | ({"date": "2026-11-20"} if mode == "sim" else {}),
        "strategies": [{"name": "kalman_simple", "form": "A", "params": PARAMS}],
        "risk": {"max_daily_loss": 5000}, "alerts": {"naked_limit": 0, "waive_sinks": "I have no alert sink"},
    }  # fmt: skip
    path = folder / f"{broker}.yaml"
    path.write_text(json.dumps(data))
    path.chmod(0o600)
    return path


def buy(config: Path, quantity: int) -> None:
    """An order at market, past every engine."""
    settings = load_settings(config)
    access = configured(settings, settings.broker)
    row = load_masters(settings, [access], time.time_ns(), None).instrument(HELD)
    broker = broker_of(settings.broker, InstrumentTable((row,)))
    request = OrderRequest(
        row, Side.BUY, OrderType.MARKET, Product.MIS, Validity.DAY, quantity, 0, 0, AUTOMATIC_BAND, "byhand"
    )
    with Asking(access, broker) as asking:
        assert asking.call(broker.place(request)).status == 200
        for _ in range(100):
            body = asking.call(broker.positions()).body
            if f'"quantity":{quantity}'.encode() in body.replace(b" ", b""):
                return
            time.sleep(0.05)
    raise AssertionError(body)


def env_of(folder: Path) -> dict[str, str]:
    names = {"XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    return {**os.environ, **{name: str(folder / word) for name, word in names.items()}}


def ask(folder: Path, *words: str, code: int) -> dict[str, Any]:
    done = kite_hft(env_of(folder), *words, "--json")
    assert "Traceback" not in done.stderr and done.stdout, (words, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    failing = [row for row in found.get("checks", ()) if row["level"] == "fail"]
    grave = [row["text"] for row in found.get("reasons", ()) if row["level"] != "note"]
    assert done.returncode == code, f"{words[0]}: {failing} {grave} {done.stderr}"
    return found


def check(told: dict[str, Any], name: str) -> dict[str, str]:
    found: dict[str, str] = next(row for row in told["checks"] if row["name"] == name)
    return found


@pytest.mark.parametrize("broker", BROKERS)
def test_the_doctor_asks_the_broker_and_harms_nothing(broker: str, tmp_path: Path) -> None:
    with simulator(broker) as ready:
        config = configuration(tmp_path, broker, ready)
        told = ask(tmp_path, "doctor", "--config", str(config), "--prove-ip", code=0)
        assert told["counts"]["fail"] == 0 and told["mode"] == "sim"
        token, address = check(told, "token"), check(told, "address")
        assert f"{broker} takes it" in token["text"] and f"{broker} takes order calls" in address["text"]
        assert "within" in check(told, "clock")["text"] and check(told, "instruments")["level"] == "ok"
        assert (
            check(told, "calendar")["level"] == "ok" and "MiB needed" in check(told, "shared memory")["text"]
        )
        assert ready["access_token"] not in json.dumps(told) and ready["api_key"] not in json.dumps(told)
        text = kite_hft(env_of(tmp_path), "doctor", "--config", str(config), columns=80).stdout
        assert "Account" in text and "Machine" in text and max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("broker", BROKERS)
def test_the_doctor_tells_a_refused_address_and_a_dead_token_apart(broker: str, tmp_path: Path) -> None:
    with simulator(broker, "--allow-ip", "203.0.113.7") as ready:
        config = configuration(tmp_path, broker, ready)
        told = ask(tmp_path, "doctor", "--config", str(config), "--prove-ip", code=1)
        refused = check(told, "address")
        assert (
            refused["level"] == "fail"
            and "refuses order calls" in refused["text"]
            and "register" in refused["fix"]
        )
        assert check(told, "token")["level"] != "fail"
        config = configuration(tmp_path, broker, ready | {"access_token": "deadtoken0123456789"})
        dead = check(ask(tmp_path, "doctor", "--config", str(config), code=1), "token")
        assert dead["level"] == "fail" and f"kite-hft login --broker {broker}" in dead["fix"]
        assert "deadtoken0123456789" not in json.dumps(dead)


def test_the_doctor_of_a_wrong_configuration_and_of_a_broker_that_is_gone(tmp_path: Path) -> None:
    assert kite_hft(env_of(tmp_path), "doctor", "--config", str(tmp_path / "none.yaml")).returncode == 2
    with simulator("kite") as ready:
        config = configuration(tmp_path, "kite", ready)
    told = ask(tmp_path, "doctor", "--config", str(config), code=1)
    assert "nothing listens there" in check(told, "token")["text"]
    assert check(told, "instruments")["level"] == "fail" and check(told, "build")["level"] == "ok"


@pytest.mark.parametrize("broker", BROKERS)
def test_the_morning_of_an_account_with_a_position(broker: str, tmp_path: Path) -> None:
    with simulator(broker) as ready:
        config = configuration(tmp_path, broker, ready)
        first = ask(tmp_path, "morning", "--config", str(config), code=0)
        assert first["verdict"] == "GO" and first["account"]["positions"] == [], first["reasons"]
        assert {row["class"] for row in first["hours"]} == {"NSE derivatives", "NSE shares, closing auction"}
        assert len(first["account"]["holdings"]) == 3 and first["account"]["funds_paise"]["net_paise"] > 0
        assert first["tokens"][0]["accepted"] and first["left"]["run"] == ""
        buy(config, 7)
        told = ask(tmp_path, "morning", "--config", str(config), code=0)
        (row,) = told["account"]["positions"]
        assert (row["name"], row["quantity"]) == (f"{HELD} MIS", 7) and row["naked_paise"] > 0
        assert (
            told["verdict"] == "REDUCE-ONLY" and f"nothing protects {HELD} MIS" in told["reasons"][0]["text"]
        )
        text = kite_hft(env_of(tmp_path), "morning", "--config", str(config), columns=80).stdout
        assert text.rstrip().endswith("REDUCE-ONLY") and max(map(len, text.splitlines())) <= 80
        assert len(text.splitlines()) < 45 and "7 without protection" in text
        kept = tmp_path / "state" / "kite_hft" / f"{broker}-{own('DAY')}" / "morning.jsonl"
        verdicts = [json.loads(line)["verdict"] for line in kept.read_text().splitlines()]
        assert verdicts == ["GO", "REDUCE-ONLY", "REDUCE-ONLY"] and kept.stat().st_mode & 0o777 == 0o600


def test_live_does_not_open_on_a_no_go_until_somebody_accepts_it(tmp_path: Path) -> None:
    env = env_of(tmp_path)

    def start(config: Path) -> subprocess.CompletedProcess[str]:
        words = [
            "-m",
            "kite_hft.engine",
            "--plain",
            "--duration",
            "1",
            "--live",
            own("DAY"),
            "--config",
            str(config),
        ]
        return subprocess.run(
            [sys.executable, *words], env=env, capture_output=True, text=True, timeout=120, check=False
        )

    with simulator("kite") as ready:
        config = configuration(tmp_path, "kite", ready, mode="live")
        assert kite_hft(env, "morning", "--config", str(config), "--accept", "x").returncode == 1
        account = tmp_path / "state" / "kite_hft" / f"kite-{own('DAY')}"
        account.mkdir(parents=True, mode=0o700)
        (account / "KILL").touch()
        told = ask(tmp_path, "morning", "--config", str(config), code=1)
        assert told["verdict"] == "NO-GO" and any("KILLED" in row["text"] for row in told["reasons"])
        refused = start(config)
        assert refused.returncode == 3, refused.stdout + refused.stderr
        assert "says NO-GO" in refused.stderr and "--accept" in refused.stderr
        done = kite_hft(env, "morning", "--config", str(config), "--accept", "a rehearsal")
        assert done.returncode == 0 and "accepted: NO-GO" in done.stdout
        again = start(config)
        assert "says NO-GO" not in again.stderr and "(accepted by" in again.stdout, (
            again.stdout + again.stderr
        )


def test_the_pack_of_a_run_holds_its_whole_story_and_no_secret(tmp_path: Path) -> None:
    canary = "canarytoken0123456789"
    with simulator("kite", "--rate", "20", "--exchange-time", "2026-11-20T10:00:00") as ready:
        config = configuration(tmp_path, "kite", ready)
        data = json.loads(config.read_text())
        data["datafeed"] = {"store_ticks": True, "tick_storage_format": "both"}
        data["alerts"]["webhook"] = "https://canaryhook.example.com/1"
        config.write_text(json.dumps(data))
        ask(tmp_path, "morning", "--config", str(config), code=0)
        command = [
            sys.executable,
            "-m",
            "kite_hft.engine",
            "--plain",
            "--config",
            str(config),
            "--duration",
            "6",
        ]
        done = subprocess.run(
            command, env=env_of(tmp_path), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        run = (tmp_path / "state" / "kite_hft" / f"kite-{own('DAY')}" / "latest").resolve()
        with (run / "engine.log").open("a") as log:
            said = f"Authorization: token {ready['api_key']}:{ready['access_token']} access_token={canary}"
            log.write(json.dumps({"time": "2026-11-20 10:00:00", "event": said}) + "\n")
        told = ask(tmp_path, "incident", "--config", str(config), "--out", str(tmp_path), code=0)
    archive = Path(told["archive"])
    assert archive.stat().st_mode & 0o777 == 0o600 and told["books"] == "read from kite now"
    files = unpacked(archive)
    assert {"README.txt", "timeline.md", "journal.bin", "journal.jsonl", "requests.jsonl", "evidence.csv",
            "books/positions.json", "books/orders.json", "recorded/frames-0.jsonl", "recorded/ticks-0.csv",
            "config/kite_2026-04-01.yaml", "build.json", "morning.jsonl"} <= set(files)  # fmt: skip
    sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(b).hexdigest() for name, b in files.items() if name != "SHA256SUMS"}
    for secret in (canary, ready["api_key"], ready["access_token"], "canaryhook"):
        assert [name for name, body in files.items() if secret.encode() in body] == [], secret
    commands = [json.loads(line) for line in files["journal.jsonl"].splitlines()]
    mornings = [
        row["data"] for row in commands if row["kind"] == "COMMAND" and row["data"]["do"] == "morning"
    ]
    assert mornings and mornings[0]["verdict"] == "GO"
    pairs = [json.loads(line) for line in files["requests.jsonl"].splitlines()]
    placed = [pair for pair in pairs if pair["call"] == "place" and pair.get("answer")]
    assert placed, files["engine.log"].decode()
    tag, order_id = placed[0]["request"]["tag"], placed[0]["answer"]["order_id"]
    timeline = files["timeline.md"].decode()
    assert f"(tag {tag}, id {order_id}): place: the broker confirms" in timeline
    frame = json.loads(files["recorded/frames-0.jsonl"].splitlines()[0])
    assert bytes.fromhex(frame["hex"]) and frame["received"].startswith("20")


def unpacked(archive: Path) -> dict[str, bytes]:
    """Path below the top folder -> content."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None and member.mode == 0o600
            found[member.name.partition("/")[2]] = file.read()
    return found


def test_beside_a_running_engine_its_own_books_are_read(tmp_path: Path) -> None:
    with engine(tmp_path, own("DAYRUN"), "# as the demo is\n") as running:
        running.until(lambda status: status["positions"] != [], 60)
        config, env = str(tmp_path / "engine.yaml"), {**running.env, **env_of(tmp_path)}
        for _ in range(15):  # the demo opens and closes: one look may find it flat
            done = kite_hft(env, "morning", "--config", config, "--json")
            told = json.loads(done.stdout)
            if told["account"]["positions"]:
                break
        assert told["account"]["source"] == "the running engine's books" and told["account"]["positions"]
        assert told["left"]["running"] and told["account"]["funds_paise"] is None
        busy = check(ask(tmp_path, "doctor", "--config", config, code=0), "other engine")
        assert busy["level"] == "warn" and str(running.process.pid) in busy["text"]
        now = time.strftime("%H:%M:%S", time.gmtime(time.time() + 5.5 * 3600))
        words = [
            "incident",
            "--around",
            now,
            "--minutes",
            "1",
            "--out",
            str(tmp_path),
            "--account",
            running.account,
        ]
        done = kite_hft(env, *words, "--json")
        pack = json.loads(done.stdout)
        assert pack["books"] == "as the running engine read them last" and pack["events"] > 10
        assert "books/positions.json" in pack["files"]
        assert any("raw frames: not recorded" in text for text in pack["left_out"])


def test_there_is_nothing_to_pack_without_a_run(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "state")
    done = kite_hft(env_of(tmp_path), "incident", "--out", str(tmp_path), "--state", nowhere)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    done = kite_hft(env_of(tmp_path), "incident", "--run", str(tmp_path / "none"))
    assert done.returncode == 1 and "no such run folder" in done.stderr
