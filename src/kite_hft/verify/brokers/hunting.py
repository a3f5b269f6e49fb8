"""Layer 6, by hand or CI, cold: `verify conformance --mutants`: does the kit see an adapter that is wrong?

Every mistake of mutants_read.py and mutants_sent.py is planted into the broker's adapter, one at a time, and
the rows are asked until one fails. A mistake that no row sees is a hole in the kit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.verify.brokers.kit import Kit, Row, judge
from kite_hft.verify.brokers.mutants import Mutant
from kite_hft.verify.brokers.mutants_read import ACCOUNT, READ
from kite_hft.verify.brokers.mutants_sent import ANSWERS, SENT, TRIGGERS, WORDS

ONLY: Final = {
    "place: may be cut by the broker": ("upstox",),
    "place: most of it hidden": ("upstox",),
    "updates tell of what has ended alone": ("upstox",),
}
"""At which of the brokers that there are the wire has such a thing."""
EVERY: Final = slice(None)
MUTANTS: Final = (
    *(
        Mutant(name, adapter=change, only=ONLY.get(name, ()))
        for table in (READ, ACCOUNT, SENT, ANSWERS, TRIGGERS)
        for name, change in table.items()
    ),
    *(Mutant(name, words=spoil) for name, spoil in WORDS.items()),
)


def mutants_for(side: BrokerSide) -> list[Mutant]:
    """Those that are mistakes at this broker."""
    return [mutant for mutant in MUTANTS if not mutant.only or side.name in mutant.only]


def quickest_first(side: BrokerSide, rows: Sequence[Row]) -> list[Row]:
    """The rows in the order of the time that they take with a good adapter."""
    took: dict[str, float] = {}
    for one in rows:
        began = time.perf_counter()
        judge(Kit(side), one)
        took[one.name] = time.perf_counter() - began
    return sorted(rows, key=lambda one: took[one.name])


def seen_by(mutant: Mutant, side: BrokerSide, rows: Sequence[Row]) -> tuple[str, str]:
    """(the row that sees it, what that says); ("", ""): none does."""
    try:
        planted = Kit(mutant.planted(side))
    except Exception as error:  # it does not even come up
        return "start", f"{type(error).__name__}: {error}"
    for one in rows:
        found = judge(planted, one)
        if not found["ok"]:
            return one.name, found["wrong"][0]
    return "", ""


def hunt(side: BrokerSide, rows: Sequence[Row], part: slice = EVERY) -> list[dict[str, Any]]:
    """Each mutant: {"mutant", "row", "says"}; without a row: it survived. part: of them, by their order."""
    found, rows = [], quickest_first(side, rows)
    for mutant in mutants_for(side)[part]:
        row, says = seen_by(mutant, side, rows)
        found.append({"mutant": mutant.name, "row": row, "says": says})
    return found
