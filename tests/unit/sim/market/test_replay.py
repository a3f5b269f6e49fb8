"""Recorded data as ticks: small files made here, and the recordings against a plain reading."""

from __future__ import annotations

import csv
import json
import lzma
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kite_hft.sim.market.replay import ReplayError, open_replay

IST = timezone(timedelta(hours=5, minutes=30))
EVERYTHING = 1 << 62


def message(key: str, stamp: str, **more: Any) -> str:
    levels = [{"bidQ": "3", "bidP": 100.0, "askQ": "5", "askP": 100.1}, {"askQ": "2", "askP": 100.2}]
    day = {"interval": "1d", "open": 98.0, "high": 101.0, "low": 97.5, "close": 100.05}
    full: dict[str, Any] = {
        "ltpc": {"ltp": 100.05, "ltt": "1765771373598", "ltq": "7", "cp": 99.0},
        "marketLevel": {"bidAskQuote": levels},
        "marketOHLC": {"ohlc": [{"interval": "I1", "open": 1.0}, day]},
        "atp": 99.87,
        "vtt": "4000",
    }
    feed = {"fullFeed": {"marketFF": full | more}, "requestMode": "full_d5"}
    return json.dumps(feed | {"instrumentKey": key, "_insertion_time": stamp})


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n")


