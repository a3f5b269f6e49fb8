"""The kit over HTTP: each adapter over the engine's own transport, before its simulator."""

from __future__ import annotations

import json

import pytest
from sim_tools import simulator

from kite_hft.sim.brokers.table import SIDES
from kite_hft.verify.brokers import conformance


@pytest.mark.parametrize("broker", sorted(SIDES))
def test_it_holds_over_http(broker: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--port", "0", "--instruments", "6", "--latency-us", "0", "--no-limits")
    with simulator("--broker", broker, *options) as running:
        words = ["--broker", broker, "--row", "headers", "--url", running.api]
        words += ["--api-key", running.api_key, "--access-token", running.access_token]
        assert conformance.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    (row,) = [row for row in told["found"] if row["row"] == "over http"]
    assert row["checks"] > 8 and not row["wrong"]


def test_where_nobody_listens_it_says_what_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance.main(["--row", "headers", "--url", "http://127.0.0.1:9", "--access-token", "t"]) == 2
    assert "python -m kite_hft.sim --broker kite" in capsys.readouterr().err
