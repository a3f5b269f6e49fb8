"""`verify bypass` in its short form: a real engine, every connect() of every process seen."""

from __future__ import annotations

import json
import shutil

import pytest

from kite_hft.verify.risk import bypass

COMPILER = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler: apt install gcc")


@COMPILER
def test_only_orders_reaches_the_api(capfd: pytest.CaptureFixture[str]) -> None:
    code = bypass.main(["--duration", "8", "--instruments", "30"])
    found = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert code == 0, found
    assert set(found["to_the_api"]) == {"orders", "supervisor"}
    assert found["requests"]["orders POST"] > 0


@COMPILER
def test_at_upstox_the_keepers_of_feeds_only_ask_where_these_are(capfd: pytest.CaptureFixture[str]) -> None:
    code = bypass.main(["--broker", "upstox", "--duration", "5", "--instruments", "30"])
    found = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert code == 0, found
    assert {"orders", "supervisor", "market-0", "updates"} == set(found["to_the_api"])
    assert found["requests"]["orders POST"] > 0
