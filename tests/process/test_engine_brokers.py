"""The engine on simulators of Upstox, and with prices from one broker and orders to the other."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine_tools import kite_hft, own
from sim_tools import simulator

from kite_hft.configuring.models.broker import FILES

CONFIG = Path("config").resolve()
DECODER = pytest.mark.skipif(
    importlib.util.find_spec("kite_hft._upstox_decode") is None, reason="the decoder of Upstox is not built"
)
DURATION_S = 8


def config_of(folder: Path, account: str, broker: str, data: str, **sections: Any) -> Path:
    """The demo's market and strategy for any pair of brokers."""
    made = yaml.safe_load((CONFIG / "demo.yaml").read_text())
    made |= {"broker": broker, "data_broker": data, "account": account}
    made["strategies"][0]["form"] = "A"
    common = {"calendar": "calendar/india.yaml", "market": "rules/market_2026-08-03.yaml",
              "indices": "rules/indices_2026-08-03.yaml"}  # fmt: skip
    files = {key: str(CONFIG / path) for key, path in (FILES[broker] | common).items()}
    made["trading"] |= files
    for name, section in sections.items():
        made[name] = made.get(name, {}) | section
    path = folder / "engine.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(folder / "state")}


def run(folder: Path, path: Path) -> tuple[dict[str, Any], str]:
    """The report of a run to its end, and what it said."""
    words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(path)]
    words += ["--duration", str(DURATION_S), "--report", str(folder / "report.json")]
    done = subprocess.run(
        words, env=environment(folder), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads((folder / "report.json").read_text()), done.stdout


def assert_whole(report: dict[str, Any], said: str) -> None:
    """Every tick arrived, orders went out and came back, by updates of the order broker."""
    ticks, orders = report["ticks"], report["orders"]
    assert ticks["received"] > 500 and ticks["lost"] == 0 and not any(ticks["malformed"].values())
    assert ticks["received"] == ticks["published"] == ticks["computed"] + ticks["passed_over"]
    assert orders["sent"] > 3 and orders["filled"] > 0 and orders["ambiguous"] == 0, orders
    heard = orders["heard"]
    assert heard["updates"] >= orders["sent"] and heard["texts_unparsed"] == 0, heard
    assert report["restarts"] == [] and "Traceback" not in said


@DECODER
def test_prices_and_orders_at_upstox(tmp_path: Path) -> None:
    report, said = run(tmp_path, config_of(tmp_path, own("UU"), "upstox", "upstox"))
    assert_whole(report, said)
    market, updates = report["ticks"]["by_connection"]
    assert (market["instruments"], market["orders_only"], market["texts"]) == (20, False, 0)
    assert updates["orders_only"] and updates["texts"] > 0 and updates["pongs"] > 0 == updates["drops"]
    assert "updates: connected" in said and "order updates" in said
    assert market["pongs"] > 0  # what its life is known by


def test_prices_from_kite_and_orders_to_upstox(tmp_path: Path) -> None:
    report, said = run(tmp_path, config_of(tmp_path, own("UK"), "upstox", "kite"))
    assert_whole(report, said)
    assert "20 of 20 instruments joined" in said
    assert [row["orders_only"] for row in report["ticks"]["by_connection"]] == [False, True]


@DECODER
def test_prices_from_upstox_and_orders_to_kite(tmp_path: Path) -> None:
    report, said = run(tmp_path, config_of(tmp_path, own("KU"), "kite", "upstox"))
    assert_whole(report, said)
    assert [row["orders_only"] for row in report["ticks"]["by_connection"]] == [False, True]


@DECODER
def test_prices_from_both_the_fresher_counts(tmp_path: Path) -> None:
    report, said = run(tmp_path, config_of(tmp_path, own("UB"), "upstox", "both"))
    assert_whole(report, said)
    assert report["ticks"]["passed_over"] > 0 and "one connection" not in said
    assert len(report["ticks"]["by_connection"]) == 3


def test_orders_to_the_sandbox_are_acknowledged_and_never_filled(tmp_path: Path) -> None:
    path = config_of(
        tmp_path, own("US"), "upstox", "kite", upstox={"sandbox": True},
        risk={"max_order_value": 4_000_000, "max_position_size": 4_000_000, "max_exposure": 40_000_000},
    )  # fmt: skip
    report, said = run(tmp_path, path)
    orders = report["orders"]
    assert "acknowledged and never filled" in said
    assert orders["sent"] > 3 and orders["filled"] == orders["rejected"] == orders["ambiguous"] == 0, orders
    assert orders["accepted"] == orders["sent"] and not report["positions"]


@contextlib.contextmanager
def running(folder: Path, path: Path, account: str) -> Iterator[Any]:
    """A running engine; yields `status(what)`: its status as soon as `what` holds of it."""
    env = environment(folder)
    words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(path)]
    with (folder / "out").open("w") as out:
        process = subprocess.Popen(words, env=env, stdout=out, stderr=out)

    def status(what: Any) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "out").read_text()
            done = kite_hft(env, "status", "--json", "--account", account)
            found = json.loads(done.stdout) if done.returncode == 0 else {}
            if found and what(found):
                return found
            assert time.monotonic() < deadline, (found, (folder / "out").read_text())
            time.sleep(0.2)

    try:
        yield status
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    assert code == 0, (folder / "out").read_text()


