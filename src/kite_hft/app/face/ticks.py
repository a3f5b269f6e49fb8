"""Layer 6, a user's program, cold: ticks as a Python program sees them: objects for callbacks, arrays for
looks.

Both are copies: a program may keep them as long as it likes, and the ring goes on underneath.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kite_hft.layout import TickFlag, TickKind
from kite_hft.trading.instruments import Instrument
from kite_hft.units import IST_OFFSET_S

IST: Final = dt.timezone(dt.timedelta(seconds=IST_OFFSET_S))
NS_PER_US: Final = 1000
MODES: Final = {
    TickKind.LTP: "ltp",
    TickKind.INDEX_QUOTE: "quote",
    TickKind.QUOTE: "quote",
    TickKind.INDEX_FULL: "full",
    TickKind.FULL: "full",
}
GROUPS: Final = {
    TickFlag.TRADE: (
        "last_traded_quantity",
        "average_traded_price",
        "volume_traded",
        "total_buy_quantity",
        "total_sell_quantity",
    ),
    TickFlag.OHLC: ("ohlc",),
    TickFlag.DEPTH: ("bid_price", "ask_price", "depth"),
    TickFlag.OI: ("oi", "oi_day_high", "oi_day_low"),
    TickFlag.EXCHANGE_TIME: ("exchange_timestamp",),
    TickFlag.LAST_TRADE_TIME: ("last_trade_time",),
}
"""Which fields come with which group of a message; KiteTicker's names."""
ALWAYS: Final = (
    "instrument_token",
    "instrument",
    "mode",
    "tradable",
    "last_price",
    "change",
    "change_percent",
    "seq",
    "recv_ns",
)
GROUP_OF: Final = {name: flag for flag, names in GROUPS.items() for name in names}

