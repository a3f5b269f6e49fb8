"""`kite-hft convert`: recorded rows to Parquet, beside what others write with the same columns.

    python benchmarks/bench_convert.py [--rows 4000000] [--rounds 5] [--folder DIR] [--quick]

Some minutes of 9,000 instruments on three connections (recorded_days.py: synthetic, and made from a
real feed where that is at hand), converted whole: read, merged in order of time, converted, encoded,
written, synced. Figures are rows per CPU second of the whole process, its threads and the kernel's work
included, and bytes a row of the file; "by the clock" is wall time, with fsync. The recordings are in
the page cache. Bytes a row do not depend on the length of the recording: each row group of about
half a million rows is encoded for itself. --quick is dominated by reading the instrument list.

pandas, polars, pyarrow and DuckDB get the columns ready in memory, in order of time, and write them with
their own defaults (peers/parquet_writers.py): they are spared the reading, merging and converting.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kit
import lasting
import numpy as np
import recorded_days

from kite_hft.app.files import convert

RIVALS = ("pandas", "polars", "pyarrow", "duckdb")
CLOCK = "kite_hft, by the clock"


def day(name: str, ticks: np.ndarray, folder: Path, rounds: int) -> tuple[kit.Row, kit.Row]:
    """The rows of speed and size for one recording."""
    run, out = recorded_days.write(folder / name, ticks), folder / f"{name}.parquet"
    span_s = (int(ticks["recv_ns"][-1]) - int(ticks["recv_ns"][0])) / 1e9
    what = f"{name}, {len(ticks) / 1e6:.1f} M rows of {span_s:.0f} s"
    speed = kit.Row(f"to Parquet: {what}", "M rows/s", "more", [kit.Target(None, at_least=2.5)])
    size = kit.Row(f"Parquet: {what}", "bytes a row", "less", [kit.Target(None, at_most=24.0)])
    walls: list[float] = []

    def ours() -> float:
        out.unlink(missing_ok=True)
        wall, began = time.perf_counter(), time.process_time()
        rows, lost = convert.run(run, out)
        seconds = time.process_time() - began
        walls.append(rows / (time.perf_counter() - wall) / 1e6)
        if rows != len(ticks) or lost:
            raise SystemExit(f"bench: {rows:,} rows of {len(ticks):,} came out, {lost:,} lost")
        return rows / seconds / 1e6

    contenders: dict[str, Callable[[], float]] = {kit.OURS: ours, CLOCK: lambda: walls[-1]}
    ours()
    with contextlib.ExitStack() as stack:
        source = folder / "source.parquet"
        out.replace(source)
        size.figures[kit.OURS] = [source.stat().st_size / len(ticks)]
        for rival in RIVALS:
            ask = stack.enter_context(lasting.rival("parquet", "parquet_writers.py", rival, source, folder))
            if ask is None:
                speed.notes[rival] = size.notes[rival] = "cannot be had here: not installed, or no figure"
                continue
            answer = ask()
            speed.notes[rival] = size.notes[rival] = f"{answer['version']}, columns ready in memory"
            size.figures[rival] = [answer["bytes_a_row"]]
            contenders[rival] = lasting.figure(ask)
        kit.measure(speed, contenders, rounds)
    return speed, size


def main() -> None:
    parser = kit.options(__doc__, rounds=5)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on which disk")
    options = parser.parse_args()
    rows = options.rows // 8 if options.quick else options.rows
    found: list[kit.Row] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        for make in (recorded_days.synthetic, recorded_days.recorded):
            ticks = make(rows)
            if ticks is None:
                row = kit.Row("to Parquet: recorded", "M rows/s", "more", [kit.Target(None, at_least=2.5)])
                row.notes[kit.OURS] = "the real feed is not at hand; it is no part of the project"
                found.append(row)
                continue
            found += day(make.__name__, ticks, Path(scratch), options.rounds)
    kit.write("convert", found, options.json)


if __name__ == "__main__":
    main()
