"""A recording in words."""

from __future__ import annotations

from typing import Any

from kite_hft.app.files.recording import GAPS_SHOWN, text

FOUND: dict[str, Any] = {
    "path": "ticks-0.rec",
    "kind": "rows",
    "connection": 0,
    "count": 12_000,
    "bytes": 768_000,
    "closed": True,
    "damaged": "",
    "lost": 7,
    "gaps": [{"at_ns": 1, "lost": 7, "reason": "RESTART", "before": 4_000}],
    "first_real_ns": 1_765_780_200_000_000_000,
    "last_real_ns": 1_765_783_925_000_000_000,
}


def test_a_recording_is_told_with_its_gaps() -> None:
    assert text(FOUND) == [
        "ticks-0.rec",
        "  12,000 rows of connection 0, 768,000 bytes, closed in order",
        "  2025-12-15 12:00:00 to 2025-12-15 13:02:05 IST (1:02:05)",
        "  1 gaps, 7 rows lost in them",
        "    7 lost before number 4,000: restart",
    ]


def test_an_empty_one_and_one_with_many_gaps() -> None:
    empty = text(FOUND | {"count": 0, "closed": False, "gaps": [], "lost": 0})
    assert "its writer died" in empty[1] and empty[2] == "  0 gaps, 0 rows lost in them"
    many = text(FOUND | {"gaps": FOUND["gaps"] * (GAPS_SHOWN + 3)})
    assert many[-1] == "    ... and 3 more (--json has all)" and len(many) == 4 + GAPS_SHOWN + 1


def test_a_damaged_one_says_so_before_its_figures() -> None:
    lines = text(FOUND | {"damaged": "its end is cut"})
    assert lines[2] == "  damaged: its end is cut" and lines[3:] == text(FOUND)[2:]
