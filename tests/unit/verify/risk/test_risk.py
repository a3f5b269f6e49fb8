"""The matrix of the gate's controls, a few made-up situations, and that both can fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kite_hft.layout import Reason
from kite_hft.trading.gate import judging
from kite_hft.trading.gate import risk as gate
from kite_hft.verify.risk import risk, situations
from kite_hft.verify.risk.bench import Bench
from kite_hft.verify.risk.cases import CASES, Case, cases_of


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.control} {case.what}".replace("::", ":"))
def test_case(case: Case) -> None:
    assert risk.wrong(case) == ""


def test_all_cases_with_the_rules_of_upstox() -> None:
    assert [text for case in cases_of("upstox") if (text := risk.wrong(case))] == []
    found = situations.differ(7, range(150), broker="upstox")
    assert found["differ"] == [] and found["counts"]["passed"] > 10


def test_what_leaves_is_read_from_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    from kite_hft.brokers.upstox import calls

    case = next(c for c in cases_of("upstox") if c.what == "an exit at 15:05")
    assert risk.wrong(case) == ""
    place = calls.place
    monkeypatch.setattr(calls, "place", lambda order: place(order._replace(product=1)))
    assert "passed, [Call(" in risk.wrong(case)


def test_every_control_has_both_kinds_of_cases_and_every_line_its_reason() -> None:
    for control in risk.ASKED:
        kinds = {bool(case.reason) for case in CASES if case.control == control}
        assert kinds == {True, False}, control
    assert {row.reason.name for row in gate.CHECKS} <= {case.reason for case in CASES}


def test_made_up_situations_agree_with_the_plain_reading() -> None:
    found = situations.differ(7, range(250))
    assert found["differ"] == [] and found["counts"]["passed"] > 20 and len(found["counts"]) > 15


def test_a_missing_check_is_seen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def without(reason: Reason) -> None:
        lines = {
            key: tuple(line for line in value if line[1] is not reason)
            for key, value in gate._APPLYING.items()
        }
        monkeypatch.setattr(gate, "_APPLYING", lines)

    without(Reason.SELF_TRADE)
    case = next(case for case in CASES if case.reason == "SELF_TRADE")
    assert "passed, SELF_TRADE was due" in risk.wrong(case)
    assert risk.main(["--random", "400"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert any(text.startswith("C27") for text in report["wrong"]) and report["random"]["differ"]
    assert report["replay"].endswith(f"--case {report['random']['differ'][0]['case']}")


def test_a_quick_way_that_proves_too_little_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "NEEDED", {False: 0, True: 0})
    case = next(case for case in CASES if case.reason == "SELF_TRADE")
    with pytest.raises(ValueError, match="table alone"):
        risk.wrong(case)


@pytest.mark.parametrize("words", [{"nonsense": 1}, {"before": ({"qty": 0},)}])
def test_the_bench_says_what_it_cannot_set_up(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"nonsense|pass first"):
        Bench(**words)


def test_the_wrong_reason_and_a_missing_number_are_told() -> None:
    assert "due was HALTED" in risk.wrong(Case("x", "y", {}, {"qty": 0}, "HALTED"))
    assert "does not tell" in risk.wrong(Case("x", "y", {}, {"qty": 0}, "BAD_INTENT", ("12345",)))


def test_made_up_situations_need_the_source_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(situations, "TWIN", Path("/nowhere/rules.py"))
    situations.plain_reading.cache_clear()
    with pytest.raises(FileNotFoundError, match="source tree"):
        situations.plain_reading()
    situations.plain_reading.cache_clear()
