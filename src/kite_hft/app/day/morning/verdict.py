"""Layer 6, by hand, cold: GO, REDUCE-ONLY or NO-GO, and why. Pure.

NO-GO: the day must not be begun so. REDUCE-ONLY: positions may be closed, nothing should be opened before a
person has looked. Whatever only needs a look is a note, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from kite_hft.app.day.account import AccountView
from kite_hft.app.day.finding import Finding
from kite_hft.app.day.morning.comparing import GRAVE, Changes
from kite_hft.app.day.morning.hours import ClassHours
from kite_hft.app.day.morning.left import Left
from kite_hft.engine.runs.verdicts import GO, NO_GO, REDUCE_ONLY

Level = Literal["no-go", "reduce", "note"]
RANK: Final[dict[str, int]] = {"note": 0, "reduce": 1, "no-go": 2}
WORDS: Final = {"note": GO, "reduce": REDUCE_ONLY, "no-go": NO_GO}
NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Reason:
    """Why. fix: what to do, a command line where there is one."""

    level: Level
    text: str
    fix: str = ""

    def row(self) -> dict[str, str]:
        """For files and --json."""
        return {"level": self.level, "text": self.text, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Morning:
    """All that a verdict is made of. min_funds_paise: below it nothing is opened; naked_paise: held without
    protection, up to which nobody is told."""

    findings: tuple[Finding, ...]
    hours: tuple[ClassHours, ...]
    changes: Changes
    account: AccountView
    left: Left
    min_funds_paise: int = 0
    naked_paise: int = 0


def reasons(morning: Morning) -> list[Reason]:
    """All of them, the gravest first."""
    found = [
        *_doctor(morning.findings),
        *_hours(morning.hours),
        *_changes(morning.changes),
        *_account(morning),
        *_left(morning.left),
    ]
    return sorted(found, key=lambda reason: -RANK[reason.level])


def word_of(found: Iterable[Reason]) -> str:
    """The verdict of these reasons."""
    worst = max((RANK[reason.level] for reason in found), default=0)
    return next(WORDS[level] for level, rank in RANK.items() if rank == worst)


def _doctor(findings: Iterable[Finding]) -> list[Reason]:
    return [Reason("no-go", f"{f.name}: {f.text}", f.fix) for f in findings if f.level == "fail"]


def _hours(hours: Iterable[ClassHours]) -> list[Reason]:
    rows = list(hours)
    if rows and not any(row.trades for row in rows):
        return [
            Reason("no-go", "nothing of this configuration trades on this day", "wait for the next session")
        ]
    closed = [row.name for row in rows if not row.trades]
    return [Reason("note", f"closed on this day: {', '.join(closed)}")] if closed else []


def _changes(changes: Changes) -> list[Reason]:
    found = [Reason("no-go", changes.odd, "correct the strategy in the configuration")] if changes.odd else []
    see = "kite-hft instruments changes"
    grave = [str(line) for line in changes.lines if line.what in GRAVE]
    if grave:
        found.append(Reason("reduce", f"changed since yesterday: {some(grave)}", see))
    closed = [str(line) for line in changes.lines if line.what == "on"]
    if closed:
        found.append(Reason("note", some(closed), see))
    return found + [Reason("note", text) for text in changes.told[:NAMED]]


def _account(morning: Morning) -> list[Reason]:
    account = morning.account
    found: list[Reason] = []
    if account.error:
        return [Reason("no-go", f"the account cannot be read: {account.error}", "kite-hft doctor")]
    naked = [row for row in account.positions if row.naked_paise > morning.naked_paise]
    if naked:
        names = some([row.name for row in naked])
        found.append(Reason("reduce", f"nothing protects {names}", "set stops, or close them at the broker"))
    for row in account.positions:
        if row.settles:
            found.append(
                Reason("reduce", f"{row.name} {row.settles}", "close it today (exits.settlement: close)")
            )
    if account.funds is not None and account.funds.net_paise <= morning.min_funds_paise:
        text = f"free funds are {account.funds.net_paise / 100:,.2f} rupees"
        found.append(Reason("reduce", text, "pay in, or lower risk.min_funds"))
    failed = [f"{row.name}: {row.status}" for row in account.triggers if row.failed]
    if failed:
        found.append(
            Reason("reduce", f"a GTT could not place its order: {some(failed)}", "look at the broker's list")
        )
    return found


def _left(left: Left) -> list[Reason]:
    found = []
    resume = "kite-hft resume"
    if left.killed:
        found.append(Reason("no-go", f"the account is KILLED: {left.killed}", resume))
    if left.halted:
        found.append(Reason("reduce", f"the last run was HALTED: {left.halted}", resume))
    if left.reducing:
        found.append(Reason("reduce", f"the last run was REDUCING: {left.reducing}", resume))
    for name, words in left.held.items():
        found.append(Reason("reduce", f"strategy {name} is held: {words}", f"{resume} --strategy {name}"))
    if left.unknown:
        level: Level = "no-go" if left.unknown_today else "note"
        fix = "kite-hft orders; kite-hft resolve ID --present|--absent"
        found.append(Reason(level, f"fate unknown: {some(left.unknown)}", fix))
    critical = [row["code"] for row in left.alerts if row["severity"] == "CRITICAL"]
    if critical:
        found.append(
            Reason(
                "reduce", f"not acknowledged: {some(critical)}", "kite-hft alerts; kite-hft alerts --ack all"
            )
        )
    if left.warnings:
        found += [Reason("note", text) for text in left.warnings[:NAMED]]
    return found


def some(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    rows = list(dict.fromkeys(names))
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(rows[:NAMED]) + more
