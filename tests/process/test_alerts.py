"""Alerts of a whole engine: the campaign's short form, and what a person does with them."""

from __future__ import annotations

import json
from pathlib import Path

from engine_tools import engine, own

from kite_hft.engine.alerts.files import read_alerts
from kite_hft.memory.journal import Kind, scan
from kite_hft.verify.alerts.alerts import SESSIONS, SHORT, judged, run
from kite_hft.verify.alerts.bench import SINKS
from kite_hft.verify.alerts.receivers import receivers

REQUIRED = {
    "FEED_DEAD", "TOKEN_DEAD", "REJECT_STORM", "AMBIGUOUS_ORDER", "NAKED_POSITION", "KILLED",
    "JOURNAL_FAILED", "NOT_FLAT", "BROKER_ACTED", "STALE_POSITION", "MARKET_HALT",
    "WATCHDOG_BLIND", "ENGINE_GONE",
}  # fmt: skip


def test_the_campaign_has_every_required_alert() -> None:
    assert {code for session in SESSIONS for case in session for code in case.codes} == REQUIRED


def test_a_naked_position_lives_its_life_and_the_watchdog_survives_the_engine(tmp_path: Path) -> None:
    outcomes, wrong = run(SHORT, tmp_path, 20.0, whole_life=True)
    assert not wrong and not judged(outcomes, 20.0), (wrong, outcomes)
    assert [o.code for o in outcomes] == ["NAKED_POSITION", "ENGINE_GONE"]
    assert all(set(o.latency_s) == set(SINKS) for o in outcomes)
    (folder,) = tmp_path.glob("kite_hft/kite-*/????-??-??/*")
    gone = next(row for row in read_alerts(folder) if row["code"] == "ENGINE_GONE")
    assert "NSE:SBIN MIS" in gone["text"] and "without protection" in gone["text"]
    found = scan((folder / "journal.bin").read_bytes()).records
    records = [record.data() for record in found if record.kind is Kind.COMMAND]
    assert records.pop(0)["do"] == "strategies"
    assert [(r["do"], r["code"], r["key"]) for r in records] == [
        ("acknowledge", "NAKED_POSITION", "NSE:SBIN MIS")
    ]


def test_a_person_tests_the_sinks_and_looks(tmp_path: Path) -> None:
    with receivers(tmp_path) as received:
        alerts = json.dumps({**received.settings(), "reject_storm": 1000})
        with engine(tmp_path, own("TELL"), f"alerts: {alerts}\n") as running:
            assert "telegram: delivered" in running.ask("alerts", "--test")
            received.status["webhook"] = 410
            told = running.ask("alerts", "--test", "--json", code=1)
            assert json.loads(told[: told.rindex("}") + 1])["sinks"] == {
                "webhook": "HTTP 410", "telegram": "", "journald": "",
            }  # fmt: skip
            found = running.until(lambda s: any(a["code"] == "SINK_FAILED" for a in s["alerts"]))
            number = next(a["number"] for a in found["alerts"] if a["code"] == "SINK_FAILED")
            running.ask("alerts", "--ack", str(number))
            running.ask("alerts", "--ack", "SINK_FAILED", code=1)
        assert len(received.of("heartbeat")) > 1
    (report,) = tmp_path.glob("state/kite_hft/*/*/*/report.json")
    part = json.loads(report.read_text())["alerts"]
    assert part["watchdog"]["on"] and part["sinks"]["telegram"]["delivered"] >= 2
    assert "watchdog" in json.loads(report.read_text())["memory"]["by process"]
