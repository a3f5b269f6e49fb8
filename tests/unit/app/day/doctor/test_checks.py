"""Every check of the doctor, as a pure function: what it says of good facts, of doubtful and of bad ones."""

from __future__ import annotations

import json

from day_tools import facts

from kite_hft.app.day.doctor.checks import TABLE, examine, findings
from kite_hft.app.day.finding import as_json, worst


def test_with_good_facts_every_check_is_ok_and_asks_for_nothing() -> None:
    rows = findings(facts())
    assert [(row.name, row.text) for row in rows if row.level != "ok"] == []
    assert not any(row.fix for row in rows) and worst(rows) == "ok"


def test_every_check_stands_in_the_table_once_and_has_a_name_of_its_own() -> None:
    rows = findings(facts())
    assert len({row.name for row in rows}) == len(rows) == sum(len(checks) for _, checks in TABLE) >= 25
    assert [part for part, _ in examine(facts())] == ["Account", "Day", "Machine"]


def test_the_json_of_the_doctor_counts_what_it_shows() -> None:
    bad = facts(engine_login_pid=77)
    told = as_json(bad, findings(bad))
    assert told["level"] == "fail" and told["counts"]["fail"] == 1
    assert json.loads(json.dumps(told))["mode"] == "live"
    assert {row["name"] for row in told["checks"] if row["level"] == "fail"} == {"other engine"}
