"""The slow, obvious join of two instrument lists: every row of one held against every row of the other.

Standard library only; nothing of the product. Rows are plain tuples:

    (name, exchange, kind, symbol or underlying, expiry, strike, exchange id, lot, tick, freeze or None)

`joined(kite, upstox, day)` -> name of a row of Kite's -> what became of it:

    ("with", name of Upstox's row)   ("differs", name of Upstox's row)
    ("ambiguous",)  ("past",)  ("unknown",)  ("reused",)  ("contradiction",)
"""

from __future__ import annotations

from typing import Any

Row = tuple[Any, ...]


def same_terms(a: Row, b: Row) -> bool:
    return a[1:6] == b[1:6]


def same_id(a: Row, b: Row) -> bool:
    return (a[1], a[6]) == (b[1], b[6])


def is_past(row: Row, day: str) -> bool:
    return row[4] != "" and row[4] < day


def joined(kite: list[Row], upstox: list[Row], day: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for ours in kite:
        if is_past(ours, day):
            found[ours[0]] = ("past",)
            continue
        twins = [row for row in kite if same_terms(row, ours)]
        theirs = [row for row in upstox if same_terms(row, ours) and not is_past(row, day)]
        if len(twins) > 1 or len(theirs) > 1:
            found[ours[0]] = ("ambiguous",)
        elif theirs and not same_id(ours, theirs[0]):
            found[ours[0]] = ("contradiction",)
        elif theirs:
            found[ours[0]] = ("differs" if _differs(ours, theirs[0]) else "with", theirs[0][0])
        else:
            others = [row for row in upstox if same_id(ours, row)]
            if not others:
                found[ours[0]] = ("unknown",)
            else:
                found[ours[0]] = ("reused",) if is_past(others[0], day) else ("contradiction",)
    return found


def _differs(a: Row, b: Row) -> bool:
    freeze = a[9] is not None and b[9] is not None and a[9] != b[9]
    return a[7] != b[7] or a[8] != b[8] or freeze
