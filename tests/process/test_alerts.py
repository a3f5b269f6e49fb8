"""Every required alert, by its fault in the simulator: at the hook, in order, and in the file first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.engine.alerting import read_alerts
from kite_hft.verify.alerts import SESSIONS, run

REQUIRED = {
    "FEED_DEAD", "TOKEN_DEAD", "REJECT_STORM", "AMBIGUOUS_ORDER", "BROKER_ACTED", "STALE_POSITION",
    "MARKET_HALT",
}  # fmt: skip


def test_the_campaign_has_every_required_alert() -> None:
    assert {code for session in SESSIONS for case in session for code in case.codes} == REQUIRED


@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_each_fault_raises_its_alert(tmp_path: Path, number: int) -> None:
    outcomes = run(SESSIONS[number], tmp_path, 20.0)
    assert [o.code for o in outcomes] == [code for case in SESSIONS[number] for code in case.codes]
    assert all(o.latency_s is not None and o.journalled for o in outcomes), outcomes
    lines = [line.partition(" ")[::2] for line in (tmp_path / "hook.txt").read_text().splitlines()]
    told = [(int(stamp), json.loads(text)) for stamp, text in lines]
    (folder,) = tmp_path.glob("kite_hft/kite-*/????-??-??/*")
    written = [json.loads(line) for line in (folder / "alerts.jsonl").read_text().splitlines()]
    # Journalled before anybody was told, and word for word what was told.
    assert all(row in written and at >= row["time_ns"] for at, row in told)
    assert {json.dumps(row) for row in written if row["code"] != "HOOK_FAILED"} >= {
        json.dumps(row) for _, row in told
    }
    first = {}
    for row in written:
        if row["event"] == "raised":
            first.setdefault(row["code"], row["time_ns"])
    order = [case.codes for case in SESSIONS[number]]
    times = [max(first[code] for code in codes) for codes in order]
    assert times == sorted(times), first
    secrets = json.loads((tmp_path / "config.yaml").read_text())["kite"]
    text = (folder / "alerts.jsonl").read_text() + (folder / "engine.log").read_text()
    assert secrets["access_token"] not in text and secrets["api_key"] not in text
    report = json.loads((folder / "report.json").read_text())
    codes = report["alerts"]["by_code"]
    assert set(first) == set(codes) and report["alerts"]["hook"]["failures"] == 0
    assert sum(codes.values()) == sum(1 for row in written if row["event"] == "raised")
    assert len(read_alerts(folder)) == len({row["number"] for row in written})
