"""Recorded rows as Parquet: every value as it was recorded, in order of time, or no file at all."""

from __future__ import annotations

import errno
import hashlib
import heapq
import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reference.recorded_rows import Row, rows_of
from typer.testing import CliRunner

from kite_hft.app.files import convert, parquet_file
from kite_hft.app.verbs import app
from kite_hft.engine.runs.runs import NoRun
from kite_hft.layout import TICK, TickFlag, TickKind
from kite_hft.memory.recording import Gap, GapReason, Kind, Origin, RecordingError, file_name
from kite_hft.memory.recording_rows import RowFile
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments
from kite_hft.trading.instruments import read_csv, write_csv

START_NS = 1_795_000_000_000_000_000
MONO_NS = 5_000_000_000_000
INSTRUMENTS = 60  # with two indices, and a currency future of another scale
CONNECTIONS = 3


def market(n: int) -> np.ndarray:
    """TICKs of a synthetic market, with what the wire leaves out now and then."""
    table, base = default_instruments(INSTRUMENTS, 1)
    _, ticks = SyntheticMarket(table, base, 2.0, 1, START_NS).take(1 << 62, n)
    random = np.random.default_rng(4)
    ticks["recv_ns"] = MONO_NS + np.cumsum(random.integers(0, 3, n) * 400_000)  # also equal ones
    ticks["connection"] = ticks["slot"] % CONNECTIONS
    ltp = random.random(n) < 0.2
    ticks["kind"][ltp], ticks["flags"][ltp] = TickKind.LTP, 0
    bare = ltp & (random.random(n) < 0.5)  # as Kite has them; Upstox's ltpc tells these two
    ticks["last_qty"][bare] = ticks["close_px"][bare] = 0
    return ticks


def record(folder: Path, ticks: np.ndarray, gaps: bool = True) -> Path:
    """A run folder as the recorder leaves it; a restart with another clock on connection 1."""
    folder.mkdir()
    write_csv(default_instruments(INSTRUMENTS, 1)[0], folder / "instruments.csv")
    digest = hashlib.sha256((folder / "instruments.csv").read_bytes()).hexdigest()
    for connection in range(CONNECTIONS):
        mine = np.ascontiguousarray(ticks[ticks["connection"] == connection])
        mine["seq"] = np.arange(len(mine))
        origin = Origin(Kind.ROWS, connection, digest, MONO_NS, START_NS + connection * 700)
        writer = RecordingWriter(folder / file_name(Kind.ROWS, connection), origin, b"boot", 1 << 16)
        half = len(mine) // 2
        writer.write_rows(mine, half, half)
        if gaps and connection == 1:
            at_ns = int(mine["recv_ns"][half])
            for gap in (Gap(at_ns, 17, GapReason.RESTART, 0), Gap(at_ns, 3, GapReason.TOO_SLOW, 0)):
                writer.write_gap(gap, START_NS - MONO_NS + 5_000, half)
        rest = np.ascontiguousarray(mine[half:])
        writer.write_rows(rest, len(rest), len(mine))
        writer.close()
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "run", market(20_000))


def expected(folder: Path) -> list[tuple[int, Row]]:
    """All rows in order of reception; of equal times, the lower connection first."""
    streams = [rows_of(folder / file_name(Kind.ROWS, number))[0] for number in range(CONNECTIONS)]
    return list(heapq.merge(*streams, key=lambda one: one[1].recv_ns))


def same(table: pa.Table, wanted: list[tuple[int, Row]], folder: Path) -> None:
    """Each value of each column against the plain reading."""
    instruments = read_csv(folder / "instruments.csv")
    columns = {
        name: (
            table[name].cast(pa.int64()) if pa.types.is_timestamp(table.schema.field(name).type)
            else table[name]
        ).to_pylist()
        for name in table.column_names
    }  # fmt: skip

    def carried(flag: int, of: Any) -> list[Any]:
        return [of(row) if row.flags & flag else None for _, row in wanted]

    def told(flag: int, of: Any) -> list[Any]:
        """Without the rest of their group it is there when it is not 0."""
        return [of(row) if row.flags & flag or of(row) else None for _, row in wanted]

    def inr(px: int, row: Row) -> float:
        return px / instruments[row.slot].scale

    kinds = {int(kind): kind.name.lower() for kind in TickKind}
    assert columns["received_at"] == [real_ns for real_ns, _ in wanted]
    assert columns["exchange_at"] == carried(16, lambda row: row.exch_ns)
    assert columns["instrument"] == [instruments[row.slot].key for _, row in wanted]
    assert columns["last_inr"] == [inr(row.last_px, row) for _, row in wanted]
    assert columns["bid_inr"] == carried(4, lambda row: inr(row.bid_px, row))
    assert columns["ask_inr"] == carried(4, lambda row: inr(row.ask_px, row))
    assert columns["close_inr"] == told(2, lambda row: inr(row.close_px, row))
    assert columns["last_qty"] == told(1, lambda row: row.last_qty)
    assert columns["volume_qty"] == carried(1, lambda row: row.volume)
    assert columns["oi_qty"] == carried(8, lambda row: row.oi)
    assert columns["kind"] == [kinds[row.kind] for _, row in wanted]
    assert columns["flags"] == [row.flags for _, row in wanted]
    assert columns["connection"] == [row.connection for _, row in wanted]
    assert columns["seq"] == [row.seq for _, row in wanted]
    assert len(columns) == 14
    # Rupees give the recorded integer again.
    scales = [instruments[row.slot].scale for _, row in wanted]
    back = [round(price * scale) for price, scale in zip(columns["last_inr"], scales, strict=True)]
    assert back == [row.last_px for _, row in wanted]


