"""Record a run, play it back, run again: the same ticks, the same bars; and a recorder that is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from kite_hft.layout import BAR
from kite_hft.memory.recording import GapReason, Recording, describe
from kite_hft.verify.prices.chain import Done, run_pair

CONFIG = Path("config").resolve()
SIMULATOR = [sys.executable, "-m", "kite_hft.sim", "--port", "0", "--no-limits", "--die-with-parent"]
BAR_FIELDS = ("slot", "period_s", "start_ns", "open_px", "high_px", "low_px", "close_px", "volume", "ticks")


def configure(told: dict[str, str], account: str, **datafeed: Any) -> dict[str, Any]:
    return {
        "mode": "sim",
        "account": account,
        "kite": {
            "ws_url": told["ws"],
            "api_url": told["api"],
            "api_key": told["api_key"],
            "access_token": told["access_token"],
        },
        "datafeed": {"mode": "full", "store_bars": True, **datafeed},
        "trading": {
            "date": "2026-11-20",
            "calendar": str(CONFIG / "calendar/india.yaml"),
            "rules": str(CONFIG / "rules/kite_2026-04-01.yaml"),
            "charges": str(CONFIG / "rules/charges_zerodha_2026-04-01.yaml"),
            "market": str(CONFIG / "rules/market_2026-08-03.yaml"),
        },
        "performance": {"ring_buffer_size": 65536},
    }


def run(
    folder: Path, account: str, simulator: list[str], look: Any = None, **datafeed: Any
) -> tuple[Done, Path]:
    """One run of simulator and engine; what was counted, and the run's folder."""
    folder.mkdir()
    done = run_pair(
        [*SIMULATOR, *simulator],
        lambda told: configure(told, account, **datafeed),
        folder,
        look or (lambda *_: None),
    )
    assert done.code == 0 and done.report, done
    ticks = done.report["ticks"]
    assert ticks["lost"] == 0 and done.stats["ticks"] == ticks["received"] == ticks["computed"]
    return done, (folder / f"kite_hft/kite-{account}/latest").resolve()


def synthetic(seconds: float) -> list[str]:
    return ["--instruments", "120", "--rate", "10", "--packets-per-frame", "7", "--seed", "5",
            "--exchange-time", "2026-11-20T10:00:00", "--market-seconds", str(seconds),
            "--start-when-subscribed", "120"]  # fmt: skip


def bars(folder: Path) -> list[tuple[int, ...]]:
    found = [np.fromfile(file, BAR) for file in sorted(folder.glob("bars-*.bin"))]
    whole = np.concatenate(found)
    return sorted(zip(*(whole[name].tolist() for name in BAR_FIELDS), strict=True))


def test_a_recorded_run_played_back_is_the_same_run(tmp_path: Path) -> None:
    first, folder = run(
        tmp_path / "first", "RECA", synthetic(3), store_ticks=True, tick_storage_format="both", connections=2
    )
    ticks = first.report["ticks"]
    assert ticks["received"] > 3_000
    rows = [describe(folder / f"ticks-{c}.rec") for c in (0, 1)]
    frames = [describe(folder / f"frames-{c}.rec") for c in (0, 1)]
    assert sum(r["count"] for r in rows) == ticks["received"]
    heartbeats = sum(c["heartbeats"] for c in ticks["by_connection"])
    assert sum(f["count"] for f in frames) == sum(c["frames"] for c in ticks["by_connection"]) + heartbeats
    assert all(d["closed"] and not d["gaps"] for d in (*rows, *frames))
    expected = bars(folder)
    assert len(expected) > 300
    for name, files, speed in (("rows", "ticks-*.rec", "0"), ("frames", "frames-*.rec", "3")):
        played = tmp_path / name
        played.mkdir()
        for file in (*folder.glob(files), folder / "instruments.csv"):
            os.link(file, played / file.name)
        again, second = run(
            tmp_path / f"{name}-run", "RECB",
            ["--replay", str(played), "--speed", speed, "--start-when-subscribed", "120"], connections=2,
        )  # fmt: skip
        assert again.report["ticks"]["received"] == ticks["received"]
        assert again.report["ticks"]["checksum"] == ticks["checksum"]
        assert bars(second) == expected
        assert not list(second.glob("*.rec"))  # nothing is recorded unless it is asked for


def recorder_of(engine_pid: int) -> psutil.Process | None:
    for child in psutil.Process(engine_pid).children():
        if child.name() == "recorder":
            return child
    return None


def test_a_killed_recorder_is_started_again_and_loses_nothing_that_the_rings_held(tmp_path: Path) -> None:
    killed: list[int] = []

    def look(stats: dict[str, Any], engine_pid: int, simulator_pid: int) -> None:
        due = (len(killed) + 1) * 1_500
        if len(killed) < 2 and stats.get("ticks", 0) > due:
            process = recorder_of(engine_pid)
            if process is not None and process.pid not in killed:
                killed.append(process.pid)
                process.send_signal(signal.SIGKILL)

    done, folder = run(
        tmp_path / "run", "RECC", synthetic(6), look, store_ticks=True, tick_storage_format="both"
    )
    assert len(killed) == 2
    rows, frames = Recording(folder / "ticks-0.rec"), Recording(folder / "frames-0.rec")
    assert [gap.reason for gap in rows.gaps] == [GapReason.RESTART] * 2 and rows.closed
    assert sum(gap.lost for gap in rows.gaps) == 0  # the rings hold more than a restart takes
    assert len(rows) == done.report["ticks"]["received"]
    assert np.array_equal(rows.rows["seq"], np.arange(len(rows)))
    numbers = [number for _, number, _ in frames.frames]
    assert numbers == list(range(1, len(numbers) + 1))