def test_the_updates_process_is_started_again(tmp_path: Path) -> None:
    account = own("UR")
    path = config_of(tmp_path, account, "upstox", "kite")

    def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in found["processes"]}

    with running(tmp_path, path, account) as status:
        settled = status(
            lambda found: (
                "updates" in rows(found)
                and found["connections"][-1]["connected"]
                and found["state"]["state"] == "ACTIVE"
            )
        )
        time.sleep(0.5)  # ORDERS looks at the connections ten times a second, from its start on
        os.kill(rows(settled)["updates"]["pid"], signal.SIGKILL)
        back = status(
            lambda found: rows(found)["updates"]["restarts"] == 1 and found["connections"][-1]["connected"]
        )
        assert rows(back)["market-0"]["restarts"] == rows(back)["orders"]["restarts"] == 0
        assert back["connections"][-1]["restarts"] == 1
        status(lambda _found: "orders: no order updates were heard for" in (tmp_path / "out").read_text())


@DECODER
def test_feeds_may_be_redirected_and_a_host_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    """A server of one's own by its addresses; upgrades are redirected, order calls go to the second host."""
    options = ("--broker", "upstox", "--instruments", "20", "--rate", "10", "--redirect-code", "307")
    with simulator(*options, "--exchange-time", "2026-11-20T10:00:00") as server:
        words = {
            "api_key": server.api_key, "access_token": server.access_token, "feed_url": server.ws,
            "api_url": server.api, "hft_url": "http://127.0.0.1:1", "failover": [server.api],
            "instruments_url": f"{server.api}/market-quote/instruments/exchange/complete.json.gz",
            "sandbox_url": server.api,
        }  # fmt: skip
        trading = {"absence_horizon_s": 180}
        path = config_of(tmp_path, own("UH"), "upstox", "upstox", upstox=words, trading=trading)
        report, said = run(tmp_path, path)
        assert_whole(report, said)
    assert server.access_token not in said and "simulator listens" not in said


@DECODER
def test_a_dead_token_is_told_and_a_new_one_taken_while_it_runs(tmp_path: Path) -> None:
    """As at 03:30: feeds, order updates and ORDERS wait for the next login, and go on with it."""
    account = own("UT")
    path = config_of(tmp_path, account, "upstox", "upstox")
    with running(tmp_path, path, account) as status:
        status(lambda found: found["state"]["state"] == "ACTIVE" and all_up(found))
        said = (tmp_path / "out").read_text()
        api = next(word for word in said.split() if word.startswith("http://127.0.0.1"))
        post(api, "/_sim/inject", {"kind": "token_death"})
        dead = status(lambda found: len(token_alerts(found)) == 3)
        assert {row["key"] for row in token_alerts(dead)} >= {"feed-0", "updates"}
        fresh = post(api, "/_sim/login", {})["access_token"]
        done = kite_hft(environment(tmp_path), "token", "--account", account, stdin=fresh)
        assert done.returncode == 0, (done.stdout, done.stderr)
        back = status(lambda found: not token_alerts(found) and all_up(found))
        assert back["state"]["token_dead"] is False
    assert fresh not in (tmp_path / "out").read_text()


def all_up(found: dict[str, Any]) -> bool:
    return len(found["connections"]) > 1 and all(row["connected"] for row in found["connections"])


def token_alerts(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in found["alerts"] if row["code"] == "TOKEN_DEAD"]


def post(api: str, path: str, words: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{api}{path}", json.dumps(words).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found
