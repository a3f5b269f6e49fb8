"""`kite-hft incident --around`: which moment a time of day is."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.app.day.incident.verb import Chosen, span_of
from kite_hft.sessions import ist_text


@pytest.mark.parametrize(
    ("began", "around", "seen"),
    [
        ("100000", "10:05:00", ("2026-12-31 10:04:00", "2026-12-31 10:06:00")),
        ("100000", "09:59:30", ("2026-12-31 09:58:30", "2026-12-31 10:00:30")),
        ("235900", "00:00:30", ("2026-12-31 23:59:30", "2027-01-01 00:01:30")),
        ("a name", "09:59:30", ("2026-12-31 09:58:30", "2026-12-31 10:00:30")),
        ("", "09:59:30", ("2026-12-31 09:58:30", "2026-12-31 10:00:30")),
    ],
)
def test_a_run_may_go_over_midnight(tmp_path: Path, began: str, around: str, seen: tuple[str, str]) -> None:
    chosen = Chosen(Path(f"{tmp_path}/2026-12-31/{began or '1'}"), tmp_path, None)
    span = span_of(chosen, around, 1.0)
    assert span is not None and (ist_text(span[0]), ist_text(span[1])) == seen


def test_without_a_time_it_is_the_whole_run(tmp_path: Path) -> None:
    assert span_of(Chosen(tmp_path / "2026-12-31/100000", tmp_path, None), None, 1.0) is None
