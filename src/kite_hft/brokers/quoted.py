"""Layer 2, feed process, cold: quotes that came as JSON to TICK records, for every adapter.

A row that is not what it has to be makes no tick and is counted by its fault; the others of the answer
stand. What a row leaves out is a group that its tick does not have.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from kite_hft.layout import TICK, TickFlag, TickKind
from kite_hft.trading.instruments import Instrument
from kite_hft.trading.quote_words import Quoted
from kite_hft.units import IST_OFFSET_S, NS_PER_S, PriceError, px_from_price

LEVELS: Final = 5
_U32_MAX: Final = 2**32 - 1
_U16_MAX: Final = 2**16 - 1
_IST: Final = dt.timezone(dt.timedelta(seconds=IST_OFFSET_S))

Row = Mapping[str, Any]
Levels = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
_NO_LEVELS: Final[Levels] = ((0,) * LEVELS, (0,) * LEVELS, (0,) * LEVELS)


class NoPrice(Exception):
    """The instrument has no price yet: no tick, and nothing wrong."""


class NotFinite(ValueError):
    """A price that is NaN or infinite."""


def quoted(
    rows: Iterable[tuple[Instrument, Row]], make: Callable[[Instrument, Row], tuple[Any, ...]]
) -> Quoted:
    """The ticks of an answer. make(instrument, row): as `tick` gives it."""
    made: list[tuple[Any, ...]] = []
    wrong: dict[str, int] = {}
    for instrument, row in rows:
        try:
            made.append(make(instrument, row))
        except NoPrice:
            continue
        except PriceError:
            fault = "malformed_price_range"
        except NotFinite:
            fault = "malformed_not_finite"
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            fault = "malformed_message"
        else:
            continue
        wrong[fault] = wrong.get(fault, 0) + 1
    return Quoted(np.array(made, TICK), wrong)


def tick(
    instrument: Instrument,
    row: Row,
    *,
    exch_ns: int = 0,
    last_trade_s: int = 0,
    ohlc: Row | None = None,
    close: Any = None,
    totals: tuple[str, str] | None = None,
    last_qty: str = "",
    volume: str = "",
    depth: Row | None = None,
    oi: bool = False,
) -> tuple[Any, ...]:
    """One TICK as numpy takes it. The groups: ohlc; trade (volume, totals: the names of what is bought and
    sold in all); depth; open interest. close: of the previous session. last_qty, volume: their names.

    Raises:
        NoPrice: the last price is 0. PriceError: out of range, off its unit (an index, which nobody
        trades, is rounded to it), or a quantity below 0. NotFinite, ValueError, TypeError, KeyError: not
        what it has to be.
    """
    scale, whole = instrument.scale, ohlc is not None or totals is not None or depth is not None
    priced = rounded_px if instrument.is_index else px
    last_px = priced(row["last_price"], scale)
    if last_px == 0:
        raise NoPrice
    flags = TickFlag.INDEX.value if instrument.is_index else 0
    flags |= TickFlag.EXCHANGE_TIME.value if exch_ns else 0
    flags |= TickFlag.LAST_TRADE_TIME.value if last_trade_s else 0
    o_px = h_px = l_px = average_px = bought = sold = day_volume = 0
    if ohlc is not None:
        flags |= TickFlag.OHLC.value
        o_px, h_px, l_px = (priced(ohlc[name], scale) for name in ("open", "high", "low"))
    if totals is not None:
        flags |= TickFlag.TRADE.value
        bought, sold = (quantity(row.get(name)) for name in totals)
        average_px = rounded_px(row.get("average_price"), scale)
    if volume:
        day_volume = quantity(row.get(volume), 2**63 - 1)
    bids = asks = _NO_LEVELS
    if depth is not None:
        flags |= TickFlag.DEPTH.value
        bids, asks = levels(depth["buy"], scale), levels(depth["sell"], scale)
    held = high = low = 0
    if oi:
        flags |= TickFlag.OI.value
        held, high, low = (quantity(row.get(name)) for name in ("oi", "oi_day_high", "oi_day_low"))
    kind = TickKind.LTP
    if whole:
        kind = TickKind.INDEX_FULL if instrument.is_index else TickKind.FULL
    return (
        0, 0, exch_ns, day_volume, instrument.slot, flags, int(kind), 0,
        last_px, quantity(row.get(last_qty)) if last_qty else 0, bids[0][0], asks[0][0],
        rounded_px(close, scale), held,
        o_px, h_px, l_px, average_px, bought, sold, high, low, last_trade_s,
        bids[0][1:], asks[0][1:], bids[1], asks[1], bids[2], asks[2],
    )  # fmt: skip


def px(price: Any, scale: int) -> int:
    """Rupees to units, never below 0. Raises as `tick`."""
    if isinstance(price, bool | str):
        raise TypeError("a price that is no number")
    if not math.isfinite(price):
        raise NotFinite
    found = px_from_price(price, scale)
    if found < 0:
        raise PriceError(f"price {price!r} is below 0")
    return found


def rounded_px(price: Any, scale: int) -> int:
    """As `px`, of an average, an index, or a close that may be adjusted: it need not be on the unit."""
    if isinstance(price, bool | str):
        raise TypeError("a price that is no number")
    units = (price or 0) * scale
    if not math.isfinite(units):
        raise NotFinite
    return px(round(units) / scale, scale)


def quantity(value: Any, most: int = _U32_MAX) -> int:
    """A whole number; above `most` it is told as that."""
    if isinstance(value, bool | str):
        raise TypeError("a quantity that is no number")
    found = int(value or 0)
    if found < 0:
        raise PriceError(f"quantity {value!r} is below 0")
    return min(found, most)


def levels(rows: Sequence[Row], scale: int) -> Levels:
    """Prices, quantities and orders of the best five levels; those that are not there are 0."""
    found = [
        (px(row["price"], scale), quantity(row["quantity"]), quantity(row.get("orders"), _U16_MAX))
        for row in rows[:LEVELS]
    ]
    found += [(0, 0, 0)] * (LEVELS - len(found))
    prices, quantities, orders = zip(*found, strict=True)
    return prices, quantities, orders


def ist_ns(text: Any) -> int:
    """`2026-11-20 10:00:01`, also with T, a fraction and an offset: epoch ns; 0: none that can be read."""
    if not isinstance(text, str) or not text:
        return 0
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return 0
    aware = found if found.tzinfo is not None else found.replace(tzinfo=_IST)
    since = aware - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    ns = (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1000
    return ns if 0 < ns < 2**63 else 0


def in_u32(seconds: int) -> int:
    """Seconds since 1970 as TICK holds them; 0: it cannot."""
    return seconds if 0 < seconds <= _U32_MAX else 0
