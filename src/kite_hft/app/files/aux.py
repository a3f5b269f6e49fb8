"""Layer 6, by hand, cold: `kite-hft aux`: the AUX records of a running engine, as JSON lines.

What a TICK has no room for (datafeed.aux: Greeks, deeper levels, auction figures, bars, the state of markets)
goes to a ring beside the ticks, one for each connection. This reads it as any program may: from the oldest
record that is still there, without the engine noticing, and it says what it was too late for.

    from kite_hft.layout import AUX, SegmentKind
    from kite_hft.memory.follow import FollowingReader

    reader = FollowingReader(Path(shm), "aux-0", SegmentKind.AUX_RING, start="newest")
    out = np.zeros(1024, AUX)
    n = reader.drain(out)                                # out[:n]; reader.lost: records it came too late for

`shm` stands in run.json of the run folder. A record's `values` are named below by its `kind`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from kite_hft._upstox_decode import SEGMENTS, STATUS_WORDS
from kite_hft.app.answering import JsonOption, print_json
from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.app.steer.subscribe import resolved
from kite_hft.engine.runs.look import segment_files
from kite_hft.engine.runs.runs import NoRun, RunNote
from kite_hft.layout import AUX, NO_SLOT, AuxKind, SegmentKind
from kite_hft.memory.follow import FollowingReader
from kite_hft.trading.instruments import InstrumentTable, read_csv

NAMES: Final = {
    AuxKind.GREEKS: ("delta", "theta", "gamma", "vega", "rho", "iv", "oi"),
    AuxKind.AUCTION: (
        "indicative_price", "reference_price", "quantity", "imbalance", "imbalance_market", "eligible",
    ),
    AuxKind.BAR: ("open", "high", "low", "close", "volume", "start_ms"),
    AuxKind.MARKET: ("status", "phase", "updated_ms"),
}  # fmt: skip
"""Kind -> what its values are, in order. Prices in rupees; DEPTH is told as levels."""
PHASES: Final = {1: "day", 2: "closing auction", 3: "pre-open"}
BARS: Final = {0: "day", 1: "minute"}
LEVELS: Final = 3
FIRST_LEVEL: Final = 6
DRAIN: Final = 1024
LOOK_S: Final = 0.02

Row = dict[str, Any]


def aux(
    names: Annotated[list[str] | None, typer.Argument(help="EXCHANGE:SYMBOL or token; default: all.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="greeks, depth, auction, bar or market; default: all.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.0, help="End after so long; default: at Ctrl-C. 0: what is there.")
    ] = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Greeks, deeper levels, auction figures, bars and market states of a running engine, as JSON lines.

    A last line says how many records there were and how many were lost: overwritten before they were read.
    With --json it is one object, with the lines as its `rows`, after --seconds.

    Exit codes: 0 printed, 1 no engine, or it keeps none of these, 2 --json without --seconds.
    """
    if as_json and seconds is None:
        raise typer.BadParameter("--json is one object at the end: say --seconds")
    rows: list[Row] = []
    with told("aux"):
        note = running_note(state, account, broker)
        wanted = {row.slot for row in resolved(note, names)} if names else None
        known = {str(one.name).lower(): one for one in AuxKind}
        if kind is not None and kind not in known:
            raise NoRun(f"no kind {kind!r}; there are {', '.join(known)}")
        table = read_csv(Path(note.folder) / "instruments.csv")
        readers = readers_of(note)
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        total = 0
        try:
            while True:
                taken = 0
                for reader in readers:
                    for record in drained(reader):
                        taken += 1
                        if kind in (None, AuxKind(record["kind"]).name.lower()) and (
                            wanted is None or int(record["slot"]) in wanted
                        ):
                            row = row_of(record, table)
                            if as_json:
                                rows.append(row)
                            else:
                                print(json.dumps(row), flush=True)
                total += taken
                if not taken:
                    if time.monotonic() >= deadline:
                        break
                    time.sleep(LOOK_S)
            whole = {"records": total, "lost": sum(reader.lost for reader in readers)}
            if as_json:
                print_json(whole | {"rows": rows})
            else:
                print(json.dumps(whole))
        finally:
            for reader in readers:
                reader.close()


def readers_of(note: RunNote) -> list[FollowingReader]:
    """One of each ring of AUX records of the run, from its oldest record on.

    Raises:
        NoRun: it has none; the message says which setting makes them.
    """
    rings = sorted(name for name in segment_files(Path(note.shm)) if name.startswith("aux-"))
    if not rings:
        raise NoRun(
            "this run keeps no AUX records: set datafeed.aux to true, or to some of greeks, depth, auction, "
            "bar, market, and start it anew (prices of Upstox have them)"
        )
    return [FollowingReader(Path(note.shm), name, SegmentKind.AUX_RING) for name in rings]


def drained(reader: FollowingReader) -> Iterator[np.void]:
    """What has come."""
    out = np.zeros(DRAIN, AUX)
    yield from out[: reader.drain(out)]


def row_of(record: np.void, table: InstrumentTable) -> Row:
    """One record with its values by name; absent ones are null."""
    kind, part = AuxKind(record["kind"]), int(record["part"])
    row: Row = {"seq": int(record["seq"]), "recv_ns": int(record["recv_ns"]), "kind": kind.name.lower()}
    values = [None if math.isnan(value) else float(value) for value in record["values"]]
    if int(record["slot"]) != NO_SLOT:
        row["instrument"] = table[int(record["slot"])].key
    if kind is AuxKind.DEPTH:
        first = FIRST_LEVEL + LEVELS * part
        sides = ("bid_qty", "bid", "ask_qty", "ask")
        levels = [values[4 * i : 4 * i + 4] for i in range(LEVELS)]
        row["levels"] = [
            {"level": first + i, **dict(zip(sides, level, strict=True))}
            for i, level in enumerate(levels)
            if any(value is not None for value in level)
        ]
        return row
    named = dict(zip(NAMES[kind], values, strict=False))
    if kind is AuxKind.BAR:
        row["bar"] = BARS.get(part, str(part))
    elif kind is AuxKind.MARKET:
        phase, status = int(named["phase"] or 0), int(named["status"] if named["status"] is not None else -1)
        word = STATUS_WORDS[status] if phase > 1 and 0 <= status < len(STATUS_WORDS) else status
        return row | {"segment": SEGMENTS[part], "phase": PHASES.get(phase, phase), "status": word}
    return row | named
