"""Layer 6, by hand, cold: what the account's last run left: latches, alerts, orders whose fate is unknown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.alerts.files import open_alerts, read_alerts
from kite_hft.engine.orders.latch import read_latch
from kite_hft.engine.orders.latches import read_holds
from kite_hft.engine.runs.ledger import order_rows, read_ledger
from kite_hft.engine.runs.runs import Account, NoRun, newest_folder

AMBIGUOUS: Final = "AMBIGUOUS"


@dataclass(frozen=True, slots=True)
class Left:
    """run: the newest one, "": there is none. halted, reducing: of a run of the day alone. unknown: orders
    whose fate nobody knows; unknown_today: they may still fill. alerts: open ones, worst first.
    """

    run: str = ""
    running: bool = False
    ended: bool = True
    killed: str = ""
    halted: str = ""
    reducing: str = ""
    held: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    unknown_today: bool = False
    alerts: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """For --json."""
        return {
            "run": self.run, "running": self.running, "ended_in_order": self.ended, "killed": self.killed,
            "halted": self.halted, "reducing": self.reducing, "held": dict(self.held),
            "unknown": list(self.unknown), "unknown_today": self.unknown_today,
            "alerts": [{key: row[key] for key in ("number", "code", "severity", "key", "text")}
                       for row in self.alerts],
            "warnings": list(self.warnings),
        }  # fmt: skip


def left_of(folder: Path, account: Account | None, today: dt.date) -> Left:
    """What lies in the account's folder. account: with its runs; None: it has none yet. today: in India."""
    latch = read_latch(folder)
    killed = latch.reason if latch else ""
    held = {name: hold.words for name, hold in read_holds(folder).items()}
    if account is None:
        return Left(killed=killed, held=held)
    try:
        newest, _ = newest_folder(account)
    except NoRun:
        return Left(killed=killed, held=held)
    run, running = f"{newest.parent.name}/{newest.name}", account.running is not None
    alerts = tuple(open_alerts(read_alerts(newest)))
    of_today = newest.parent.name == today.isoformat()
    try:
        ledger = read_ledger(newest, running=running)
    except NoRun as error:
        told = () if running else (f"run {run}: {error}",)
        return Left(run, running, killed=killed, held=held, alerts=alerts, warnings=told)
    unknown = tuple(
        f"{row['instrument']} {row['side']} {row['quantity']} (order {row['order_no']})"
        for row in order_rows(ledger, every=False)
        if row["status"] == AMBIGUOUS
    )
    warnings = list(ledger.warnings)
    if not running and not ledger.ended:
        warnings.append(f"run {run} did not end in order: the engine squares with the broker at its start")
    stands = of_today and not ledger.killed
    return Left(
        run, running, ledger.ended or running, killed,
        ledger.halted if stands else "", ledger.reducing if stands else "", held,
        unknown, of_today, alerts, tuple(warnings),
    )  # fmt: skip
