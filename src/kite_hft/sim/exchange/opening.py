"""Layer 4, simulator, cold: what the simulated client owns before the day begins.

Three holdings in the last shares of the list, one of each kind that a client has to tell apart,
and a buy-in auction that asks for the first of them. Nothing of it is a position of the day.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from kite_hft.sim.exchange.account import Holding
from kite_hft.trading.instruments import InstrumentTable

AUCTION: Final = "20"
SHARES_MIN: Final = 6
"""A list with fewer shares than this comes without holdings."""

# (settled, T1, authorised today: 0 not yet; None: a standing instruction, all of it)
_KINDS: Final = ((100, 0, 0), (40, 10, 0), (25, 0, None))


def default_holdings(
    instruments: InstrumentTable, close_px: npt.NDArray[np.int32] | None
) -> tuple[list[Holding], dict[str, int]]:
    """(holdings, auctions by number) of a fresh account. `close_px`: yesterday's close by slot, a
    twentieth below which the shares were bought; None: not known, and so no holdings."""
    shares = [row for row in instruments if row.kind == "EQ" and not row.is_index]
    if close_px is None or len(shares) < SHARES_MIN:
        return [], {}
    holdings = []
    for row, (settled, t1, authorised) in zip(shares[-len(_KINDS) :], _KINDS, strict=True):
        step = max(row.tick_px, 1)
        bought_px = int(close_px[row.slot]) * 19 // 20 // step * step
        holdings.append(Holding(row, settled, t1, bought_px, authorised))
    return holdings, {AUCTION: holdings[0].instrument.slot}
