"""Layer 2, supervisor and verbs, cold: may an instrument list be used: whole, of today, and itself once.

A list that is old, half or doubled does not look wrong: every row in it is well formed. It shows in what
the list of the day before had and this one has not, and in contracts that are over; where there is no such
list, in exchanges that have fewer instruments than any whole list (data). `problems` says each
with its cause and its fix; an operator may accept what shrank or grew, by name, never a list that is old.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.columns import Columns

SHRUNK: Final = 0.8
"""Of yesterday's instruments that still live so many must be there, of every exchange."""
GROWN: Final = 1.5
"""So many times yesterday's count a list may have."""
SMALL: Final = 50
"""Exchanges with fewer instruments are not compared: one row is a large part of them."""
LEAST: Final = "list_least_"
OVER: Final = 0.01
"""More than this part of all contracts expired: the list is an earlier day's."""


def check_unique(columns: Columns, where: str, place: str = "row", first: int = 1) -> None:
    """No token and no Upstox key stands twice; place, first: what a row is called, and the first's number.

    Raises:
        InstrumentError: one does; names both rows.
    """
    order = np.argsort(columns.token, kind="stable")
    same = np.flatnonzero(np.diff(columns.token[order].astype(np.int64)) == 0)
    if same.size:
        one, two = int(order[same[0]]), int(order[same[0] + 1])
        raise InstrumentError(
            f"{where}: token {int(columns.token[one])} stands twice: {columns.key(one)} in {place} "
            f"{one + first} and "
            f"{columns.key(two)} in {place} {two + first}; {same.size:,} tokens do: a doubled list is not "
            "used"
        )
    keys = [key for key in columns.upstox_key if key]
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        twice = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InstrumentError(f"{where}: Upstox key {twice} stands twice: a doubled list is not used")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a list is not used. kind: `old` (nobody can accept it) or `size` (an operator may)."""

    kind: Literal["old", "size"]
    text: str


def problems(
    now: Columns, before: Columns | None, day: dt.date, rebuilt: str, least: Mapping[str, int] | None = None
) -> list[Problem]:
    """What speaks against a list of `day`. before: the newest list of an earlier day, None: there is none.
    rebuilt: when the broker makes the day's list, for the words. least: instruments that an exchange has at
    least (`least_of`); looked at where there is no list to compare with.
    """
    found = [text for text in (_old(now, day, rebuilt),) if text]
    return found + (_few(now, least or {}) if before is None else _sizes(now, before, day))


def least_of(extras: Mapping[str, float]) -> dict[str, int]:
    """Exchange -> how many instruments a whole list has at least; extras: of the broker's rules file, where
    it stands as list_least_NSE and so on."""
    return {
        name.removeprefix(LEAST): int(number) for name, number in extras.items() if name.startswith(LEAST)
    }


def _old(now: Columns, day: dt.date, rebuilt: str) -> Problem | None:
    over, contracts = now.over(day), int(np.count_nonzero(now.expiry))
    ended = int(np.count_nonzero(over))
    if not contracts or ended <= contracts * OVER:
        return None
    last = dt.date.fromisoformat(now.row(int(np.argmax(np.where(over, now.expiry, 0)))).expiry)
    return Problem(
        "old",
        f"{ended:,} of {contracts:,} contracts are over, the last on {last}: this is the list of an earlier "
        "day. "
        f"The broker makes the day's list at about {rebuilt} IST: fetch it after that",
    )


def _few(now: Columns, least: Mapping[str, int]) -> list[Problem]:
    here = counts(now)
    return [
        Problem(
            "size",
            f"{exchange}: {here.get(exchange, 0):,} instruments, and a whole list has at least {n:,} (there "
            "is no list of an earlier day to compare with): the list is cut short: fetch it again, or accept "
            "it (--accept)",
        )
        for exchange, n in least.items()
        if here.get(exchange, 0) < n
    ]


def _sizes(now: Columns, before: Columns, day: dt.date) -> list[Problem]:
    alive = ~before.over(day)
    was, lives, here = counts(before), counts(before, alive), counts(now)
    found = []
    for exchange, n in lives.items():
        have = here.get(exchange, 0)
        if n >= SMALL and have < n * SHRUNK:
            found.append(
                Problem(
                    "size",
                    f"{exchange}: {have:,} instruments, and {n:,} of the list before still live: the list is "
                    "cut short, or the broker took them out: fetch it again, or accept it (--accept)",
                )
            )
        elif (many := was[exchange]) >= SMALL and have > many * GROWN:
            found.append(
                Problem(
                    "size",
                    f"{exchange}: {have:,} instruments after {many:,}: the list may be doubled: fetch it "
                    "again, "
                    "or accept it (--accept)",
                )
            )
    return found


def counts(
    columns: Columns, mask: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
) -> Mapping[str, int]:
    """Instruments by exchange."""
    codes = columns.exchange.codes if mask is None else columns.exchange.codes[mask]
    sums = np.bincount(codes, minlength=len(columns.exchange.words))
    return {word: int(n) for word, n in zip(columns.exchange.words, sums, strict=True)}
