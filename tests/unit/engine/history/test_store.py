"""A file of bars is whole and its own, or it is refused."""

from __future__ import annotations

import datetime as dt
import os
import stat
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from history_tools import SBIN, weekdays

from kite_hft.engine.history import replacing, store
from kite_hft.engine.history.store import Stored, StoreError

DAYS = weekdays("2026-06-01", 9)
ONE = Stored("NSE:SBIN", SBIN.token, "", "kite", dt.date(2000, 1, 3), 123, dt.date(2026, 6, 10), DAYS)


def same(found: Stored | None) -> bool:
    """Field by field: from Python 3.13 on a dataclass does not compare with an array inside."""
    if found is None or not np.array_equal(found.days, DAYS):
        return False
    return all(getattr(found, f.name) == getattr(ONE, f.name) for f in fields(ONE) if f.name != "days")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    assert store.read(tmp_path, "NSE:SBIN") is None
    store.write(tmp_path, ONE)
    found = store.read(tmp_path, "NSE:SBIN")
    assert same(found)
    assert not same(replace(ONE, asked_ns=124))
    path = store.path_of(tmp_path, "NSE:SBIN")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["SBIN.parquet"]


@pytest.mark.parametrize("key", ["NSE:M&M", "NSE:NIFTY 50", "NFO:A/B..", "MCX:Ü%2F"])
def test_every_name_has_a_file_inside_the_folder(tmp_path: Path, key: str) -> None:
    store.write(tmp_path, replace(ONE, key=key))
    assert store.path_of(tmp_path, key).resolve().is_relative_to(tmp_path)
    found = store.read(tmp_path, key)
    assert found is not None and found.key == key


def test_no_bit_of_the_rows_can_flip(tmp_path: Path) -> None:
    """Whatever byte is damaged: refused, or the same rows (a byte that nothing is read from)."""
    store.write(tmp_path, ONE)
    path = store.path_of(tmp_path, "NSE:SBIN")
    whole, refused = path.read_bytes(), 0
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            found = store.read(tmp_path, "NSE:SBIN")
        except StoreError:
            refused += 1
            continue
        assert same(found)
    assert refused > len(whole) / 7 / 3


def test_a_file_of_another_instrument_is_refused(tmp_path: Path) -> None:
    store.write(tmp_path, ONE)
    os.rename(store.path_of(tmp_path, "NSE:SBIN"), store.path_of(tmp_path, "NSE:INFY"))
    with pytest.raises(StoreError, match="holds NSE:SBIN"):
        store.read(tmp_path, "NSE:INFY")


def test_a_write_that_fails_leaves_the_file_before_it(tmp_path: Path) -> None:
    store.write(tmp_path, ONE)

    def fill(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no room")

    path = store.path_of(tmp_path, "NSE:SBIN")
    with pytest.raises(OSError, match="no room"):
        replacing.replace(path, fill)
    assert store.read(tmp_path, "NSE:SBIN") is not None
    assert len(list(path.parent.iterdir())) == 1


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut leaves the file before it, or the new one whole."""
    done: list[str] = []
    sync, replaced = os.fsync, Path.replace

    def synced(fd: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        sync(fd)

    def named(path: Path, target: Path) -> Path:
        done.append("name")
        return replaced(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", named)
    store.write(tmp_path, ONE)
    assert done == ["file", "name", "folder"]
