"""The slow, obvious choice of contracts by expiry and strike: one row at a time, sorted lists.

Standard library only; nothing of the product. A row is (exchange, name, kind, expiry "YYYY-MM-DD", strike).
"""

from __future__ import annotations

from typing import Any

Row = tuple[str, str, str, str, float]


def monthly(rows: list[Row], row: Row) -> bool:
    """The last expiry of its month, of all on the same underlying and exchange."""
    same = [r[3] for r in rows if r[:2] == row[:2] and r[3] and r[3][:7] == row[3][:7]]
    return bool(row[3]) and row[3] == max(same)


def by_expiry(rows: list[Row], day: str, position: int | None, kind: str) -> list[int]:
    """Places of the rows that live and end on the wanted expiry of their series."""
    alive = [at for at, row in enumerate(rows) if row[3] and row[3] >= day]
    if kind:
        alive = [at for at in alive if monthly(rows, rows[at]) == (kind == "monthly")]
    if position is None:
        return alive
    found = []
    for at in alive:
        row = rows[at]
        series = {
            rows[other][3]
            for other in alive
            if rows[other][:2] == row[:2] and (rows[other][2] == "FUT") == (row[2] == "FUT")
        }
        days = sorted(series)
        if position < len(days) and row[3] == days[position]:
            found.append(at)
    return found


def near(rows: list[Row], price: float, each_side: int) -> list[int]:
    """Places of the options whose strike is within so many of the one nearest to the price, by expiry."""
    found: list[int] = []
    for at, row in enumerate(rows):
        if row[2] not in ("CE", "PE"):
            found.append(at)
            continue
        strikes = sorted({r[4] for r in rows if r[:2] == row[:2] and r[3] == row[3] and r[2] in ("CE", "PE")})
        best: Any = min(strikes, key=lambda strike: (abs(strike - price), strike))
        middle = strikes.index(best)
        if row[4] in strikes[max(0, middle - each_side) : middle + each_side + 1]:
            found.append(at)
    return found
