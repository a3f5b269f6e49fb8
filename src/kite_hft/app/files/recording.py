"""Layer 6, by hand, cold: `kite-hft recording`: what a recording of market data holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from kite_hft.app.picture import JsonOption, print_json, told
from kite_hft.app.tables import clock_text
from kite_hft.engine.runs.runs import NoRun
from kite_hft.memory.recording import RecordingError, describe, find
from kite_hft.sessions import ist_text

GAPS_SHOWN = 10


def recording(
    file: Annotated[Path, typer.Argument(help="a recording, or the run folder that holds some")],
    as_json: JsonOption = False,
) -> None:
    """Describe a recording: kind, connection, rows or frames, times, and every gap that was counted.

    Exit codes: 0 described, 1 it is no recording, or is damaged.
    """
    with told("recording"):
        paths = find(file) if file.is_dir() else [file]
        if not paths:
            raise NoRun(f"{file} holds no recording; the engine makes them with datafeed.store_ticks: true")
        try:
            found = [describe(path) for path in paths]
        except RecordingError as error:
            raise NoRun(str(error)) from None
        if as_json:
            return print_json({"recordings": found})
        for one in found:
            print("\n".join(text(one)))


def text(found: dict[str, Any]) -> list[str]:
    """One recording in lines."""
    first_ns, last_ns = found["first_real_ns"], found["last_real_ns"]
    ended = "closed in order" if found["closed"] else "not closed: it is being written, or its writer died"
    lines = [
        f"{found['path']}",
        f"  {found['count']:,} {found['kind']} of connection {found['connection']}, "
        f"{found['bytes']:,} bytes, {ended}",
    ]
    if found["damaged"]:
        lines.append(f"  damaged: {found['damaged']}")
    if found["count"]:
        span = clock_text((last_ns - first_ns) / 1e9)
        lines.append(f"  {ist_text(first_ns)} to {ist_text(last_ns)} IST ({span})")
    lines.append(f"  {len(found['gaps'])} gaps, {found['lost']:,} {found['kind']} lost in them")
    for gap in found["gaps"][:GAPS_SHOWN]:
        where = f"before number {gap['before']:,}"
        lines.append(f"    {gap['lost']:,} lost {where}: {gap['reason'].lower().replace('_', ' ')}")
    if len(found["gaps"]) > GAPS_SHOWN:
        lines.append(f"    ... and {len(found['gaps']) - GAPS_SHOWN} more (--json has all)")
    return lines
