"""alerts.jsonl read back: folded, a cut line left out, acknowledged with the engine down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.engine.alerts.files import (
    FILE_NAME,
    AlertFile,
    acknowledge_file,
    append_line,
    chosen,
    one_line,
    open_alerts,
    read_alerts,
    severity_word,
)
from kite_hft.layout import Severity

NOON = 1_765_780_200_000_000_000  # 2025-12-15 12:00:00 in India


def line(number: int, event: str, code: str, key: str = "", *, lasts: bool = True) -> bytes:
    row = {"number": number, "event": event, "time": "2025-12-15 12:00:00", "time_ns": NOON + number,
           "code": code, "severity": "CRITICAL", "key": key, "text": "t", "lasts": lasts}  # fmt: skip
    return json.dumps(row).encode() + b"\n"


def written(folder: Path, *lines: bytes) -> Path:
    (folder / FILE_NAME).write_bytes(b"".join(lines))
    return folder


def test_severities_have_the_names_of_the_layout() -> None:
    assert [severity_word(int(s)) for s in Severity] == [s.name for s in Severity]
    assert severity_word(9) == "9" and severity_word(0) == "0"


def test_reading_back_folds_lines_and_survives_a_cut_one(tmp_path: Path) -> None:
    written(
        tmp_path, line(1, "raised", "BROKER_ACTED", lasts=False), line(2, "raised", "MARKET_HALT"),
        line(3, "raised", "FEED_DEAD", "feed-1"), line(3, "reminder", "FEED_DEAD", "feed-1"),
        line(2, "cleared", "MARKET_HALT"), line(4, "test", "TEST"), b'{"number": 9, "event": "rai',
    )  # fmt: skip
    rows = read_alerts(tmp_path)
    assert [(row["number"], row["state"]) for row in rows] == [
        (1, "told"), (2, "over"), (3, "standing"), (4, "over"),
    ]  # fmt: skip
    assert [row["number"] for row in open_alerts(rows)] == [3, 1]
    assert read_alerts(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("which", "numbers"),
    [
        ((None,), [1, 2, 3]),
        ((2,), [2]),
        ((None, "FEED_DEAD"), [1, 2]),
        ((None, "FEED_DEAD", "feed-1"), [2]),
        ((None, "FEED_DEAD", ""), []),
        ((1, "NAKED_POSITION"), []),
    ],
)
def test_acknowledging_with_the_engine_down(
    tmp_path: Path, which: tuple[object, ...], numbers: list[int]
) -> None:
    written(
        tmp_path, line(1, "raised", "FEED_DEAD", "feed-0"), line(2, "raised", "FEED_DEAD", "feed-1"),
        line(3, "raised", "NAKED_POSITION", "NSE:X MIS"), line(4, "raised", "MARKET_HALT"),
        line(4, "cleared", "MARKET_HALT"),
    )  # fmt: skip
    number, code, key = (*which, "", None)[:3] if len(which) < 3 else which
    key = None if len(which) < 3 else key
    assert sorted(r["number"] for r in chosen(read_alerts(tmp_path), number, str(code), key)) == numbers  # type: ignore[arg-type]
    assert acknowledge_file(tmp_path, number, NOON, str(code), key) == len(numbers)  # type: ignore[arg-type]
    assert sorted(r["number"] for r in open_alerts(read_alerts(tmp_path))) == sorted({1, 2, 3} - set(numbers))


def test_a_line_is_whole_or_an_error(tmp_path: Path) -> None:
    file = AlertFile(tmp_path)
    file.append(b"x\n")
    file.close()
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        append_line(full.fileno(), b"x")


def test_words_of_others_are_printable_and_without_secrets() -> None:
    assert one_line("token s3cret\x1b[2J\n refused", ("s3cret", "")) == "token <secret> [2J refused"
    assert len(one_line("x" * 5000)) == 1000
