"""evidence.csv: a row for each call that left; what a crash cut; and the day counted once more from it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.clock import ManualClock
from kite_hft.engine.orders.evidence import BEGIN, COLUMNS, EVIDENCE, Evidence, Row, day_calls, open_evidence
from kite_hft.engine.runs.recount import main, recount, recount_run
from kite_hft.trading.sending.evidence import ENTRY, READ, RECOVERED, URGENT, Journalled, Left, merged

S = 1_000_000_000
REAL0 = 1_795_000_000 * S
RULES = Path("config/rules/kite_2026-04-01.yaml")
MAPPING = yaml.safe_load(RULES.read_text())
LIMITS = limits_from_mapping(MAPPING)


def left(at_s: float, call: str = "PLACE", part: str = ENTRY, name: str = "t") -> Left:
    return Left(round(at_s * S), REAL0 + round(at_s * S), call, part, name)


def write_file(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def rows_of(broker: str, calls: list[Left]) -> list[Row]:
    rows: list[Row] = []
    made = Evidence(rows.append, LIMITS)
    made.begin(broker, 0, REAL0, "boot")
    for call in calls:
        made.add(call)
    made.flush()
    return rows


def test_rows_are_kept_until_the_beat_and_say_how_full_the_windows_stood() -> None:
    rows: list[Row] = []
    made = Evidence(rows.append, LIMITS, [left(-59.0)])
    for call in (left(0), left(0.5, "ORDERS", READ, ""), left(1.0, "CANCEL", URGENT), left(1.3)):
        made.add(call)
    assert not rows
    made.flush()
    assert [row["windows"] for row in rows] == [
        "1/10 in 1.25 s; 1/10 in 1.25 s; 2/380 in 60 s",
        "2/10 in 1.25 s",
        "3/10 in 1.25 s; 2/10 in 1.25 s; 2/380 in 60 s",
        "3/10 in 1.25 s; 2/10 in 1.25 s; 3/380 in 60 s",
    ]
    assert str(rows[2]["time"]).endswith(".000000") and rows[2]["part"] == "urgent"
    made.flush()
    assert len(rows) == 4


def test_the_days_runs_of_the_same_broker_are_taken_back_and_cut_rows_left_out(tmp_path: Path) -> None:
    day = tmp_path / "2026-11-21"
    write_file(day / "091500" / EVIDENCE, rows_of("live", [left(1), left(2, "ORDERS", READ, "")]))
    write_file(day / "100000" / EVIDENCE, rows_of("sim of run 100000", [left(3)]))
    path = day / "110000" / EVIDENCE
    write_file(path, rows_of("live", [left(4), left(5)]))
    with path.open("a") as file:
        file.write("2026-11-21 11:00:00,17950000060")
    found = day_calls(day / "120000", "live")
    assert [row.mono_ns // S for row in found] == [1, 2, 4, 5] and found[1].part == READ
    rows: list[Row] = []
    (day / "120000").mkdir()
    made, earlier = open_evidence(
        day / "120000", LIMITS, "live", rows.append, ManualClock(9 * S, REAL0 + 9 * S)
    )
    assert earlier == found and {row.boot for row in found} == {"boot"}
    assert rows[0]["call"] == BEGIN and rows[0]["name"] == "live" and not rows[0]["part"]
    made.add(left(9))
    made.flush()
    assert rows[1]["windows"] == "1/10 in 1.25 s; 1/10 in 1.25 s; 4/380 in 60 s"


def test_what_only_the_journal_knows_is_recovered_once() -> None:
    rows = [left(1, name="a"), left(2, "ORDERS", READ, ""), left(2.5, "CANCEL", URGENT, "id1")]
    journalled = [
        Journalled(rows[0].real_ns - 100_000, False, "a"),
        Journalled(REAL0 + 5 * S // 2, True, "id1"),
        Journalled(REAL0 + 3 * S, True, "id1", REAL0 + 3 * S),
        Journalled(REAL0 + 4 * S, False, "b", REAL0 + 4 * S),
    ]
    every, lacking = merged(rows, journalled, REAL0, 5 * S)
    assert lacking == [
        Left(3 * S, REAL0 + 3 * S, RECOVERED, URGENT, "id1"),
        Left(4 * S, REAL0 + 4 * S, RECOVERED, ENTRY, "b"),
    ]
    assert [row.mono_ns for row in every] == [1 * S, 2 * S, 5 * S // 2, 3 * S, 4 * S]
    again, none = merged([*rows, *lacking], journalled, REAL0, 5 * S)
    assert not none and again == every
    shifted, _ = merged(rows[:2], (), REAL0 - 7 * S, S // 2)
    assert [row.mono_ns for row in shifted] == [S // 2, S // 2], "of another boot, whose wall clock was ahead"
    shifted, _ = merged(rows[:2], (), REAL0 - 7 * S, S // 2 + 10 * S)
    assert [row.mono_ns for row in shifted] == [8 * S, 9 * S], "the machine was started anew between"


@pytest.mark.parametrize("step_s", [-3600, 3600])
@pytest.mark.parametrize("before", [True, False])
def test_a_wall_clock_that_was_stepped_in_the_run_hides_no_call(step_s: int, before: bool) -> None:
    """The clock is stepped behind the last row, before or behind the record of the call whose row is lost."""
    rows = [left(1, name="a")._replace(boot="x"), left(100, name="b")._replace(boot="x")]
    at_ns = REAL0 + 101 * S + (step_s * S if before else 0)
    journalled = [Journalled(REAL0 + t * S, False, name) for t, name in ((1, "a"), (100, "b"))]
    journalled.append(Journalled(at_ns, False, "c"))
    every, lacking = merged(rows, journalled, REAL0 + step_s * S, 102 * S, "x")
    assert [row.name for row in lacking] == ["c"] and [row.name for row in every] == ["a", "b", "c"]
    assert 101 * S <= lacking[0].mono_ns <= 102 * S, "never earlier than it was, never after now"
    assert [row.mono_ns for row in every[:2]] == [1 * S, 100 * S], "the same boot: its own clock holds"
    of_other, _ = merged(rows, (), REAL0 + step_s * S, 102 * S, "y")
    assert all(row.mono_ns <= 0 for row in of_other), "another boot's calls left before this one began"


def test_the_windows_of_a_file_are_counted_by_the_monotonic_clock(tmp_path: Path) -> None:
    """The wall clock went back an hour between two runs: the second still finds its predecessor's calls."""
    day = tmp_path / "2026-11-21"
    write_file(day / "091500" / EVIDENCE, rows_of("live", [left(1), left(2)]))
    (day / "110000").mkdir(parents=True)
    rows: list[Row] = []
    clock = ManualClock(3 * S, REAL0 - 3600 * S)
    made, _ = open_evidence(day / "110000", LIMITS, "live", rows.append, clock)
    made.add(Left(3 * S, clock.real, "PLACE", ENTRY, "x"))
    made.flush()
    assert str(rows[1]["windows"]).endswith("3/380 in 60 s")


