"""The mornings of an account: kept, found again, and what mode live makes of a NO-GO."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.runs.verdicts import FILE_NAME, GO, NO_GO, NoGo, append, require_go, standing
from kite_hft.settings import Settings

DAY = dt.date(2026, 11, 20)
FILE = Path("/here/live.yaml")
LIVE = Settings.model_validate({"mode": "live", "account": "AB1234", "risk": {"max_daily_loss": 1.0}})


def row(verdict: str, day: dt.date = DAY, **more: Any) -> dict[str, Any]:
    reasons = [{"level": "no-go", "text": "no token", "fix": ""}] if verdict == NO_GO else []
    return {
        "event": "verdict",
        "day": day.isoformat(),
        "mode": "live",
        "config": str(FILE),
        "time": "09:00",
        "verdict": verdict,
        "reasons": reasons,
    } | more


def accepted(reason: str) -> dict[str, Any]:
    of = {"mode": "live", "config": str(FILE)}
    return of | {"event": "accepted", "day": DAY.isoformat(), "time": "09:05", "by": "asha", "reason": reason}


def test_the_newest_verdict_of_the_day_stands(tmp_path: Path) -> None:
    assert standing(tmp_path, DAY, "live", FILE) is None
    for one in (row(NO_GO), row(GO), row(NO_GO, DAY + dt.timedelta(days=1))):
        append(tmp_path, one)
    found = standing(tmp_path, DAY, "live", FILE)
    assert found is not None and found.verdict == GO and not found.accepted
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_an_acceptance_is_about_the_verdict_before_it_alone(tmp_path: Path) -> None:
    append(tmp_path, row(NO_GO))
    append(tmp_path, accepted("the holiday call is down"))
    found = standing(tmp_path, DAY, "live", FILE)
    assert found is not None and (found.accepted, found.by) == ("the holiday call is down", "asha")
    append(tmp_path, row(NO_GO))
    found = standing(tmp_path, DAY, "live", FILE)
    assert found is not None and not found.accepted


def test_another_mode_or_configuration_lifts_no_no_go(tmp_path: Path) -> None:
    append(tmp_path, row(NO_GO))
    append(tmp_path, row(GO, mode="paper"))
    append(tmp_path, row(GO, config="/here/other.yaml"))
    found = standing(tmp_path, DAY, "live", FILE)
    assert found is not None and found.verdict == NO_GO
    other = standing(tmp_path, DAY, "live", Path("/here/other.yaml"))
    assert other is not None and other.verdict == GO
    unknown = standing(tmp_path, DAY, "live", Path("/here/third.yaml"))
    assert unknown is not None and unknown.verdict == GO, "the newest of the mode"
    assert standing(tmp_path, DAY, "sim", FILE) is None


def test_a_last_line_that_was_cut_is_a_no_go_until_a_whole_one_follows(tmp_path: Path) -> None:
    append(tmp_path, row(GO))
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"event": "verdict", "day": "2026-11-20", "verd')
    with pytest.raises(NoGo, match=r"last line .* run it again"):
        require_go(LIVE, tmp_path, DAY, FILE, lambda text: None)
    append(tmp_path, row(GO))
    found = standing(tmp_path, DAY, "live", FILE)
    assert found is not None and found.verdict == GO, "it begins a line of its own"


def test_what_cannot_be_read_is_a_no_go(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(NoGo, match="cannot be read"):
        require_go(LIVE, tmp_path, DAY, FILE, lambda text: None)


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    os.symlink(tmp_path / "elsewhere", tmp_path / FILE_NAME)
    with pytest.raises(OSError):
        append(tmp_path, row(GO))
    assert not (tmp_path / "elsewhere").exists()


def test_live_refuses_a_no_go_that_nobody_accepted(tmp_path: Path) -> None:
    said: list[str] = []
    append(tmp_path, row(NO_GO))
    with pytest.raises(NoGo, match=r"NO-GO: no token.*--accept"):
        require_go(LIVE, tmp_path, DAY, FILE, said.append)
    append(tmp_path, row(NO_GO, mode="paper"))
    assert require_go(LIVE.model_copy(update={"mode": "paper"}), tmp_path, DAY, FILE, said.append) is not None
    append(tmp_path, accepted("I have looked"))
    assert require_go(LIVE, tmp_path, DAY, FILE, said.append) is not None
    assert "accepted by asha: I have looked" in said[-1] and "no token" in said[-1]


def test_live_without_a_morning_is_warned(tmp_path: Path) -> None:
    said: list[str] = []
    assert require_go(LIVE, tmp_path, DAY, FILE, said.append) is None
    assert len(said) == 1 and "kite-hft morning" in said[0]
    assert require_go(Settings(), tmp_path, DAY, FILE, said.append) is None and len(said) == 1