def test_one_message_field_by_field(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", message("NSE_EQ|INE118H01025", "2025-12-15 09:32:49.218000"))
    replay = open_replay(tmp_path)
    (row,) = replay.instruments
    assert (row.token, row.key, row.lot_size) == (19585 * 256 + 1, "NSE:BSE", 1)
    times, ticks = replay.take(0, 10)
    assert times.tolist() == [0]
    tick = ticks[0]
    assert tick["exch_ns"] == int(datetime(2025, 12, 15, 9, 32, 49, tzinfo=IST).timestamp()) * 10**9
    expected = {
        "last_px": 10_005, "last_qty": 7, "close_px": 9_900, "open_px": 9_800, "high_px": 10_100,
        "low_px": 9_750,
        "average_px": 9_987, "volume": 4000, "last_trade_s": 1_765_771_373, "oi": 0, "total_buy_qty": 0,
        "bid_px": 10_000, "ask_px": 10_010,
    }  # fmt: skip
    assert {name: int(tick[name]) for name in expected} == expected
    assert tick["bid_qty"].tolist() == [3, 0, 0, 0, 0]
    assert tick["ask_qty"].tolist() == [5, 2, 0, 0, 0]
    assert tick["ask_px_deep"].tolist() == [10_020, 0, 0, 0]
    assert tick["bid_orders"].tolist() == [1, 0, 0, 0, 0]
    assert tick["ask_orders"].tolist() == [1, 1, 0, 0, 0]


def test_files_merge_by_time_then_by_name(tmp_path: Path) -> None:
    a, b = "NSE_FO|51414", "NSE_FO|51420"
    stamps = ["50", "51.500000", "51.500000"]
    day = "2025-12-15 09:32:"
    write(tmp_path / "a.jsonl", *(message(a, day + s, vtt=str(i)) for i, s in enumerate(stamps)))
    write(tmp_path / "b.jsonl", *(message(b, day + s) for s in ["49.000001", "51.500000"]))
    replay = open_replay(tmp_path)
    times, ticks = replay.take(EVERYTHING, 10)
    assert [replay.instruments[int(s)].symbol for s in ticks["slot"]] == [
        "REPLAY51420", "REPLAY51414", "REPLAY51414", "REPLAY51414", "REPLAY51420",
    ]  # fmt: skip
    assert ticks["volume"][1:4].tolist() == [0, 1, 2]
    assert times.tolist() == [0, 999_999_000, 2_499_999_000, 2_499_999_000, 2_499_999_000]
    assert replay.next_ns() is None


def test_open_interest_extremes_run(tmp_path: Path) -> None:
    stamps = [f"2025-12-15 09:32:5{i}" for i in range(4)]
    levels = [700.0, 900.0, 600.0, 800.0]
    write(
        tmp_path / "a.jsonl",
        *(message("NSE_FO|51414", s, oi=oi) for s, oi in zip(stamps, levels, strict=True)),
    )
    _, ticks = open_replay(tmp_path).take(EVERYTHING, 10)
    assert ticks["oi_day_high"].tolist() == [700, 900, 900, 900]
    assert ticks["oi_day_low"].tolist() == [700, 700, 600, 600]


def test_take_keeps_to_time_and_limit(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *(message("NSE_FO|51414", f"2025-12-15 09:32:5{i}") for i in range(5)))
    replay = open_replay(tmp_path)
    assert len(replay) == 5
    assert len(replay.take(2_500_000_000, 2)[1]) == 2
    assert len(replay.take(2_500_000_000, 9)[1]) == 1
    assert len(replay.take(2_500_000_000, 9)[1]) == 0
    assert replay.next_ns() == 3_000_000_000


def test_nights_are_cut_and_a_header_may_be_missing(tmp_path: Path) -> None:
    row = "BSE_INDEX|SENSEX,80740.2,80599.91,1754282806708,80765.83,80902.93,80500.51,80740.2,1,,,,,"
    write(tmp_path / "1.csv", f"2025-08-04 15:29:59,{row}")
    write(tmp_path / "2.csv", f"2025-08-05 09:15:00,{row}", f"2025-08-05 09:15:02,{row}")
    replay = open_replay(tmp_path)
    times, ticks = replay.take(EVERYTHING, 10)
    assert times.tolist() == [0, 10**9, 3 * 10**9]
    tick = ticks[0]
    names = ("last_px", "close_px", "open_px", "high_px", "low_px")
    assert [int(tick[n]) for n in names] == [8_074_020, 8_059_991, 8_076_583, 8_090_293, 8_050_051]
    assert replay.instruments[0].token == 265


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.txt", "x", "no recorded data"),
        ("a.jsonl", "{", "line 1"),
        ("a.jsonl", message("NSE_FO|1", "yesterday"), "line 1"),
        ("a.jsonl", message("MCX_FO|1", "2025-12-15 09:32:50"), "no rule gives 'MCX_FO|1'"),
        ("a.jsonl", message("NSE_FO|1", "2025-12-15 09:32:50", ltpc={"ltp": 1.001}), "no multiple of 0.01"),
        ("a.jsonl", message("NSE_FO|1", "2025-12-15 09:32:50", ltpc={"ltp": -1.0}), "negative"),
        ("a.csv", "a,b,c\n", "3 columns"),
        ("a.csv", "2025-08-04 15:29:59,abc\n", "a.csv"),
        ("a.csv.xz", "not compressed", "a.csv.xz"),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_is_named(tmp_path: Path, name: str, content: str, text: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ReplayError, match=text.replace("|", r"\|")):
        open_replay(tmp_path)


def test_two_instruments_in_one_file_are_refused(tmp_path: Path) -> None:
    write(
        tmp_path / "a.jsonl",
        message("NSE_FO|1", "2025-12-15 09:32:50"),
        message("NSE_FO|2", "2025-12-15 09:32:51"),
    )
    with pytest.raises(ReplayError, match="line 2: a second instrument"):
        open_replay(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ReplayError):
        open_replay(tmp_path / "missing.csv")


# -- the recordings


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rt") as lines:
        yield from map(json.loads, lines)


@pytest.mark.data
def test_the_recorded_day_message_by_message(data_dir: Path) -> None:
    """Every message once, in order, against the files read plainly."""
    folder = data_dir / "upstox_v3_20251215"
    read = []
    for number, path in enumerate(sorted(folder.iterdir())):
        for line_no, m in enumerate(json_lines(path)):
            full = m["fullFeed"]["marketFF"]
            stamp = m["_insertion_time"]
            micro = stamp if "." in stamp else stamp + ".000000"
            level = (full["marketLevel"]["bidAskQuote"] + [{}])[0]
            read.append(
                (micro, number, line_no, round(full["ltpc"]["ltp"] * 100), int(full["vtt"]),
                 round(level.get("bidP", 0) * 100), int(level.get("askQ", 0)), int(full.get("tbq", 0)),
                 round(full["ltpc"]["cp"] * 100), int(full["ltpc"]["ltt"]) // 1000, int(full.get("oi", 0)))
            )  # fmt: skip
    read.sort(key=lambda r: r[:3])
    times, ticks = open_replay(folder).take(EVERYTHING, EVERYTHING)
    assert len(ticks) == len(read) == 216_593
    assert np.all(np.diff(times) >= 0)
    columns = list(zip(*read, strict=True))
    for name, column in zip(
        ("slot", "last_px", "volume", "bid_px", "total_buy_qty", "close_px", "last_trade_s", "oi"),
        (columns[1], *(columns[i] for i in (3, 4, 5, 7, 8, 9, 10))), strict=True,
    ):  # fmt: skip
        assert ticks[name].tolist() == list(column), name
    assert ticks["ask_qty"][:, 0].tolist() == list(columns[6])
    first = datetime.fromisoformat(columns[0][0]).replace(tzinfo=IST)
    for i in range(0, len(read), 5000):
        at = datetime.fromisoformat(columns[0][i]).replace(tzinfo=IST)
        assert times[i] == (at - first) // timedelta(microseconds=1) * 1000
        assert ticks["exch_ns"][i] == int(at.timestamp()) * 10**9


@pytest.mark.data
def test_the_other_recordings(data_dir: Path) -> None:
    expected: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for folder, column in (("upstox_index_ticks", 2), ("upstox_option_ticks", 2), ("nifty_1s", 1)):
        for path in sorted((data_dir / folder).iterdir()):
            with lzma.open(path, "rt") as lines:
                rows = [r for r in csv.reader(lines) if r[0] != "timestamp"]
            expected[folder] += [(r[0], round(float(r[column]) * 100)) for r in rows]
        expected[folder].sort(key=lambda r: r[0])
        replay = open_replay(data_dir / folder)
        _, ticks = replay.take(EVERYTHING, EVERYTHING)
        assert ticks["last_px"].tolist() == [px for _, px in expected[folder]]
    assert {k: len(v) for k, v in expected.items()} == {
        "upstox_index_ticks": 61_210, "upstox_option_ticks": 13_549, "nifty_1s": 47_159,
    }  # fmt: skip
    (option,) = open_replay(data_dir / "upstox_option_ticks").instruments
    assert (option.token, option.lot_size, option.freeze_quantity) == (840326 * 256 + 5, 20, 1000)
