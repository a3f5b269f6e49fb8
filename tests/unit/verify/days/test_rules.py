"""The rehearsal of a day: what the rules cost a strategy that knows them, and one that does not."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from kite_hft.sessions import ist_text
from kite_hft.sim.brokers.table import side_of
from kite_hft.verify.days import rules
from kite_hft.verify.days.rehearsal import Outcome, Rehearsal, scenarios

DAY = dt.date(2026, 11, 20)


def days(only: str, capsys: pytest.CaptureFixture[str]) -> list[dict]:
    code = rules.main(["--date", str(DAY), "--only", only, "--tick-s", "90"])
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert code == 0 and found["ok"] and "with the engine" in out.err
    return found["days"]


def test_after_the_closing_auction(capsys: pytest.CaptureFixture[str]) -> None:
    ours, blind = days("after the closing", capsys)
    assert ours["rupees"]["penalised"] == ours["rupees"]["stranded"] == 0 and ours["filled"] > 20
    assert {row["what"] for row in ours["rows"]} == {"CUT_OFF"}
    assert blind["rupees"]["penalised"] > 0
    fee = next(row for row in blind["rows"] if row["what"] == "square-off")
    assert fee["rupees"] == pytest.approx(59.0 * fee["n"])


def test_upstox_closes_earlier_and_has_charges_of_its_own() -> None:
    (found,) = [s for s in scenarios(DAY) if s.name == "the day itself"]
    found.at = "14:30:00"
    ours, blind = (
        Rehearsal(found, rules.maker("", None), 1, 30.0, blind=blind, broker=side_of("upstox"))
        for blind in (False, True)
    )
    with_engine, without = ours.run(), blind.run()
    assert {row.what for row in with_engine.rows} <= {"CUT_OFF"} and with_engine.charges_paise > 0
    fees = [row for row in without.rows if row.kind == "penalised" and row.by == "the broker"]
    assert fees and all(row.paise == 5900 * row.n for row in fees)
    closed = [o for o in blind.bench.exchange.orders.values() if o.placed_by is not None]
    assert closed and {ist_text(o.placed_ns)[11:16] for o in closed} <= {"15:08", "15:15", "15:20"}


def lived(name: str) -> Outcome:
    """One scenario with the engine, from noon on."""
    (found,) = [s for s in scenarios(DAY) if s.name == name]
    found.at = "12:00:00"
    return Rehearsal(found, rules.maker("", None), 1, 60.0, blind=False).run()


def test_expiry() -> None:
    assert "EXPIRY" in {row.what for row in lived("expiry day").rows}


def test_a_lock_strands() -> None:
    (row,) = [row for row in lived("2 % lock").rows if row.kind == "stranded"]
    assert row.paise > 0 and row.n == 1


def test_scenarios_of_a_holiday_are_those_with_days_of_their_own() -> None:
    assert [s.name for s in scenarios(dt.date(2026, 11, 24))] == [
        "before the closing auction", "after the closing auction", "Muhurat",
    ]  # fmt: skip
    assert len(scenarios(DAY)) == 8


def test_what_cannot_be_rehearsed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert rules.main(["--strategy", "no_such_thing"]) == 2
    assert "no strategy 'no_such_thing'" in capsys.readouterr().err
    assert rules.main(["--only", "no such day"]) == 2