def text_of(rows: list[Row]) -> str:
    lines = [",".join(COLUMNS)]
    lines += [",".join(str(row[name]) for name in COLUMNS) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("gap_s", "exceeded"), [(1.25, 0), (1.2499, 2)])
def test_the_recount_finds_the_eleventh_call(gap_s: float, exceeded: int) -> None:
    calls = [left(0)] * 10 + [left(gap_s)]
    found = recount(text_of(rows_of("live", calls)), MAPPING)
    assert found["calls"] == 11 and found["by_kind"] == {"PLACE": 11}
    assert len(found["exceeded"]) == exceeded
    assert {(w["of"], w["window_s"]) for w in found["windows"]} == {
        ("all", 1.25), ("order", 1.25), ("order", 60), ("read", 1.25),
    }  # fmt: skip


def test_reads_count_among_all_and_not_among_orders() -> None:
    calls = [left(0.01 * i, "ORDERS", READ, "") for i in range(6)] + [left(0.1)] * 5
    found = recount(text_of(rows_of("live", calls)), MAPPING)
    most = {(w["of"], w["window_s"]): w["most"] for w in found["windows"]}
    assert most == {("all", 1.25): 11, ("order", 1.25): 5, ("order", 60): 5, ("read", 1.25): 6}
    assert [row["of"] for row in found["exceeded"]] == ["all"]


def test_a_person_can_count_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / EVIDENCE
    write_file(path, rows_of("live", [left(0), left(1)]))
    assert main([str(path), str(RULES)]) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 2
    write_file(path, rows_of("live", [left(0)] * 11))
    assert main([str(path), str(RULES)]) == 1
    capsys.readouterr()
    assert main([str(tmp_path / "none.csv"), str(RULES)]) == 1
    assert "unread" in recount_run(tmp_path / "none.csv", RULES)
    assert main([]) == 2
