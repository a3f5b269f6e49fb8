"""Layer 6, by hand, cold: what a check says: ok, warn or fail, and how to mend it.

fail: the day cannot be traded so, or not safely; warn: it can, and somebody should know. Each that is not ok
ends in its fix, a command line wherever one does it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from kite_hft.app.day.facts import Facts

Level = Literal["ok", "warn", "fail"]
RANK: Final[dict[str, int]] = {"ok": 0, "warn": 1, "fail": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says. fix: what to do, a command line where there is one."""

    name: str
    level: Level
    text: str
    fix: str = ""

    def row(self) -> dict[str, str]:
        """For --json."""
        return {"name": self.name, "level": self.level, "text": self.text, "fix": self.fix}


Check = Callable[[Facts], Finding]


def ok(name: str, text: str) -> Finding:
    return Finding(name, "ok", text)


def warn(name: str, text: str, fix: str) -> Finding:
    return Finding(name, "warn", text, fix)


def fail(name: str, text: str, fix: str) -> Finding:
    return Finding(name, "fail", text, fix)


def age(seconds: float) -> str:
    """`just now`, `3 min ago`, `2 h ago`."""
    if seconds < 90:
        return "just now"
    return f"{seconds / 60:.0f} min ago" if seconds < 5400 else f"{seconds / 3600:.0f} h ago"


def day_words(day: dt.date | None) -> str:
    """`Fri 2026-11-20`."""
    return f"{day:%a %Y-%m-%d}" if day else ""


def worst(findings: Iterable[Finding]) -> str:
    """The worst level among them; "ok" of none."""
    return max((f.level for f in findings), key=lambda level: RANK[level], default="ok")


def as_json(facts: Facts, findings: Iterable[Finding]) -> dict[str, Any]:
    """All of `kite-hft doctor --json`."""
    rows = list(findings)
    counts = {level: sum(f.level == level for f in rows) for level in RANK}
    head = {"level": worst(rows), "config": str(facts.config), "mode": facts.settings.mode,
            "day": facts.day.isoformat()}  # fmt: skip
    return head | {"counts": counts, "checks": [f.row() for f in rows]}
