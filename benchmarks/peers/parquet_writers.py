"""Other ways to the Parquet file of bench_convert.py: one figure a line of input.

    parquet_writers.py pandas|polars|pyarrow|duckdb SOURCE FOLDER

SOURCE is our own conversion: the columns to write are read from it before the clock runs, so these
writers get them ready, in order of time and named; ours has to read, merge and convert them first. All
write them with what the package does when nothing is said, on one thread. figure: million rows per
CPU second of the process; bytes_a_row: of the file. What they wrote is read back and compared.
"""

import importlib.metadata
import json
import os
import sys
import time

os.environ["POLARS_MAX_THREADS"] = "1"

import pyarrow as pa
import pyarrow.parquet as pq

pa.set_cpu_count(1)
pa.set_io_thread_count(1)


def pandas_writer(source):
    frame = pq.read_table(source).to_pandas()
    return lambda path: frame.to_parquet(path)


def polars_writer(source):
    import polars

    frame = polars.read_parquet(source)
    return lambda path: frame.write_parquet(path)


def pyarrow_writer(source):
    table = pq.read_table(source)
    return lambda path: pq.write_table(table, path)


def duckdb_writer(source):
    import duckdb

    base = duckdb.connect(config={"threads": 1})
    base.execute("CREATE TABLE ticks AS SELECT * FROM read_parquet(?)", [source])
    return lambda path: base.execute(f"COPY ticks TO '{path}' (FORMAT parquet)")


def same(source, path):
    """Raises SystemExit: what was written is not what ours holds."""
    ours, theirs = pq.read_table(source), pq.read_table(path)
    for name in ("last_inr", "ask_inr", "volume_qty", "seq", "oi_qty"):
        if not ours[name].combine_chunks().equals(theirs[name].combine_chunks().cast(ours[name].type)):
            raise SystemExit(f"{name} differs")


def main() -> None:
    name, source, folder = sys.argv[1:]
    makers = {"pandas": pandas_writer, "polars": polars_writer, "pyarrow": pyarrow_writer}
    write = (makers | {"duckdb": duckdb_writer})[name](source)
    rows, path = pq.read_metadata(source).num_rows, os.path.join(folder, f"{name}.parquet")
    checked = False
    for _ in sys.stdin:
        began = time.process_time()
        write(path)
        seconds = time.process_time() - began
        if not checked:
            same(source, path)
            checked = True
        answer = {
            "figure": rows / seconds / 1e6,
            "bytes_a_row": os.path.getsize(path) / rows,
            "version": f"{name} {importlib.metadata.version(name)}",
        }
        os.unlink(path)
        print(json.dumps(answer), flush=True)


main()
