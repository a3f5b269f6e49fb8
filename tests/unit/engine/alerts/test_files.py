"""alerts.jsonl read back: folded, a cut line left out, acknowledged with the engine down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.engine.alerts.files import (
    FILE_NAME,
    AlertFile,
    TwoMeant,
    acknowledge_file,
    append_line,
    chosen,
    last_number,
    one_line,
    open_alerts,
    read_alerts,
    severity_word,
)
from kite_hft.layout import Severity

NOON = 1_765_780_200_000_000_000  # 2025-12-15 12:00:00 in India


def line(number: int, event: str, code: str, key: str = "", *, lasts: bool = True, **more: str) -> bytes:
    row = {"number": number, "event": event, "time": "2025-12-15 12:00:00", "time_ns": NOON + number,
           "code": code, "severity": "CRITICAL", "key": key, "text": "t", "lasts": lasts, **more}  # fmt: skip
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


def test_two_who_tell_count_each_for_themselves(tmp_path: Path) -> None:
    """Watchdog and order process both begin behind the last number that they find."""
    written(
        tmp_path, line(1, "raised", "FEED_DEAD", "feed-0"),
        line(2, "raised", "ENGINE_GONE", teller="watchdog"),
        line(2, "raised", "CANCEL_FAILED", teller="orders"),
        line(2, "reminder", "ENGINE_GONE", teller="watchdog"),
        line(2, "cleared", "CANCEL_FAILED", teller="orders"),
        line(3, "raised", "NOT_FLAT", teller="orders"),
        line(3, "raised", "NAKED_POSITION", teller="watchdog"),
    )  # fmt: skip
    rows = read_alerts(tmp_path)
    assert [(row["number"], row["code"], row["state"]) for row in rows] == [
        (1, "FEED_DEAD", "standing"), (2, "ENGINE_GONE", "standing"), (2, "CANCEL_FAILED", "over"),
        (3, "NOT_FLAT", "standing"), (3, "NAKED_POSITION", "standing"),
    ]  # fmt: skip
    assert acknowledge_file(tmp_path, None, NOON, "NAKED_POSITION") == 1
    assert acknowledge_file(tmp_path, 2, NOON) == 1
    assert [row["code"] for row in open_alerts(read_alerts(tmp_path))] == ["NOT_FLAT", "FEED_DEAD"]
    assert last_number(tmp_path) == 3


def test_a_number_that_two_alerts_have_acknowledges_neither(tmp_path: Path) -> None:
    written(
        tmp_path, line(3, "raised", "NOT_FLAT", teller="orders"),
        line(3, "raised", "NAKED_POSITION", "NSE:X", teller="watchdog"),
    )  # fmt: skip
    with pytest.raises(TwoMeant, match=r"2 open alerts have the number 3: .*--ack NAKED_POSITION NSE:X"):
        acknowledge_file(tmp_path, 3, NOON)
    assert len(open_alerts(read_alerts(tmp_path))) == 2
    assert acknowledge_file(tmp_path, None, NOON) == 2 and not open_alerts(read_alerts(tmp_path))


def test_what_an_earlier_version_acknowledged_counts(tmp_path: Path) -> None:
    """It named no teller."""
    written(
        tmp_path, line(2, "raised", "ENGINE_GONE", teller="watchdog"), line(2, "acknowledged", "ENGINE_GONE"),
        line(3, "raised", "FEED_DEAD"), line(3, "raised", "NOT_FLAT", teller="orders"),
        line(3, "acknowledged", "FEED_DEAD"),
    )  # fmt: skip
    states = [(row["code"], row["state"]) for row in read_alerts(tmp_path)]
    assert states == [
        ("ENGINE_GONE", "acknowledged"),
        ("FEED_DEAD", "acknowledged"),
        ("NOT_FLAT", "standing"),
    ]


def test_a_file_with_lines_of_others_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(
        b'{"number": 1, "event": "raised"}\n[1]\n7\nnull\n{"number": null, "event": "test"}\n'
        b'{"number": "x"}\n' + b"[" * 5000 + b"\n" + line(4, "raised", "FEED_DEAD")
    )
    assert [row["number"] for row in read_alerts(tmp_path)] == [4]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE_NAME).mkdir()
    assert last_number(tmp_path / "other") == 0
