"""Closed bars on the disk, and a disk that takes no more of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kite_hft.engine.market.bar_file import BarFile
from kite_hft.layout import BAR


def bars(*slots: int) -> np.ndarray:
    made = np.zeros(len(slots), BAR)
    made["slot"] = slots
    return made


def test_bars_are_kept_as_far_as_a_snapshot_tells(tmp_path: Path) -> None:
    path, told = tmp_path / "bars-0.bin", list[tuple[str, str]]()
    file = BarFile(path, lambda name, why: told.append((name, why)))
    file.write(bars(1, 2))
    kept = file.length()
    assert kept == path.stat().st_size == 2 * BAR.itemsize
    file.write(bars(3))
    file.close()
    again = BarFile(path, lambda name, why: told.append((name, why)), kept)
    again.write(bars(4))
    again.close()
    assert np.fromfile(path, BAR)["slot"].tolist() == [1, 2, 4] and not told


def test_a_full_disk_is_told_once_and_nothing_else_stops(tmp_path: Path) -> None:
    path, told = tmp_path / "full", list[tuple[str, str]]()
    path.symlink_to("/dev/full")
    file = BarFile(path, lambda name, why: told.append((name, why)))
    for _ in range(3):
        file.write(bars(*range(50_000)))
        assert file.length() == 0
    file.close()
    assert told == [("full", "No space left on device")]


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    told = list[tuple[str, str]]()
    file = BarFile(tmp_path / "gone" / "bars-0.bin", lambda name, why: told.append((name, why)), 64)
    file.write(bars(1))
    assert (file.length(), told) == (64, [("bars-0.bin", "No such file or directory")])
    file.close()
