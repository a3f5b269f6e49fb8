"""Layer 6, verify processes, cold: what a message of Upstox's own schema, parsed by its SDK, must give.

Slow and obvious, over the SDK's protobuf objects: the rules that ext/upstox_tick.h and upstox_aux.h
state, written a second time. Nothing here looks at bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from kite_hft._upstox_decode import SEGMENTS, STATUS_WORDS
from kite_hft.layout import NO_SLOT, AuxKind, TickFlag, TickKind
from kite_hft.units import OFF_GRID_MAX, PX_MAX

QTY_MAX: Final = 2**32 - 1
SECONDS_MAX: Final = 2**32 - 1
TIME_MS_MAX: Final = (2**63 - 1) // 10**6
LEVELS: Final = 5
LEVELS_MAX: Final = 30
KINDS: Final = {
    "ltpc": TickKind.LTP, "marketFF": TickKind.FULL, "indexFF": TickKind.INDEX_FULL,
    "firstLevelWithGreeks": TickKind.QUOTE,
}  # fmt: skip
# As plain numbers: ~ of an IntFlag forgets the bits that it does not know.
TRADE, OHLC, DEPTH, OI = (int(flag) for flag in (TickFlag.TRADE, TickFlag.OHLC, TickFlag.DEPTH, TickFlag.OI))
PRICE: Final = 1 << 15
"""Beside the TickFlags: last, close, last quantity and time were told."""


class Refused(Exception):
    """No tick: the counter's name."""


@dataclass
class Known:
    """What the messages of one instrument on this connection said so far."""

    branch: str = ""
    groups: int = 0
    told: dict[str, Any] = field(default_factory=dict)


@dataclass
class Instrument:
    """slot, units per rupee, tick size in units (0: none)."""

    slot: int
    scale: float
    step: int
    is_index: bool
    known: Known = field(default_factory=Known)


def body_of(feed: Any) -> tuple[str, Any]:
    """(name, message) of the chosen members of both oneofs; ("", None): none."""
    chosen = feed.WhichOneof("FeedUnion")
    if chosen != "fullFeed":
        return (chosen, getattr(feed, chosen)) if chosen else ("", None)
    inner = feed.fullFeed.WhichOneof("FullFeedUnion")
    return (inner, getattr(feed.fullFeed, inner)) if inner else ("", None)


@dataclass
class Parts:
    """The parts of a message; None or an empty list: it lacks them."""

    branch: str
    body: Any
    ltpc: Any = None
    levels: list[Any] | None = None
    bars: list[Any] | None = None

    def __post_init__(self) -> None:
        body = self.body
        if self.branch == "ltpc":
            self.ltpc = body
            return
        self.ltpc = body.ltpc
        if self.branch == "marketFF" and body.HasField("marketLevel"):
            self.levels = list(body.marketLevel.bidAskQuote)
        if self.branch == "firstLevelWithGreeks" and body.HasField("firstDepth"):
            self.levels = [body.firstDepth]
        if self.branch in ("marketFF", "indexFF") and body.HasField("marketOHLC"):
            self.bars = list(body.marketOHLC.ohlc)

    def value(self, name: str) -> Any:
        """A number of the body that not every branch has."""
        return getattr(self.body, name, 0)

    def bar(self, interval: str) -> Any:
        """The last bar of an interval, or None."""
        return next((bar for bar in reversed(self.bars or []) if bar.interval == interval), None)

    def groups(self) -> int:
        """What the message tells of a TICK."""
        ltpc, groups = self.ltpc, 0
        if ltpc.ltp or ltpc.cp or ltpc.ltt or ltpc.ltq:
            groups |= PRICE
        if self.levels is not None:
            groups |= DEPTH | TRADE
        if self.branch != "ltpc":
            if self.value("vtt") or self.value("atp") or self.value("tbq") or self.value("tsq"):
                groups |= TRADE
            if self.value("oi"):
                groups |= OI
        if self.bar("1d") is not None or self.bars == []:
            groups |= OHLC
        return groups


