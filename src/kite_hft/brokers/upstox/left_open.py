"""Layer 2, tools and last resort, cold: what is open at Upstox by its raw books, for a person.

The adapter's own books know the instruments of a run. Whoever locks the account may have no run and no list:
these are names and counts as the broker tells them. Carried MTF positions stand in a list that is not read.
"""

from __future__ import annotations

from typing import NamedTuple

from kite_hft.brokers.upstox.answers import data_of
from kite_hft.brokers.upstox.gtt import waits
from kite_hft.brokers.upstox.status import ENDED, status_of
from kite_hft.brokers.values import AnswerError, rows_of, text, whole


class LeftOpen(NamedTuple):
    """positions: (segment, name and signed quantity); orders: segments of those that work; triggers: names of
    GTTs that wait."""

    positions: tuple[tuple[str, str], ...]
    orders: tuple[str, ...]
    triggers: tuple[str, ...]


def left_open(positions: bytes, orders: bytes, triggers: bytes) -> LeftOpen:
    """The three books, as the broker answered.

    Raises:
        AnswerError: one of them is not whole.
    """
    try:
        held = tuple(
            (_segment(row.get("instrument_token")), f"{text(row, 'trading_symbol')} {quantity:+d}")
            for row in rows_of(data_of(positions))
            if (quantity := whole(row["quantity"]))
        )
        working = tuple(
            _segment(row.get("instrument_token"))
            for row in rows_of(data_of(orders))
            if status_of(text(row, "status", required=True)) not in ENDED
        )
        waiting = tuple(
            text(row, "gtt_order_id", required=True)
            for row in rows_of(data_of(triggers))
            if any(waits(rule) for rule in rows_of(row["rules"]))
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnswerError(f"what is open: {type(error).__name__}: {error}") from error
    return LeftOpen(held, working, waiting)


def _segment(key: object) -> str:
    """NSE_FO of NSE_FO|43919."""
    return str(key).partition("|")[0]