@pytest.mark.parametrize("held", [3, 100, 4099, 1 << 19])
def test_every_value_comes_back_in_order_of_time(run_folder: Path, tmp_path: Path, held: int) -> None:
    wanted = expected(run_folder)[: 20_000 if held > 1000 else 200]
    out = tmp_path / "out.parquet"
    files = [RowFile(path) for path in convert.recordings(run_folder)]
    if held <= 1000:  # small pieces of the beginning: the rest of a file is as if not yet recorded
        for file in files:
            file.count = sum(row.connection == file.origin.connection for _, row in wanted)
    with out.open("wb") as sink:
        instruments = convert.instruments_of(files)
        assert parquet_file.write(sink, files, instruments, rows_held=held) == len(wanted)
    same(pq.read_table(out), wanted, run_folder)
    for file in files:
        file.close()


def test_the_fixture_holds_what_it_is_to_prove(run_folder: Path) -> None:
    rows = [row for _, row in expected(run_folder)]
    assert len({row.flags for row in rows}) >= 3 and len({row.kind for row in rows}) >= 3
    assert any(a.recv_ns == b.recv_ns and a.connection != b.connection
               for a, b in itertools.pairwise(rows))  # fmt: skip
    table = read_csv(run_folder / "instruments.csv")
    assert len({row.scale for row in table}) >= 2


