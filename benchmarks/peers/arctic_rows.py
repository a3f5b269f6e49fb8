"""ArcticDB on the task of bench_recorder.py: one figure a line of input.

    arctic_rows.py FOLDER ROWS APPEND

ROWS distinct rows with the columns of a compact row, in appends of APPEND rows to one symbol of an LMDB
library in FOLDER, without versions kept. No two appends are alike: it compresses, and repeated
rows would be stored, and written, as next to nothing. The frames are ready before the clock runs;
everything is read back and compared. figure: million rows per CPU second of the process, its
threads included.
"""

import json
import os
import shutil
import sys
import time

import arcticdb
import numpy as np
import pandas as pd

COLUMNS = {
    "seq": "u8", "recv_ns": "i8", "exch_ns": "i8", "volume": "i8", "slot": "u4", "flags": "u2", "kind": "u1",
    "connection": "u1", "last_px": "i4", "last_qty": "u4", "bid_px": "i4", "ask_px": "i4", "close_px": "i4",
    "oi": "u4",
}  # fmt: skip


def main() -> None:
    folder, rows, append = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    place = os.path.join(folder, f"arctic-{append}")
    random, appends = np.random.default_rng(1), max(2, rows // append)
    total = appends * append
    whole = {
        name: np.frombuffer(random.bytes(total * np.dtype(kind).itemsize), kind)
        for name, kind in COLUMNS.items()
    }
    frames = [
        pd.DataFrame(
            {name: values[at : at + append] for name, values in whole.items()},
            index=pd.RangeIndex(at, at + append),
        )
        for at in range(0, total, append)
    ]
    for _ in sys.stdin:
        shutil.rmtree(place, ignore_errors=True)
        store = arcticdb.Arctic(f"lmdb://{place}?map_size=8GB")
        library = store.create_library("ticks")
        began = time.process_time()
        for frame in frames:
            library.append("ticks", frame, prune_previous_versions=True)
        seconds = time.process_time() - began
        found = library.read("ticks").data
        if not all(np.array_equal(found[name].to_numpy(), values) for name, values in whole.items()):
            raise SystemExit("what comes back is not what was written")
        del library, store, found
        answer = {
            "figure": total / seconds / 1e6,
            "version": f"arcticdb {arcticdb.__version__}, LMDB, CPU of all its threads",
        }
        print(json.dumps(answer), flush=True)
    shutil.rmtree(place, ignore_errors=True)


main()