def units(price: float, scale: float, *, rounded: bool = False) -> int:
    """Rupees to units.

    Raises:
        Refused: out of range, or off the unit where it is not to be rounded.
    """
    exact = price * scale
    if not -1 < exact < 2.0**32:
        raise Refused("malformed_price_range")
    px = round(exact)
    if not 0 <= px <= PX_MAX or (_off_unit(exact, px) and not rounded):
        raise Refused("malformed_price_range")
    return px


def _off_unit(exact: float, px: int) -> bool:
    """Between two units, by more than a double's error."""
    return abs(exact - px) > OFF_GRID_MAX + abs(exact) * 2**-51


def quantity(value: float) -> int:
    """A quantity in 32 bits: whole, at most the largest.

    Raises:
        Refused: it is negative.
    """
    if value < 0:
        raise Refused("malformed_price_range")
    return min(math.floor(value + 0.5) if isinstance(value, float) else value, QTY_MAX)


def fields_of(parts: Parts, scale: float, *, is_index: bool) -> dict[str, Any]:
    """Every field that the message could tell, by its name in TICK; sides as lists of five.

    Raises:
        Refused: one of them is no number for the record.
    """
    ltpc, day = parts.ltpc, parts.bar("1d")
    shown = (parts.levels or [])[:LEVELS]
    rest = [0.0] * (LEVELS - len(shown))
    prices = {"last_px": ltpc.ltp, "close_px": ltpc.cp, "average_px": float(parts.value("atp"))}
    prices |= {f"{name}_px": getattr(day, name) if day else 0.0 for name in ("open", "high", "low")}
    totals = {"total_buy_qty": "tbq", "total_sell_qty": "tsq", "oi": "oi"}
    doubles = {name: float(parts.value(source)) for name, source in totals.items()}
    sides = {"bids": [level.bidP for level in shown] + rest, "asks": [level.askP for level in shown] + rest}
    numbers = [*prices.values(), *doubles.values(), *sides["bids"], *sides["asks"]]
    if not all(map(math.isfinite, numbers)):
        raise Refused("malformed_not_finite")
    found: dict[str, Any] = {
        name: units(value, scale, rounded=is_index or name in ROUNDED) for name, value in prices.items()
    }
    found |= {name: quantity(value) for name, value in doubles.items()}
    found |= {
        name: [units(value, scale, rounded=is_index) for value in values] for name, values in sides.items()
    }
    none = [0] * len(rest)
    found["bid_qty"] = [quantity(level.bidQ) for level in shown] + none
    found["ask_qty"] = [quantity(level.askQ) for level in shown] + none
    found["last_qty"] = quantity(ltpc.ltq)
    quantity(parts.value("vtt"))
    found["volume"] = parts.value("vtt")
    seconds = ltpc.ltt // 1000 if ltpc.ltt > 0 else 0
    found["last_trade_s"] = seconds if seconds <= SECONDS_MAX else 0
    return found


FIELDS: Final = {
    PRICE: ("last_px", "close_px", "last_qty", "last_trade_s"),
    TRADE: ("volume", "average_px", "total_buy_qty", "total_sell_qty"),
    OHLC: ("open_px", "high_px", "low_px"),
    DEPTH: ("bids", "asks", "bid_qty", "ask_qty"),
    OI: ("oi",),
}
ROUNDED: Final = ("average_px", "close_px")
"""They need not be on the unit: an average is none, and a close may be adjusted. So none of an index."""
NEVER_ZERO: Final = ("volume", "average_px")
ON_TICK: Final = ("last_px", "open_px", "high_px", "low_px")


