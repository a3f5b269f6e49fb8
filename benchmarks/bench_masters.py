"""Instrument lists: from the cache, and from the brokers' files, beside what others do with the same files.

    python benchmarks/bench_masters.py [--rounds 7] [--data DIR] [--quick]

The lists are real: Kite's NFO and BFO (39,941 rows, 3.5 MB of CSV) and Upstox's complete.json (95,701
objects, 44 MB); they are no part of the project (--data: their folder). "From the cache" is what a run does
after the first of a day: both files read, their SHA-256 proved, columns made, one instrument of each found
and joined. "From the file" is what it does once a day: parsed, every price and token checked, ready to be
looked up in. Figures are CPU milliseconds of the process, all threads.

kiteconnect is its own `_parse_instruments` on the same bytes; pandas parses the expiry, as kiteconnect does.
None of them looks anything up, checks anything, or joins the lists.
"""

from __future__ import annotations

import datetime as dt
import io
import lzma
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kit

from kite_hft.brokers.table import master_columns
from kite_hft.engine.plan.master_cache import Mark, load, path_of, save
from kite_hft.trading.lists.masters import Masters

DATA = kit.ROOT.parent / "shared" / "data" / "instruments"
FILES = {"kite": "kite_nfo_bfo_2026-08.csv.xz", "upstox": "upstox_complete_2025-06.json.xz"}
DAY = dt.date(2026, 8, 17)
NAMES = {"kite": "NFO:NIFTY26AUGFUT", "upstox": "NSE_FO|55785"}
WALL = "kite_hft, by the clock"


def cpu_ms(work: Callable[[], Any]) -> tuple[float, float]:
    """(CPU ms of the process, ms by the clock) of one call."""
    wall, began = time.perf_counter(), time.process_time()
    work()
    return (time.process_time() - began) * 1e3, (time.perf_counter() - wall) * 1e3


def cached(bodies: dict[str, bytes], folder: Path, rounds: int) -> kit.Row:
    """Both lists from the cache into one index, and one instrument of each."""
    for broker, body in bodies.items():
        columns = master_columns(broker, body, broker)
        save(folder, Mark(broker, broker, DAY.isoformat(), 0, len(columns), ""), columns)
    walls: list[float] = []

    def index() -> None:
        lists = {broker: load(path_of(folder, broker, DAY))[1] for broker in bodies}
        found = Masters(DAY, lists, {})
        if found.instrument(NAMES["kite"]).lot_size != 65 or lists["upstox"].resolve(NAMES["upstox"]) < 0:
            raise SystemExit("bench: the index finds another instrument")

    def ours() -> float:
        cpu, wall = cpu_ms(index)
        walls.append(wall)
        return cpu

    row = kit.Row(
        "both lists (135,642 rows) from the cache into one index, and two look-ups", "CPU ms", "less",
        [kit.Target(None, at_most=1000.0), kit.Target(None, at_most=1000.0, ours=WALL)],
    )  # fmt: skip
    return kit.measure(row, {kit.OURS: ours, WALL: lambda: walls[-1]}, rounds)


def kite_rivals(body: bytes) -> dict[str, Callable[[], Any]]:
    """Kite's CSV, as others read it."""
    found: dict[str, Callable[[], Any]] = {}
    try:
        from kiteconnect import KiteConnect

        client = KiteConnect("key")
        found["kiteconnect instruments()"] = lambda: client._parse_instruments(body)
    except ImportError:
        pass
    try:
        import pandas

        found["pandas read_csv"] = lambda: pandas.read_csv(io.BytesIO(body), parse_dates=["expiry"])
    except ImportError:
        pass
    return found


def upstox_rivals(body: bytes) -> dict[str, Callable[[], Any]]:
    """Upstox's JSON, as others read it."""
    import json

    found: dict[str, Callable[[], Any]] = {"json.loads, dicts alone": lambda: json.loads(body)}
    try:
        import pandas

        found["pandas read_json"] = lambda: pandas.read_json(io.BytesIO(body), dtype=False)
    except ImportError:
        pass
    return found


def parsed(
    broker: str, body: bytes, rivals: dict[str, Callable[[], Any]], target: kit.Target, rounds: int
) -> kit.Row:
    """One broker's file, from its bytes to columns that are checked."""
    count = len(master_columns(broker, body, broker))
    row = kit.Row(f"{broker}'s list ({count:,} rows) from the broker's file", "CPU ms", "less", [target])
    works = {kit.OURS: lambda: master_columns(broker, body, broker), **rivals}
    return kit.measure(row, {name: lambda work=work: cpu_ms(work)[0] for name, work in works.items()}, rounds)


def main() -> None:
    parser = kit.options(__doc__, rounds=7)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the two lists")
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    if not all((options.data / name).is_file() for name in FILES.values()):
        row = kit.Row("instrument lists", "CPU ms", "less", [kit.Target(None, at_most=1000.0)])
        row.notes[kit.OURS] = "the real lists are not at hand; they are no part of the project"
        kit.write("masters", [row], options.json)
        return
    bodies = {broker: lzma.decompress((options.data / name).read_bytes()) for broker, name in FILES.items()}
    with tempfile.TemporaryDirectory() as folder:
        rows = [cached(bodies, Path(folder), rounds)]
    kiteconnect = kit.Target("kiteconnect instruments()", at_most=0.2)
    pandas = kit.Target("pandas read_json", at_most=0.5)
    rows.append(parsed("kite", bodies["kite"], kite_rivals(bodies["kite"]), kiteconnect, rounds))
    rows.append(parsed("upstox", bodies["upstox"], upstox_rivals(bodies["upstox"]), pandas, rounds))
    kit.write("masters", rows, options.json)


if __name__ == "__main__":
    main()
