"""Slow, obvious twin of Upstox's feed: messages to what a TICK and AUX records say. Standard library only."""

from __future__ import annotations

import math
from typing import Any

from reference.upstox_wire import parse

TRADE, OHLC, DEPTH, OI, EXCHANGE_TIME, LAST_TRADE_TIME, CARRIED, INDEX = 1, 2, 4, 8, 16, 32, 64, 256
PRICE = "price"
GREEKS_AUX, DEPTH_AUX, AUCTION_AUX, BAR_AUX, MARKET_AUX = 1, 2, 3, 4, 5
SEGMENTS = (
    "NSE_EQ", "NSE_FO", "NSE_INDEX", "NSE_COM", "NCD_FO", "BSE_EQ", "BSE_FO", "BSE_INDEX", "BCD_FO",
    "MCX_FO", "MCX_INDEX",
)  # fmt: skip
WORDS = (
    "CTS_CLOSE", "CAS_LM_START", "CAS_M_STOP", "CAS_STOP", "PRE_OPEN_START", "PRE_OPEN_M_END", "PRE_OPEN_END",
)  # fmt: skip
NONE = math.nan


class PriceRange(ValueError):
    """A number that the record has no room or no unit for."""


class NotFinite(ValueError):
    """NaN or infinity where a price or a quantity should be."""


# ---- messages to ticks


LOOSE = ("average_px", "close_px")
"""Prices that need not be on the unit: they are rounded."""


def to_px(price: float, scale: float, *, whole: bool = True) -> int:
    """Rupees to units."""
    if not math.isfinite(price):
        raise NotFinite(price)
    units = price * scale
    px = round(units) if math.isfinite(units) else -1
    if px < 0 or px > 2**31 - 1 or (whole and is_between(units)):
        raise PriceRange(price)
    return px


def is_between(units: float) -> bool:
    """No whole number of units, by more than a double of that size is off."""
    return abs(units - round(units)) > 1e-6 + abs(units) * 2**-51


def to_qty(qty: float) -> int:
    """A quantity as u32; too large ones are the largest."""
    if isinstance(qty, float) and not math.isfinite(qty):
        raise NotFinite(qty)
    if qty < 0:
        raise PriceRange(qty)
    return min(math.floor(qty + 0.5) if isinstance(qty, float) else qty, 2**32 - 1)


class Twin:
    """One connection: what is known of each key, and the ticks and AUX records of frame after frame.

    instruments: key -> (slot, units per rupee, tick size in units).
    """

    def __init__(self, instruments: dict[str, tuple[int, float, int]]) -> None:
        self.instruments = instruments
        self.known: dict[str, dict[str, Any]] = {}
        self.counts = dict.fromkeys(
            ("received", "decoded", "unknown_instrument", "malformed_price_range", "malformed_not_finite",
             "off_grid", "carried", "market_infos"), 0
        )  # fmt: skip

    def frame(self, data: bytes) -> tuple[list[dict[str, Any]], list[tuple[int, int, int, list[float]]]]:
        """Ticks (by field, what is 0 left out) and AUX records (slot, kind, part, values).

        Raises:
            WireError: the frame is malformed; nothing of it was taken.
        """
        message = parse("FeedResponse", data)
        ticks, aux = [], []
        if "marketInfo" in message:
            self.counts["market_infos"] += 1
            aux += markets_aux(message["marketInfo"])
        time_ms = message.get("currentTs", 0)
        exch_ns = time_ms * 10**6 if 0 < time_ms <= (2**63 - 1) // 10**6 else 0
        is_snapshot = (message.get("type", 0) + 2**31) % 2**32 == 2**31
        for key, feed in message.get("feeds", {}).items():
            if key not in self.instruments:
                self.counts["unknown_instrument"] += 1
                self.counts["received"] += 1
                continue
            if is_snapshot:
                self.known.pop(key, None)
            try:
                tick, said = self.entry(key, feed, exch_ns)
            except PriceRange:
                self.counts["malformed_price_range"] += 1
                self.counts["received"] += 1
                continue
            except NotFinite:
                self.counts["malformed_not_finite"] += 1
                self.counts["received"] += 1
                continue
            if said:
                self.counts["received"] += 1
                self.counts["decoded"] += 1
                self.counts["carried"] += bool(tick["flags"] & CARRIED)
                ticks.append({name: value for name, value in tick.items() if value})
            aux += [(self.instruments[key][0], *record) for record in entry_aux(feed)]
        return ticks, aux

    def entry(self, key: str, feed: dict[str, Any], exch_ns: int) -> tuple[dict[str, Any], set[Any]]:
        """The tick of one Feed, and which groups it said."""
        branch, body = branch_of(feed)
        slot, scale, step = self.instruments[key]
        is_index = key.split("|")[0].endswith("_INDEX")
        said = said_by(branch, body)
        if not said:
            return {}, said
        new, rounded = numbers(branch, body, scale, whole=not is_index)
        on_tick = (
            [new[name] for name in ("last_px", "open_px", "high_px", "low_px")] + new["bids"] + new["asks"]
        )
        off_grid = not is_index and step > 0 and any(px % step for px in on_tick)
        off_grid |= any(is_between(price * scale) for price in rounded)
        old = self.known.get(key, {})
        if old.get("branch") != branch:
            old = {}
        tick = {
            "branch": branch,
            "groups": old.get("groups", set()) | said,
            "fields": dict(old.get("fields", {})),
        }
        carried = bool(old.get("groups", set()) - said)
        for group in said:
            for name in GROUPS[group]:
                if name in ("volume", "average_px") and not new[name] and tick["fields"].get(name):
                    carried = True
                else:
                    tick["fields"][name] = new[name]
        if OHLC in said and not day_bar(body):
            tick["groups"] = tick["groups"] - {OHLC}
        self.known[key] = tick
        self.counts["off_grid"] += off_grid
        told = dict(tick["fields"])
        told["flags"] = sum(g for g in tick["groups"] if g != PRICE)
        told["flags"] |= INDEX * is_index | CARRIED * carried | EXCHANGE_TIME * bool(exch_ns)
        told["flags"] |= LAST_TRADE_TIME * bool(told.get("last_trade_s"))
        told |= {"slot": slot, "kind": {"LTPC": 1, "IndexFF": 3, "FirstLevel": 4, "MarketFF": 5}[branch]}
        told["exch_ns"] = exch_ns
        return told, said