def merged(instrument: Instrument, parts: Parts, groups: int) -> tuple[dict[str, Any], bool]:
    """The tick's fields without its times, and whether a price is off the tick size.

    Raises:
        Refused: the message tells no tick; what is known stays.
    """
    new = fields_of(parts, instrument.scale, is_index=instrument.is_index)
    step = 0 if instrument.is_index else instrument.step
    prices = [new[name] for name in ON_TICK] + new["bids"] + new["asks"]
    known = instrument.known if instrument.known.branch == parts.branch else Known(parts.branch)
    is_carried = bool(known.groups & ~groups)
    for group, names in FIELDS.items():
        for name in names if groups & group else ():
            if name in NEVER_ZERO and not new[name] and known.told.get(name):
                is_carried = True
            else:
                known.told[name] = new[name]
    known.groups |= groups
    if groups & OHLC and parts.bar("1d") is None:
        known.groups &= ~OHLC
    instrument.known = known
    flags = known.groups & ~PRICE
    flags |= TickFlag.CARRIED if is_carried else 0
    flags |= TickFlag.INDEX if instrument.is_index else 0
    flags |= TickFlag.LAST_TRADE_TIME if known.told.get("last_trade_s") else 0
    tick = {**known.told, "flags": int(flags), "slot": instrument.slot, "kind": int(KINDS[parts.branch])}
    is_off = step > 0 and any(px % step for px in prices)
    return tick, is_off or is_off_unit(instrument, parts)


def is_off_unit(instrument: Instrument, parts: Parts) -> bool:
    """The close was rounded, or whatever an index told: the tick is counted."""
    told = [parts.ltpc.cp]
    if instrument.is_index:
        day = parts.bar("1d")
        told += [parts.ltpc.ltp] + ([day.open, day.high, day.low] if day else [])
        told += [price for level in (parts.levels or [])[:LEVELS] for price in (level.bidP, level.askP)]
    exact = [price * instrument.scale for price in told]
    return any(_off_unit(units, round(units)) for units in exact)


# ---- AUX


def told(value: float) -> float:
    """A number as an AUX record tells it."""
    return value if math.isfinite(value) else math.nan


def aux_of(feed: Any) -> list[tuple[int, int, list[float]]]:
    """(kind, part, values) of all records of one Feed; the values that are left out are NaN."""
    branch, body = body_of(feed)
    if not branch:
        return []
    parts, records = Parts(branch, body), []
    if branch in ("marketFF", "firstLevelWithGreeks"):
        greeks = [getattr(body.optionGreeks, name) for name in ("delta", "theta", "gamma", "vega", "rho")]
        if any(greeks) or body.iv:
            values = greeks if any(greeks) else [math.nan] * 5
            records.append(
                (
                    int(AuxKind.GREEKS),
                    0,
                    [told(v) for v in (*values, body.iv or math.nan, body.oi or math.nan)],
                )
            )
    deep = [
        [float(level.bidQ), told(level.bidP), float(level.askQ), told(level.askP)]
        for level in (parts.levels or [])[LEVELS:LEVELS_MAX]
    ]
    for part, at in enumerate(range(0, len(deep), 3)):
        records.append((int(AuxKind.DEPTH), part, [v for level in deep[at : at + 3] for v in level]))
    has_price = parts.ltpc.HasField("iep")
    names = ("iep", "rp", "ieq", "iiqTotal", "iiqM", "casEligible")
    auction = [getattr(body, name) if branch == "marketFF" else 0 for name in names]
    if has_price or any(auction):
        price = parts.ltpc.iep.value if has_price else auction[0] or math.nan
        records.append(
            (int(AuxKind.AUCTION), 0, [told(price), told(auction[1] or math.nan), *map(float, auction[2:])])
        )
    for part, interval in enumerate(("1d", "I1")):
        if (bar := parts.bar(interval)) is not None:
            prices = [told(value) for value in (bar.open, bar.high, bar.low, bar.close)]
            records.append((int(AuxKind.BAR), part, [*prices, float(bar.vol), float(bar.ts)]))
    return records


def markets_of(info: Any) -> list[tuple[int, int, int, list[float]]]:
    """(slot, kind, part, values) of what a MarketInfo says of the segments that have a number."""
    records = []
    phases = (info.segmentStatus, info.casMarketStatus, info.preOpenSessionStatus)
    for phase, said in enumerate(phases, 1):
        for part, segment in enumerate(SEGMENTS):
            if segment not in said:
                continue
            if phase == 1:
                values = [float(said[segment]), 1.0]
            else:
                word = said[segment].status
                status = STATUS_WORDS.index(word) if word in STATUS_WORDS else -1
                values = [float(status), float(phase), float(said[segment].updatedTime)]
            records.append((NO_SLOT, int(AuxKind.MARKET), part, values))
    return records
