"""Layer 5, orders process, cold: what the stage may latch outside itself, and the signal that kills.

The kill latch is a file of the account (latch.py). Held strategies are kept by name in `HOLDS` beside it,
for the next run on the same broker; a broker that lives only as long as its run has nothing to keep.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.orders.latch import LatchWatch, clear_latch, set_latch
from kite_hft.plain import plain_text
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold

HOLDS: Final = "HOLDS"
SIGNAL: Final = signal.SIGUSR1
Alarm = Callable[[str, str, str], None]
"""Tells a person: (code, key, text)."""


def latch_ports(
    account: Path, watch: LatchWatch, broker: str, names: Mapping[int, str], clock: Clock, alarm: Alarm
) -> dict[str, Any]:
    """The fields of Ports that latch. names: strategy number -> name; broker: "" keeps no holds."""

    def kill(reason: str, flatten: bool) -> None:
        try:
            set_latch(account, reason, "the order process", clock.real_ns(), flatten=flatten)
        except OSError as error:
            alarm("FILE_FAILED", "KILL", f"the kill latch cannot be written: {error.strerror}")

    def unkill(by: str) -> None:
        try:
            clear_latch(account, by, clock.real_ns())
        except OSError as error:
            alarm("FILE_FAILED", "KILL", f"the kill latch cannot be removed: {error.strerror}")

    def keep(holds: Mapping[int, Hold]) -> None:
        try:
            write_holds(account, broker, {names.get(n, str(n)): held for n, held in holds.items()})
        except OSError as error:
            alarm("FILE_FAILED", HOLDS, f"held strategies are not kept: {error.strerror}")

    kept = read_holds(account, broker) if broker else {}
    return {
        "killed": watch.killed,
        "kill_flat": watch.flatten,
        "killed_by": lambda: watch.by,
        "kill": kill,
        "unkill": unkill,
        "holds": {number: kept[name] for number, name in names.items() if name in kept},
        "keep_holds": keep if broker else lambda holds: None,
    }


def write_holds(account: Path, broker: str, holds: Mapping[str, Hold]) -> None:
    """Whole or not at all; nothing held: no file.

    Raises:
        OSError: it cannot be written.
    """
    path = account / HOLDS
    if not holds:
        path.unlink(missing_ok=True)
        return
    rows = {name: {"level": held.level, "reason": held.reason} for name, held in holds.items()}
    fresh = account / f".{HOLDS}-{os.getpid()}"
    fresh.write_text(json.dumps({"broker": broker, "holds": rows}) + "\n", "utf-8")
    fresh.replace(path)


def read_holds(account: Path, broker: str = "") -> dict[str, Hold]:
    """Held strategies by name, of that broker alone when one is named; none when nothing can be read."""
    try:
        said = json.loads(plain_text(account / HOLDS))
        if broker and said["broker"] != broker:
            return {}
        return {
            str(name): Hold(REDUCING if row["level"] == REDUCING else HALTED, str(row["reason"]))
            for name, row in said["holds"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def release_holds(account: Path, name: str | None) -> None:
    """Let one strategy go on in the next run, or (None) all.

    Raises:
        OSError: the file cannot be changed.
    """
    holds = read_holds(account)
    left = {known: held for known, held in holds.items() if name not in (None, known)}
    if left != holds:
        broker = str(json.loads((account / HOLDS).read_text("utf-8"))["broker"])
        write_holds(account, broker, left)


def kill_by_signal(account: Path, clock: Clock, who: str) -> None:
    """From now on SIGUSR1 to this process sets the kill latch."""

    def latch(number: int, _frame: object) -> None:
        with contextlib.suppress(OSError):
            name = signal.Signals(number).name
            set_latch(account, f"{name} to {who}", f"signal {name}", clock.real_ns())

    signal.signal(SIGNAL, latch)