COLUMNS: Final = np.dtype(
    [
        ("seq", "<u8"),  # number in its ring
        ("recv_ns", "<i8"),  # CLOCK_MONOTONIC of the socket read
        ("exch_ns", "<i8"),  # exchange time since the epoch, or 0
        ("instrument_token", "<u4"),
        ("last_price", "<f8"),
        ("last_traded_quantity", "<u4"),
        ("volume_traded", "<i8"),
        ("average_traded_price", "<f8"),
        ("bid_price", "<f8"),
        ("ask_price", "<f8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("total_buy_quantity", "<u4"),
        ("total_sell_quantity", "<u4"),
        ("oi", "<u4"),
        ("change_percent", "<f8"),
    ]
)
"""One row of `get_latest_ticks`. Prices in rupees (an index: points); NaN: the message carried none."""

_PRICES: Final = {
    "average_traded_price": ("average_px", TickFlag.TRADE),
    "bid_price": ("bid_px", TickFlag.DEPTH),
    "ask_price": ("ask_px", TickFlag.DEPTH),
    "open": ("open_px", TickFlag.OHLC),
    "high": ("high_px", TickFlag.OHLC),
    "low": ("low_px", TickFlag.OHLC),
}
_SAME: Final = {
    "seq": "seq",
    "recv_ns": "recv_ns",
    "exch_ns": "exch_ns",
    "last_traded_quantity": "last_qty",
    "volume_traded": "volume",
    "total_buy_quantity": "total_buy_qty",
    "total_sell_quantity": "total_sell_qty",
    "oi": "oi",
}


class Tick:
    """One tick, a copy of its own.

    Fields as attributes and by name (`tick.last_price`, `tick["last_price"]`), those that the message
    carried: a field that its mode does not have is an AttributeError (KeyError) that says so.
    change_percent is against the previous close, NaN (no comparison with it is true) where the mode
    carries no close.
    """

    __slots__ = ("_flags", "_record", "_row")

    def __init__(self, record: np.void, row: Instrument) -> None:
        """record: a TICK that nobody writes; row: its instrument."""
        self._record, self._row = record, row
        self._flags = int(record["flags"])

    def keys(self) -> Iterator[str]:
        """Names of the fields that this tick has."""
        yield from ALWAYS
        for flag, names in GROUPS.items():
            if self._flags & flag:
                yield from names

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(f"{name}: {self._why_not(name)}")
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        flag = GROUP_OF.get(str(name))
        return name in ALWAYS if flag is None else bool(self._flags & flag)

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default` where this tick does not have it."""
        return self[name] if name in self else default  # noqa: SIM401 this is that `get`

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __repr__(self) -> str:
        return f"Tick({self.instrument} {self.instrument_token} {self.mode} {self.last_price})"

    def _why_not(self, name: str) -> str:
        if name in GROUP_OF:
            return f"a {self.mode} tick of {self.instrument} does not carry it; subscribe with a larger mode"
        return f"a tick has no such field; this one has {', '.join(self.keys())}"

    def _of(self, field: str, name: str) -> Any:
        """A raw field, where its group came."""
        if not self._flags & GROUP_OF[name]:
            raise AttributeError(f"{name}: {self._why_not(name)}")
        return self._record[field]

    def _price(self, field: str, name: str) -> float:
        return float(self._of(field, name)) / self._row.scale

    # Always there

    @property
    def instrument_token(self) -> int:
        return self._row.token

    @property
    def instrument(self) -> str:
        """EXCHANGE:SYMBOL."""
        return self._row.key

    @property
    def mode(self) -> str:
        """ltp, quote or full: what the message carried."""
        return MODES.get(TickKind(int(self._record["kind"])), "full")

    @property
    def tradable(self) -> bool:
        return not self._row.is_index

    @property
    def last_price(self) -> float:
        return int(self._record["last_px"]) / self._row.scale

    @property
    def change_percent(self) -> float:
        """Against the previous session's close; NaN where the message carries none."""
        close = int(self._record["close_px"])
        return (int(self._record["last_px"]) - close) * 100.0 / close if close else math.nan

    @property
    def change(self) -> float:
        """KiteTicker's name for change_percent."""
        return self.change_percent

    @property
    def seq(self) -> int:
        """Number in its connection's ring."""
        return int(self._record["seq"])

    @property
    def recv_ns(self) -> int:
        """CLOCK_MONOTONIC when the socket was read."""
        return int(self._record["recv_ns"])

    # With the mode

    @property
    def last_traded_quantity(self) -> int:
        return int(self._of("last_qty", "last_traded_quantity"))

    @property
    def average_traded_price(self) -> float:
        return self._price("average_px", "average_traded_price")

    @property
    def volume_traded(self) -> int:
        return int(self._of("volume", "volume_traded"))

    @property
    def total_buy_quantity(self) -> int:
        return int(self._of("total_buy_qty", "total_buy_quantity"))

    @property
    def total_sell_quantity(self) -> int:
        return int(self._of("total_sell_qty", "total_sell_quantity"))

    @property
    def ohlc(self) -> dict[str, float]:
        """Of the day; close is the previous session's."""
        return {name: self._price(f"{name}_px", "ohlc") for name in ("open", "high", "low", "close")}

    @property
    def bid_price(self) -> float:
        return self._price("bid_px", "bid_price")

    @property
    def ask_price(self) -> float:
        return self._price("ask_px", "ask_price")

    @property
    def depth(self) -> dict[str, list[dict[str, float]]]:
        """Five levels a side, best first, as KiteTicker gives them."""
        record, scale = self._record, self._row.scale
        levels: dict[str, list[dict[str, float]]] = {}
        for name, side in (("buy", "bid"), ("sell", "ask")):
            prices = [int(self._of(f"{side}_px", "depth")), *map(int, record[f"{side}_px_deep"])]
            quantities, orders = record[f"{side}_qty"], record[f"{side}_orders"]
            levels[name] = [
                {"quantity": int(quantities[i]), "price": prices[i] / scale, "orders": int(orders[i])}
                for i in range(len(prices))
            ]
        return levels

    @property
    def oi(self) -> int:
        return int(self._of("oi", "oi"))

    @property
    def oi_day_high(self) -> int:
        return int(self._of("oi_day_high", "oi_day_high"))

    @property
    def oi_day_low(self) -> int:
        return int(self._of("oi_day_low", "oi_day_low"))

    @property
    def exchange_timestamp(self) -> dt.datetime:
        """Indian time, aware."""
        return _ist(int(self._of("exch_ns", "exchange_timestamp")))

    @property
    def last_trade_time(self) -> dt.datetime:
        """Indian time, aware."""
        return _ist(int(self._of("last_trade_s", "last_trade_time")) * 1_000_000_000)


def _ist(epoch_ns: int) -> dt.datetime:
    start = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (start + dt.timedelta(microseconds=epoch_ns // NS_PER_US)).astimezone(IST)


def columns(ticks: npt.NDArray[np.void], row: Instrument) -> npt.NDArray[np.void]:
    """TICK records of one instrument as rows of COLUMNS: float prices in rupees, plain names."""
    found = np.zeros(len(ticks), COLUMNS)
    found["instrument_token"] = row.token
    found["last_price"] = ticks["last_px"] / row.scale
    for name, field in _SAME.items():
        found[name] = ticks[field]
    for name, (field, flag) in _PRICES.items():
        found[name] = np.where(ticks["flags"] & int(flag), ticks[field] / row.scale, math.nan)
    close = ticks["close_px"].astype(np.float64)
    close[close == 0] = math.nan
    found["close"] = close / row.scale
    found["change_percent"] = (ticks["last_px"] - close) * 100.0 / close
    return found
