"""The simulator's options for faults, hours, addresses and latency, and its own calls under /_sim/."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from raw_ticks import Client
from sim_tools import Running, simulator


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kite_hft.sim", "--duration", "0.1", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def client_of(running: Running) -> KiteConnect:
    return KiteConnect(running.api_key, access_token=running.access_token, root=running.api)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with simulator("--instruments", "5", "--no-limits", "--latency-us", "1000") as process:
        yield process


# -- the fault file


def test_a_fault_file_strikes_and_the_log_file_is_the_log(tmp_path: Path) -> None:
    (tmp_path / "faults.yaml").write_text(
        "- {at: 0.3, kind: truncate, count: 2}\n"
        "- {at: 0.8, kind: drop, connection: 0}\n"
        "- {every: 0.2, kind: unknown_packet, times: 3}\n"
    )
    log = tmp_path / "injected.jsonl"
    arguments = ("--faults", str(tmp_path / "faults.yaml"), "--fault-log", str(log), "--rate", "20")
    with simulator(
        "--instruments", "5", "--start-when-subscribed", "--packets-per-frame", "2", *arguments
    ) as one:
        client = Client(one.ws_url)
        client.subscribe([738561, 408065])
        client.read()
        assert client.ended == "eof"
        rows = one.faults()
        assert one.stats()["faults"] == {"truncate": 2, "unknown_packet": 3, "drop": 1}
        end = one.end()
    assert [json.loads(line) for line in log.read_text().splitlines()] == rows
    assert (len(client.malformed), client.unknown) == (2, 3) and end["faults"]["drop"] == 1
    assert [row["seq"] for row in rows] == list(range(1, 7))
    assert rows[-1]["kind"] == "drop" and abs(rows[-1]["at_ns"] - time.time_ns()) < 30e9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {at: 1, kind: dorp}\n", "faults.yaml, row 1: unknown kind 'dorp'; did you mean 'drop'?"),
        (
            "- {kind: circuit_lock, instrument: 'NSE:NONE'}\n",
            "row 1 (circuit_lock): 'NSE:NONE' is no tradable",
        ),
    ],
)
def test_a_wrong_fault_file_is_named_without_a_traceback(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "faults.yaml").write_text(text)
    done = command("--faults", str(tmp_path / "faults.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_the_kinds_are_listed() -> None:
    done = command("--list-faults")
    assert done.returncode == 0 and "half_open\n    nothing is read" in done.stdout
    assert "    for: 83.0, count: 1" in done.stdout


def test_a_fault_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    done = command("--fault-log", str(tmp_path / "none" / "log"))
    assert done.returncode == 1 and "No such file" in done.stderr and "Traceback" not in done.stderr


# -- its own calls


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("/_sim/inject", {"kind": "dropp"}, "row 1: unknown kind 'dropp'; did you mean 'drop'?"),
        ("/_sim/inject", [{"kind": "drop"}, {}], "row 2: a fault needs a kind"),
        ("/_sim/message", {"type": "order", "data": "x"}, "expected"),
        ("/_sim/nothing", {}, "no such call"),
    ],
)
def test_a_wrong_call_is_told_why(running: Running, path: str, value: Any, text: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        running.post(path, value)
    assert text in json.loads(error.value.read())["error"] and error.value.code in (400, 404)
    assert running.faults() == []


def test_a_message_goes_to_every_connection(running: Running) -> None:
    clients = [Client(running.ws_url) for _ in range(2)]
    assert running.post("/_sim/message", {"type": "message", "data": "lunch"}) == {"connections": 2}
    for client in clients:
        client.read(until=lambda c=client: c.texts)
        assert [text for _, text in client.texts] == [{"type": "message", "data": "lunch"}]
        client.close()


def test_the_account_is_told_exactly(running: Running) -> None:
    kite = client_of(running)
    order_id = kite.place_order("regular", "NSE", "INFY", "BUY", 3, "MIS", "MARKET", market_protection=-1)
    deadline = time.monotonic() + 10
    while not (account := json.loads(running.get("/_sim/account")))["trades"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    spent = sum(trade["value_paise"] for trade in account["trades"])
    assert account["opening_paise"] - account["cash_paise"] == spent > 0
    assert [row["order_id"] for row in account["orders"]] == [order_id]
    assert account["positions"][0]["quantity"] == 3
    kite.reqsession.close()


def test_stats_tell_how_honest_the_simulation_is(running: Running) -> None:
    stats = running.stats()
    assert stats["parameters"]["hours"] == "always" and "fills" in stats["parameters"]
    assert stats["parameters"]["latency"]["bounds_ns"] == [100_000, 1_000_000]


# -- options


def test_orders_take_30_to_150_ms_by_default() -> None:
    with simulator("--instruments", "5") as one:
        latency = one.stats()["parameters"]["latency"]
        assert (latency["low_ns"], latency["high_ns"]) == (30_000_000, 150_000_000)


def test_only_order_calls_are_bound_to_an_address() -> None:
    with simulator("--instruments", "5", "--allow-ip", "10.1.2.3", "--no-limits") as one:
        kite = client_of(one)
        with pytest.raises(ex.PermissionException) as error:
            kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "LIMIT", price=1400)
        assert error.value.code == 403 and "127.0.0.1" in str(error.value)
        assert kite.orders() == [] and kite.profile()["user_id"] == "SIM001"
        Client(one.ws_url).close()
        kite.reqsession.close()
    with simulator("--instruments", "5", "--allow-ip", "10.1.2.3", "--allow-ip", "127.0.0.1") as one:
        kite = client_of(one)
        assert kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "LIMIT", price=1400)
        kite.reqsession.close()


def test_hours_of_the_exchange_by_its_own_clock() -> None:
    """A Friday after the close: nothing is taken, and the clock is the exchange's."""
    arguments = ("--hours", "exchange", "--exchange-time", "2026-11-20T17:00:00")
    with simulator("--instruments", "5", "--latency-us", "1000", *arguments) as one:
        kite = client_of(one)
        with pytest.raises((ex.OrderException, ex.InputException)):
            kite.place_order("regular", "NSE", "INFY", "BUY", 1, "MIS", "LIMIT", price=1400)
        order_id = kite.place_order("amo", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=1400)
        row = kite.order_history(order_id)[0]
        assert str(row["order_timestamp"]).startswith("2026-11-20 17:0")
        client = Client(one.ws_url)
        client.subscribe([738561])
        client.read(2.5)
        assert client.heartbeats >= 2 and one.stats()["halted_ticks"] > 10
        assert {tick["mode"] for tick in client.ticks} == {"quote", "full"} and len(client.ticks) == 2
        client.close()
        kite.reqsession.close()


def test_the_token_dies_at_six_by_the_clock_of_the_exchange() -> None:
    arguments = ("--hours", "exchange", "--exchange-time", "2026-11-20T05:59:58")
    with simulator("--instruments", "5", *arguments) as one:
        client, kite = Client(one.ws_url), client_of(one)
        assert kite.profile()["user_id"] == "SIM001"
        client.read()
        assert client.ended == "eof"
        with pytest.raises(ex.TokenException):
            kite.profile()
        with pytest.raises(Exception, match="403"):
            Client(one.ws_url)
        assert one.faults() == []  # nobody injected it
        kite.reqsession.close()