def test_gaps_and_origins_stand_in_the_metadata(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert convert.run(run_folder, out) == (20_000, 20)
    notes = {k.decode(): v.decode() for k, v in pq.read_metadata(out).metadata.items()}
    gaps = json.loads(notes["kite_hft.gaps"])
    _, recorded = rows_of(run_folder / "ticks-1.rec")
    assert [(g["lost"], g["reason"], g["connection"]) for g in gaps] == [
        (17, "RESTART", 1),
        (3, "TOO_SLOW", 1),
    ]
    assert [g["at_ns"] for g in gaps] == [row.recv_ns + row.exch_ns for row in recorded]
    assert gaps[0]["rows_before"] == gaps[1]["rows_before"] > 0
    assert (notes["kite_hft.rows"], notes["kite_hft.lost"]) == ("20000", "20")
    sources = json.loads(notes["kite_hft.sources"])
    assert [s["file"] for s in sources] == ["ticks-0.rec", "ticks-1.rec", "ticks-2.rec"]
    assert all(s["closed"] and not s["cut"] and not s["steps_back"] for s in sources)
    assert sum(s["rows"] for s in sources) == 20_000


def test_units_and_types_are_told_and_encodings_are_as_chosen(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    convert.run(run_folder, out)
    schema = pq.read_schema(out)
    assert schema.field("last_inr").metadata[b"unit"] == b"rupees"
    assert schema.field("received_at").type == pa.timestamp("ns", "Asia/Kolkata")
    assert str(schema.field("instrument").type).startswith("dictionary")
    group = pq.read_metadata(out).row_group(0)
    found = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    assert "DELTA_BINARY_PACKED" in found["received_at"] and "BYTE_STREAM_SPLIT" in found["last_inr"]
    assert "RLE_DICTIONARY" in found["instrument"] and "RLE_DICTIONARY" in found["close_inr"]
    assert {group.column(i).compression for i in range(group.num_columns)} == {"ZSTD"}


def test_one_file_alone_and_rows_behind_their_clock(tmp_path: Path) -> None:
    ticks = market(400)
    ticks["recv_ns"][200] -= 10**9
    folder = record(tmp_path / "run", ticks, gaps=False)
    one = folder / f"ticks-{ticks['connection'][200]}.rec"
    assert convert.default_target(one) == one.with_suffix(".parquet")
    assert convert.default_target(folder) == folder / "ticks.parquet"
    convert.run(one, tmp_path / "one.parquet")
    table = pq.read_table(tmp_path / "one.parquet")
    assert table["seq"].to_pylist() == list(range(len(table)))  # as it was recorded, whatever the clock says
    notes = pq.read_metadata(tmp_path / "one.parquet").metadata
    assert json.loads(notes[b"kite_hft.sources"])[0]["steps_back"] == 1
    convert.run(folder, tmp_path / "all.parquet")
    assert pq.read_metadata(tmp_path / "all.parquet").num_rows == 400


def test_a_recording_without_rows_and_one_that_lost_its_end(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", market(300), gaps=False)
    first = folder / "ticks-0.rec"
    data = bytearray(first.read_bytes())
    data[-64:] = bytes(64)  # promised by the disk, never written
    first.write_bytes(data)
    convert.run(folder, tmp_path / "out.parquet")
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 299
    empty = record(tmp_path / "empty", market(300)[:0], gaps=False)
    convert.run(empty, tmp_path / "none.parquet")
    table = pq.read_table(tmp_path / "none.parquet")
    assert len(table) == 0 and table.schema.names == parquet_file.SCHEMA.names


def refused(*words: object) -> str:
    found = CliRunner().invoke(app, ["convert", *map(str, words)])
    assert found.exit_code == 1 and "Traceback" not in found.output
    return found.output


def test_what_cannot_be_converted_is_said_in_one_line(run_folder: Path, tmp_path: Path) -> None:
    out, no = tmp_path / "out.parquet", tmp_path / "notes.txt"
    no.write_text("no recording")
    assert "not a recording" in refused(no, out)
    assert "No such file" in refused(tmp_path / "nowhere.rec", out)
    assert "holds no recorded rows" in refused(tmp_path, out)
    frames = tmp_path / "frames"
    frames.mkdir()
    origin = Origin(Kind.FRAMES, 0, "d", 1, 2)
    RecordingWriter(frames / "frames-0.rec", origin, b"boot", 1 << 16).close()
    assert "raw frames" in refused(frames, out) and "raw frames" in refused(frames / "frames-0.rec", out)
    alone = tmp_path / "ticks-0.rec"
    alone.write_bytes((run_folder / "ticks-0.rec").read_bytes())
    assert "instrument list beside it" in refused(alone, out)
    (tmp_path / "instruments.csv").write_text("another one")
    assert "another instruments.csv" in refused(alone, out)
    assert not list(tmp_path.glob("*.parquet"))


def test_an_output_that_exists_is_never_touched(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.write_text("mine")
    assert "exists" in refused(run_folder, out)
    with pytest.raises(NoRun, match="exists by now"), convert.new_file(out) as sink:
        sink.write(b"x")  # it came while we were writing
    assert out.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["out.parquet"]


def test_files_of_different_runs_are_not_mixed(tmp_path: Path) -> None:
    folder = record(tmp_path / "run", market(300), gaps=False)
    digest = hashlib.sha256((folder / "instruments.csv").read_bytes()).hexdigest()
    origin = Origin(Kind.ROWS, 3, digest, 0, START_NS)  # of another boot
    RecordingWriter(folder / "ticks-3.rec", origin, b"other", 1 << 16).close()
    with pytest.raises(RecordingError, match=r"ticks-3\.rec: was not recorded in the same run"):
        convert.run(folder, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_a_full_disk_leaves_nothing(run_folder: Path, tmp_path: Path) -> None:
    """The kernel refuses the file's growth, as it does on a full disk."""
    script = "import sys; from kite_hft.app.cli import main; sys.argv[0] = 'kite-hft'; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "convert", str(run_folder), str(tmp_path / "out.parquet")],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1 and "no room in" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_nothing_is_left_by_what_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool, problem: BaseException
) -> None:
    without_nameless_files(monkeypatch, named)
    with pytest.raises((NoRun, KeyboardInterrupt)), convert.new_file(tmp_path / "out.parquet") as sink:
        sink.write(b"half")
        raise problem
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("named", [False, True])
def test_a_whole_file_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    without_nameless_files(monkeypatch, named)
    with convert.new_file(tmp_path / "out.parquet") as sink:
        sink.write(b"whole")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out.parquet", b"whole")]


def without_nameless_files(monkeypatch: pytest.MonkeyPatch, wanted: bool) -> None:
    """A file system that does not know O_TMPFILE."""
    real = os.open

    def opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *rest, **more)

    if wanted:
        monkeypatch.setattr(os, "open", opened)


def test_the_verb(run_folder: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["convert", str(run_folder), str(tmp_path / "out.parquet")])
    assert found.exit_code == 0, found.output
    assert "20,000 rows" in found.output and "20 rows are missing" in found.output
    assert (tmp_path / "out.parquet").stat().st_mode & 0o777 == 0o600


def test_flags_of_the_reference_are_those_of_the_layout() -> None:
    names = ("TRADE", "OHLC", "DEPTH", "OI", "EXCHANGE_TIME")
    assert [TickFlag[name] for name in names] == [1, 2, 4, 8, 16]
    assert TICK.itemsize == 192
