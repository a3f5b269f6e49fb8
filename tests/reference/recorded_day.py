"""A plain reading of the recorded files: messages and expected bars, by the data's own README.

Standard library only; nothing of the product. `expected_bars(folder)` is what a replay of
`upstox_v3_20251215` through any chain must arrive at; the other readers give single instruments.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference.bars import SECOND_NS, Bar, Message, bars, counted

PERIODS_S = (1, 60, 300, 900)
IST = dt.timezone(dt.timedelta(hours=5, minutes=30))


def epoch_second(text: str) -> int:
    """`YYYY-MM-DD HH:MM:SS[.ffffff]` in India -> whole seconds since the epoch."""
    return int(dt.datetime.fromisoformat(text[:19]).replace(tzinfo=IST).timestamp())


def session_ns(day: str) -> tuple[int, int]:
    """09:15:00 and 15:30:00 of `YYYY-MM-DD`, in epoch ns."""
    return epoch_second(f"{day} 09:15:00") * SECOND_NS, epoch_second(f"{day} 15:30:00") * SECOND_NS


def whole(rupees: float) -> int:
    """Rupees to paise; the recordings hold no price off the 0.01 grid."""
    paise = round(rupees * 100)
    assert abs(paise - rupees * 100) < 1e-5, rupees
    return paise


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def recorded_messages(path: Path) -> list[Message]:
    """One instrument of upstox_v3_20251215, in the order of replay (insertion time, then line)."""
    stamped = []
    seconds: dict[str, int] = {}
    for line in json_lines(path):
        feed = line["fullFeed"]["marketFF"]
        stamp = line["_insertion_time"]
        second = seconds.get(stamp[:19])
        if second is None:
            second = seconds[stamp[:19]] = epoch_second(stamp)
        stamped.append(
            (stamp, Message(second * SECOND_NS, whole(feed["ltpc"]["ltp"]), int(feed.get("vtt", 0))))
        )
    stamped.sort(key=lambda row: row[0])  # stable: equal stamps keep the file's order
    return [message for _, message in stamped]


def index_messages(path: Path) -> list[Message]:
    """One SENSEX file: with or without a header; exchange time is the stamp's second."""
    with lzma.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.reader(lines) if row and row[0] != "timestamp"]
    return [Message(epoch_second(row[0]) * SECOND_NS, whole(float(row[2])), None) for row in rows]


def option_messages(path: Path) -> list[Message]:
    """The SENSEX option: no day volume, so every message counts."""
    return index_messages(path)


def nifty_messages(path: Path) -> list[Message]:
    """One NIFTY file: timestamp, price; no header."""
    with lzma.open(path, "rt", encoding="utf-8", newline="") as lines:
        return [
            Message(epoch_second(row[0]) * SECOND_NS, whole(float(row[1])), None)
            for row in csv.reader(lines)
            if row
        ]


def bars_of(messages: list[Message], day: str) -> dict[int, list[Bar]]:
    """period in seconds -> bars of the day's session."""
    open_ns, close_ns = session_ns(day)
    taken, _ = counted(messages, open_ns, close_ns)
    return {period: bars(taken, period, open_ns) for period in PERIODS_S}


def expected_bars(folder: Path) -> dict[str, dict[int, list[Bar]]]:
    """File stem (NSE_EQ_INE118H01025, NSE_FO_51414, ...) -> period -> bars, for upstox_v3_20251215."""
    files = sorted(folder.glob("*.jsonl.xz"))
    return {path.name.split(".")[0]: bars_of(recorded_messages(path), "2025-12-15") for path in files}
