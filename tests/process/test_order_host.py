"""The host for orders dies in the middle of a run: what was under way is found, nothing is sent twice."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_tools import Engine, own
from sim_tools import Running, simulator

from kite_hft.sim.market.universe import default_instruments
from kite_hft.verify.brokers.running import addressed, facts_of

PROBE = "kite_hft.verify.engine.supervise_probe:Probe"

MARKET = ("--instruments", "20", "--rate", "10", "--exchange-time", "2026-11-20T10:00:00", "--no-limits")


class OrderHost:
    """Stands before the simulator as api-hft.upstox.com does. `swallow`: so many placements more are
    handed on, and instead of their answers come ends of connections."""

    def __init__(self, to: int) -> None:
        self._to, self.swallow = to, 0
        self._listening = self._open(0)
        self.port = self._listening.getsockname()[1]
        self._pairs: list[socket.socket] = []
        self._ends = threading.Event()
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    @staticmethod
    def _open(port: int) -> socket.socket:
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("127.0.0.1", port))
        found.listen(16)
        found.settimeout(0.2)
        return found

    def die(self) -> None:
        """Nobody listens, and every connection ends."""
        self._listening.close()
        for one in self._pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def rise(self) -> None:
        self._listening = self._open(self.port)
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def close(self) -> None:
        self._ends.set()
        self.die()

    def _accept(self, listening: socket.socket) -> None:
        while not self._ends.is_set():
            try:
                near, _ = listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._to))
            self._pairs += [near, far]
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        places = False
        with near, far, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([near, far], [], [])
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    if one is near:
                        places = data.startswith(b"POST /v3/order/place ")
                        far.sendall(data)
                    elif self.swallow and places:
                        self.swallow -= 1
                        return
                    else:
                        near.sendall(data)


@contextlib.contextmanager
def order_host(port: int) -> Iterator[OrderHost]:
    made = OrderHost(port)
    try:
        yield made
    finally:
        made.close()


def configured(folder: Path, account: str, told: Running, host: OrderHost, failover: list[str]) -> Path:
    words = {"api_key": told.api_key, "access_token": told.access_token, "api": told.api}
    table, _ = default_instruments(20, 1)
    shares = [row.key for row in table if (row.exchange, row.kind) == ("NSE", "EQ") and not row.is_index]
    # room for more than can rest when the host dies: entries are tried all the while it is gone
    probe = {"name": PROBE, "form": "A", "instruments": shares, "params": {"every": 20, "most": 24}}
    made: dict[str, Any] = {
        "mode": "sim", "account": account, **addressed("upstox", words),
        "datafeed": {"mode": "full"},
        "strategies": [probe],
        "risk": {"max_order_value": 1e7, "max_position_size": 1e7, "max_positions": 50, "max_exposure": 1e9},
        "alerts": {"reject_storm": 1000, "naked_limit": 1e9},
        "trading": {"date": "2026-11-20", **facts_of("upstox"), "absence_horizon_s": 2.0, "poll_s": 1.0},
    }  # fmt: skip
    made["upstox"] |= {"hft_url": f"http://127.0.0.1:{host.port}", "failover": failover}
    path = folder / "engine.yaml"
    path.write_text(json.dumps(made))  # JSON is YAML
    return path


@contextlib.contextmanager
def running(folder: Path, path: Path, account: str) -> Iterator[Engine]:
    """An engine that trades."""
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    words = [sys.executable, "-m", "kite_hft.engine", "--plain", "--config", str(path)]
    with (folder / "out").open("w") as out:
        engine = Engine(subprocess.Popen(words, env=env, stdout=out, stderr=out, text=True), account, env)
    try:
        while "are subscribed" not in (folder / "out").read_text():
            assert engine.process.poll() is None, (folder / "out").read_text()
            time.sleep(0.1)
        yield engine
    finally:
        engine.end()


def at_broker(api: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{api}/_sim/account", timeout=20) as got:
        rows: list[dict[str, Any]] = json.loads(got.read())["orders"]
    return rows


@pytest.mark.parametrize("stands_in", [False, True])
def test_the_order_host_dies_and_comes_back(tmp_path: Path, stands_in: bool) -> None:
    account = own("HFT")
    with (
        simulator("--broker", "upstox", *MARKET) as told,
        order_host(int(told.api.rpartition(":")[2])) as host,
    ):
        path = configured(tmp_path, account, told, host, [told.api] if stands_in else [])

        with running(tmp_path, path, account) as engine:

            def until(least: int) -> None:
                deadline = time.monotonic() + 60
                while len(at_broker(told.api)) < least:
                    assert engine.process.poll() is None, (tmp_path / "out").read_text()
                    assert time.monotonic() < deadline, (tmp_path / "out").read_text()
                    time.sleep(0.1)

            until(5)
            host.swallow = 1
            while host.swallow:
                time.sleep(0.01)
            host.die()
            at_death = len(at_broker(told.api))
            if stands_in:
                until(at_death + 5)
            else:
                time.sleep(3.0)
                assert len(at_broker(told.api)) == at_death
            host.rise()
            until(at_death + 10)
            rows = at_broker(told.api)
            time.sleep(3.0)  # past the absence horizon
            known = {row["order_id"] for row in engine.json("orders", "--all")["orders"] if row["order_id"]}
        there, tags = {row["order_id"] for row in rows}, [row["tag"] for row in rows]
        (report_path,) = (tmp_path / f"state/kite_hft/upstox-{account}").glob("20*/*/report.json")
        orders, said = json.loads(report_path.read_text())["orders"], (tmp_path / "out").read_text()
    assert known >= there, "the broker has an order that the engine does not know"
    assert len(tags) == len(set(tags)) and all(tags), "an order was sent twice"
    assert orders["heard"]["transport_errors"] >= 1 and orders["ambiguous"] == orders["resolved"], orders
    assert orders["heard"]["external_orders"] == 0
    if stands_in:
        assert f"order calls go to {told.api}, no longer to http://127.0.0.1:{host.port}" in said
    else:
        assert orders["refused"].get("NOT_CONNECTED", 0) >= 1 or "CANCEL_FAILED" in said, orders
