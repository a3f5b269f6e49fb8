"""Instrument lists on the disk: whole or refused, of their day, and the last days alone."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import replace
from pathlib import Path

import pytest
from master_tools import at_upstox, columns, market, share

from kite_hft.engine.plan import master_cache
from kite_hft.engine.plan.master_cache import (
    KEPT,
    Mark,
    MasterError,
    cache_dir,
    days_of,
    folder_of,
    load,
    newest_before,
    packed,
    path_of,
    save,
)
from kite_hft.trading.lists.columns import Columns

DAY = dt.date(2026, 8, 17)
NOW_NS = 1_786_940_000 * 10**9


def mark(day: dt.date = DAY, n: int = 2, source: str = "kite") -> Mark:
    return Mark("kite", source, day.isoformat(), NOW_NS, n, "ab" * 32)


def listed() -> Columns:
    return columns(*market(), *(at_upstox(share(f"S{n}", 90_000 + n, barred="why, not")) for n in range(5)))


def test_a_list_comes_back_as_it_was(tmp_path: Path) -> None:
    made = listed()
    path = save(tmp_path, mark(n=len(made)), made)
    assert path == path_of(tmp_path, "kite", DAY) and path.name == "kite-2026-08-17.arrow"
    found, again = load(path)
    assert found == mark(n=len(made)) and again.table().rows == made.table().rows
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert os.listdir(path.parent) == [path.name], "nothing beside it"


def test_any_program_can_read_it(tmp_path: Path) -> None:
    import pyarrow as pa

    path = save(tmp_path, mark(n=41), listed())
    with pa.ipc.open_stream(path) as stream:
        table = stream.read_all()
    assert (
        table.num_rows == 41
        and table["symbol"][0].as_py() == "SBIN"
        and table["exchange"][0].as_py() == "NSE"
    )


def test_every_cut_and_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    made = columns(*market()[:2])
    path = save(tmp_path, mark(), made)
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(MasterError, match=r"half-written|damaged"):
            load(path)
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        with pytest.raises(MasterError, match=r"half-written|damaged.*kite-hft instruments refresh"):
            load(path)
    path.write_bytes(whole + whole)
    with pytest.raises(MasterError, match="damaged"):
        load(path)


def test_what_is_whole_but_not_what_it_says(tmp_path: Path) -> None:
    made = columns(*market()[:2])
    place = path_of(tmp_path, "kite", DAY)
    place.parent.mkdir(parents=True)
    for said, message in (
        (mark(n=3), "says 2 rows and has 2"),
        (mark(DAY - dt.timedelta(1)), "holds the list of kite of 2026-08-16"),
        (mark(source="upstox"), "holds the list of upstox of 2026-08-17"),
    ):
        place.write_bytes(packed(said, made))
        with pytest.raises(MasterError, match=message):
            load(place)
    place.write_bytes(packed(mark(n=0), columns()))
    with pytest.raises(MasterError, match="0 rows"):
        load(place)
    with pytest.raises(MasterError, match="no such list: kite-hft instruments refresh"):
        load(path_of(tmp_path, "kite", DAY + dt.timedelta(1)))


def test_a_write_that_fails_leaves_the_list_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, mark(), columns(*market()[:2]))
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(master_cache.os, "fsync", full)
    with pytest.raises(MasterError, match=r"cannot be kept .* No space left .* XDG_CACHE_HOME"):
        save(tmp_path, mark(n=3), columns(*market()[:3]))
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_the_last_days_stay(tmp_path: Path) -> None:
    made = columns(*market()[:2])
    days = [DAY + dt.timedelta(n) for n in range(KEPT + 3)]
    for day in days:
        save(tmp_path, mark(day), made)
    other = save(tmp_path, mark(days[0], source="kite@127.0.0.1-80"), made)
    assert [day for day, _ in days_of(tmp_path, "kite")] == days[3:] and other.exists()
    assert [day for day, _ in days_of(tmp_path, "kite@127.0.0.1-80")] == days[:1]
    (folder_of(tmp_path) / "kite-2026-99-99.arrow").touch()
    assert len(days_of(tmp_path, "kite")) == KEPT


def test_yesterday_is_the_newest_whole_list_before(tmp_path: Path) -> None:
    made = columns(*market()[:2])
    for back in (1, 3, 4):
        save(tmp_path, mark(DAY - dt.timedelta(back)), made)
    path_of(tmp_path, "kite", DAY - dt.timedelta(1)).write_bytes(b"half")
    found = newest_before(tmp_path, "kite", DAY)
    assert found is not None and found[0].day == "2026-08-14"
    assert newest_before(tmp_path, "kite", DAY - dt.timedelta(4)) is None


def test_where_the_cache_is() -> None:
    assert cache_dir({"XDG_CACHE_HOME": "/a"}) == Path("/a")
    assert cache_dir({"XDG_CACHE_HOME": "a"}) == cache_dir({}) == Path.home() / ".cache"
    assert replace(mark(), accepted=True).accepted