GROUPS: dict[Any, tuple[str, ...]] = {
    PRICE: ("last_px", "close_px", "last_qty", "last_trade_s"),
    TRADE: ("volume", "average_px", "total_buy_qty", "total_sell_qty"),
    OHLC: ("open_px", "high_px", "low_px"),
    DEPTH: ("bids", "asks", "bid_qty", "ask_qty"),
    OI: ("oi",),
}


def branch_of(feed: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if "ltpc" in feed:
        return "LTPC", {"ltpc": feed["ltpc"]}
    if "firstLevelWithGreeks" in feed:
        return "FirstLevel", feed["firstLevelWithGreeks"]
    full = feed.get("fullFeed", {})
    if "marketFF" in full:
        return "MarketFF", full["marketFF"]
    return ("IndexFF", full["indexFF"]) if "indexFF" in full else ("", {})


def levels_of(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    """None: the message says nothing of depth."""
    if "firstDepth" in body:
        return [body["firstDepth"]]
    return body["marketLevel"].get("bidAskQuote", []) if "marketLevel" in body else None


def day_bar(body: dict[str, Any], interval: str = "1d") -> dict[str, Any] | None:
    found = [bar for bar in body.get("marketOHLC", {}).get("ohlc", []) if bar.get("interval", "") == interval]
    return found[-1] if found else None


def said_by(branch: str, body: dict[str, Any]) -> set[Any]:
    said: set[Any] = set()
    if any(body.get("ltpc", {}).get(name, 0) for name in ("ltp", "cp", "ltt", "ltq")):
        said.add(PRICE)
    if levels_of(body) is not None:
        said |= {DEPTH, TRADE}
    if any(body.get(name, 0) for name in ("vtt", "atp", "tbq", "tsq")):
        said.add(TRADE)
    if day_bar(body) or ("marketOHLC" in body and not body["marketOHLC"].get("ohlc")):
        said.add(OHLC)
    if body.get("oi", 0):
        said.add(OI)
    return said


def numbers(
    branch: str, body: dict[str, Any], scale: float, *, whole: bool
) -> tuple[dict[str, Any], list[float]]:
    """Every number of the message in the record's units, and the prices that are rounded, though hardly ever.

    NaN goes before what is out of range. whole: prices of who is traded are on the unit; an index's need not.
    """
    ltpc, bar = body.get("ltpc", {}), day_bar(body) or {}
    levels = [*(levels_of(body) or [])[:5], *[{}] * 5][:5]
    prices = {
        "last_px": ltpc.get("ltp", 0.0), "close_px": ltpc.get("cp", 0.0), "average_px": body.get("atp", 0.0),
        **{f"{name}_px": bar.get(name, 0.0) for name in ("open", "high", "low")},
    }  # fmt: skip
    doubles = {"oi": body.get("oi", 0.0), "total_buy_qty": body.get("tbq", 0.0),
               "total_sell_qty": body.get("tsq", 0.0)}  # fmt: skip
    bids, asks = [lv.get("bidP", 0.0) for lv in levels], [lv.get("askP", 0.0) for lv in levels]
    for value in (*prices.values(), *doubles.values(), *bids, *asks):
        if not math.isfinite(value):
            raise NotFinite(value)
    seconds = max(ltpc.get("ltt", 0), 0) // 1000
    if body.get("vtt", 0) < 0:
        raise PriceRange("volume")
    told = {
        **{name: to_px(value, scale, whole=whole and name not in LOOSE) for name, value in prices.items()},
        **{name: to_qty(value) for name, value in doubles.items()},
        "bids": [to_px(value, scale, whole=whole) for value in bids],
        "asks": [to_px(value, scale, whole=whole) for value in asks],
        "bid_qty": [to_qty(lv.get("bidQ", 0)) for lv in levels],
        "ask_qty": [to_qty(lv.get("askQ", 0)) for lv in levels],
        "last_qty": to_qty(ltpc.get("ltq", 0)), "volume": body.get("vtt", 0),
        "last_trade_s": seconds if seconds < 2**32 else 0,
    }  # fmt: skip
    del prices["average_px"]
    return told, [prices["close_px"]] if whole else [*prices.values(), *bids, *asks]


# ---- messages to AUX records: (kind, part, values), what is absent is NaN


def finite(value: float) -> float:
    return value if math.isfinite(value) else NONE


def entry_aux(feed: dict[str, Any]) -> list[tuple[int, int, list[float]]]:
    _, body = branch_of(feed)
    records: list[tuple[int, int, list[float]]] = []
    greeks = [
        body.get("optionGreeks", {}).get(name, 0.0) for name in ("delta", "theta", "gamma", "vega", "rho")
    ]
    iv = body.get("iv", 0.0)
    if any(greeks) or iv:
        told = [finite(value) for value in greeks] if any(greeks) else [NONE] * 5
        more = [finite(value) if value else NONE for value in (iv, body.get("oi", 0.0))]
        records.append((GREEKS_AUX, 0, [*told, *more]))
    deep = (levels_of(body) or [])[5:30]
    for part in range(0, len(deep), 3):
        values = []
        for level in deep[part : part + 3]:
            values += [float(level.get("bidQ", 0)), finite(level.get("bidP", 0.0))]
            values += [float(level.get("askQ", 0)), finite(level.get("askP", 0.0))]
        records.append((DEPTH_AUX, part // 3, values))
    records += auction_aux(body)
    for part, interval in enumerate(("1d", "I1")):
        bar = day_bar(body, interval)
        if bar is not None:
            prices = [finite(bar.get(name, 0.0)) for name in ("open", "high", "low", "close")]
            records.append((BAR_AUX, part, [*prices, float(bar.get("vol", 0)), float(bar.get("ts", 0))]))
    return records


def auction_aux(body: dict[str, Any]) -> list[tuple[int, int, list[float]]]:
    wrapped = body.get("ltpc", {}).get("iep")
    iep, rp = body.get("iep", 0.0), body.get("rp", 0.0)
    rest = [body.get(name, 0) for name in ("ieq", "iiqTotal", "iiqM", "casEligible")]
    if wrapped is None and not iep and not rp and not any(rest):
        return []
    price = wrapped.get("value", 0.0) if wrapped is not None else (iep or NONE)
    return [(AUCTION_AUX, 0, [finite(price), finite(rp) if rp else NONE, *map(float, rest)])]


def markets_aux(info: dict[str, Any]) -> list[tuple[int, int, int, list[float]]]:
    records = []
    for phase, name in enumerate(("segmentStatus", "casMarketStatus", "preOpenSessionStatus"), 1):
        said = info.get(name, {})
        for part, segment in enumerate(SEGMENTS):
            if segment not in said:
                continue
            if phase == 1:
                records.append((2**32 - 1, MARKET_AUX, part, [float(said[segment]), 1.0]))
                continue
            word = said[segment].get("status", "")
            status = WORDS.index(word) if word in WORDS else -1
            values = [float(status), float(phase), float(said[segment].get("updatedTime", 0))]
            records.append((2**32 - 1, MARKET_AUX, part, values))
    return records
