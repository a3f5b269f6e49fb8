"""Layer 2, verbs, cold: instruments by words that people type."""

from __future__ import annotations

import datetime as dt

import numpy as np

from kite_hft.trading.lists.columns import Columns
from kite_hft.trading.lists.universe import INDEX


def search(
    columns: Columns, text: str, day: dt.date, *, exchange: str | None = None, kind: str | None = None
) -> list[int]:
    """Rows that contain all the words in symbol, name or key; what lives, and is exactly or nearly that,
    first: indices, shares, then contracts by expiry.
    """
    words = text.upper().split()
    mask = np.ones(len(columns), np.bool_)
    if exchange is not None:
        mask &= columns.exchange.are([exchange.upper()])
    if kind is not None:
        wanted = kind.upper()
        mask &= columns.is_index if wanted == INDEX else columns.kind.are([wanted]) & ~columns.is_index
    names = [name.upper() for name in columns.name.words]
    keys = columns.exchange.words
    found = []
    for row in np.flatnonzero(mask).tolist():
        symbol = columns.symbol[row].upper()
        if all(word in symbol for word in words):
            found.append(row)
            continue
        whole = (
            f"{keys[columns.exchange.codes[row]]}:{symbol} {names[columns.name.codes[row]]} "
            f"{columns.upstox_key[row].upper()}"
        )
        if all(word in whole for word in words):
            found.append(row)
    over, head = columns.over(day), words[0] if words else ""

    def order(row: int) -> tuple[object, ...]:
        symbol = columns.symbol[row].upper()
        expiry = int(columns.expiry[row])
        return (
            bool(over[row]), symbol != text.upper(), columns.name.text(row).upper() != head,
            not symbol.startswith(head), not columns.is_index[row], expiry,
            int(columns.strike_px[row]), columns.kind.text(row), symbol,
        )  # fmt: skip

    return sorted(found, key=order)
