"""Every bar of the recorded files, against a plain reading of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import recorded_day
from reference.bars import Bar, Message

from kite_hft import _kernels
from kite_hft.layout import BAR, KERNEL_ROW, TICK, TickFlag

pytestmark = pytest.mark.data
FIELDS = ("start_ns", "open_px", "high_px", "low_px", "close_px", "volume", "ticks")


def as_ticks(messages: list[Message], slot: int) -> np.ndarray:
    ticks = np.zeros(len(messages), TICK)
    ticks["slot"] = slot
    ticks["exch_ns"] = [m.time_ns for m in messages]
    ticks["last_px"] = [m.px for m in messages]
    if messages[0].volume is not None:
        ticks["volume"] = [m.volume for m in messages]
        ticks["flags"] = TickFlag.TRADE
    return ticks


def compiled_bars(per_slot: list[list[Message]], day: str, batch: int = 1000) -> list[dict[int, list[Bar]]]:
    """All instruments through one Kernels, interleaved by exchange time."""
    ticks = np.concatenate([as_ticks(messages, slot) for slot, messages in enumerate(per_slot)])
    order = np.argsort(ticks["exch_ns"], kind="stable")
    # A stable sort by time must not reorder one instrument's own messages.
    assert all(np.all(np.diff(as_ticks(m, 0)["exch_ns"]) >= 0) for m in per_slot)
    ticks = ticks[order]
    open_ns, close_ns = recorded_day.session_ns(day)
    kernels = _kernels.Kernels(len(per_slot), open_ns=open_ns, close_ns=close_ns)
    rows, out = np.zeros(batch, KERNEL_ROW), np.zeros(4 * max(batch, len(per_slot)), BAR)
    closed = []
    for i in range(0, len(ticks), batch):
        part = ticks[i : i + batch]
        closed.append(out[: kernels.run(part, len(part), rows, out)].copy())
    closed.append(out[: kernels.flush(close_ns, out)].copy())
    bars = np.concatenate(closed)
    found: list[dict[int, list[Bar]]] = []
    for slot in range(len(per_slot)):
        mine = bars[bars["slot"] == slot]
        found.append({})
        for period in recorded_day.PERIODS_S:
            rows_of = mine[mine["period_s"] == period][list(FIELDS)].tolist()
            found[-1][period] = [Bar(*row) for row in rows_of]
    return found


def test_recorded_feed(data_dir: Path):
    folder = data_dir / "upstox_v3_20251215"
    files = sorted(folder.glob("*.jsonl.xz"))
    messages = [recorded_day.recorded_messages(path) for path in files]
    assert (len(files), sum(map(len, messages))) == (9, 216_593)
    expected = [recorded_day.bars_of(m, "2025-12-15") for m in messages]
    assert min(len(e[1]) for e in expected) > 1000
    assert compiled_bars(messages, "2025-12-15") == expected


@pytest.mark.parametrize(
    ("name", "reader", "day"),
    [
        ("upstox_index_ticks/SENSEX_04_08.csv.xz", recorded_day.index_messages, "2025-08-04"),
        ("upstox_index_ticks/SENSEX_05_08.csv.xz", recorded_day.index_messages, "2025-08-05"),
        ("upstox_index_ticks/SENSEX_07_08.csv.xz", recorded_day.index_messages, "2025-08-07"),
        ("upstox_index_ticks/SENSEX_12_08.csv.xz", recorded_day.index_messages, "2025-08-12"),
        ("upstox_option_ticks/SNX_81300_CE_01_08.csv.xz", recorded_day.option_messages, "2025-08-01"),
        ("nifty_1s/NIFTY_2022-08-29.csv.xz", recorded_day.nifty_messages, "2022-08-29"),
        ("nifty_1s/NIFTY_2022-11-09.csv.xz", recorded_day.nifty_messages, "2022-11-09"),
    ],
)
def test_instruments_without_day_volume(data_dir: Path, name, reader, day):
    messages = reader(data_dir / name)
    expected = recorded_day.bars_of(messages, day)
    assert len(expected[60]) > 60
    assert compiled_bars([messages], day) == [expected]
