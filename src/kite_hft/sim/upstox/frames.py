"""Layer 4, simulator, hot: rows of market data to Upstox's V3 feed entries and frames, vectorised.

Messages and field numbers: the descriptor of the official client 2.30.0 (MarketDataFeedV3). An
entry is one instrument's `feeds` element: {key: 1, value: Feed 2}. A frame is FeedResponse: type 1,
feeds 2 (entries), currentTs 3, marketInfo 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from kite_hft.sim.upstox.protobuf import (
    BYTES,
    VARINT,
    Cells,
    constant,
    doubles,
    message,
    rows_of,
    tag,
    texts,
    varint,
    varints,
)

LTPC, OPTION_GREEKS, FULL, FULL_D30 = 1, 2, 3, 4
"""Modes of a subscription; the numbers are ours."""
MODES: Final = {"ltpc": LTPC, "option_greeks": OPTION_GREEKS, "full": FULL, "full_d30": FULL_D30}
_REQUEST_MODE: Final = {LTPC: 0, FULL: 1, OPTION_GREEKS: 2, FULL_D30: 3}
"""RequestMode on the wire; ltpc is 0 and so not there."""

INITIAL_FEED, LIVE_FEED, MARKET_INFO = 0, 1, 2
LEVELS: Final = 5
DEEP_LEVELS: Final = 30

LEVEL_PART, GREEKS_PART, MINUTE_PART, DAY_PART, AUCTION_PART = 1, 2, 4, 8, 16
"""Bits of FEED.parts: the sub-messages that are there (AUCTION_PART: LTPC.iep)."""

FEED: Final = np.dtype(
    [
        ("ltp", "<f8"), ("ltt", "<i8"), ("ltq", "<i8"), ("cp", "<f8"),
        ("bid_q", "<i8", (LEVELS,)), ("bid_p", "<f8", (LEVELS,)),
        ("ask_q", "<i8", (LEVELS,)), ("ask_p", "<f8", (LEVELS,)),
        ("greeks", "<f8", (5,)),  # delta, theta, gamma, vega, rho
        ("day", "<f8", (4,)), ("day_vol", "<i8"), ("day_ts", "<i8"),  # open, high, low, close
        ("minute", "<f8", (4,)), ("minute_vol", "<i8"), ("minute_ts", "<i8"),
        ("atp", "<f8"), ("vtt", "<i8"), ("oi", "<f8"), ("iv", "<f8"), ("tbq", "<f8"), ("tsq", "<f8"),
        ("iep", "<f8"), ("rp", "<f8"), ("ieq", "<i8"), ("iiq_total", "<i8"), ("iiq_market", "<i8"),
        ("cas_eligible", "<i8"),
        ("levels", "u1"),  # entries of bidAskQuote
        ("parts", "u1"), ("index", "?"),
    ]
)  # fmt: skip
"""One instrument's whole content: rupees, units, epoch ms; as the wire has it."""

Feeds = npt.NDArray[np.void]


class KeyCells(NamedTuple):
    """The instrument keys of all slots, ready for the wire."""

    cells: Cells  # (slots, widest): tag 1, length, key; holes behind


def key_cells(keys: Sequence[str]) -> KeyCells:
    """`keys[slot]`: the instrument's key; "" has no form on the wire."""
    data = [key.encode() for key in keys]
    return KeyCells(texts([tag(1, BYTES) + varint(len(key)) + key for key in data]))


def encode_entries(
    rows: Feeds, slots: npt.NDArray[Any], modes: npt.NDArray[np.uint8], keys: KeyCells
) -> list[bytes]:
    """Each row as an entry of `feeds`, in the mode of its slot.

    rows: FEED[n]; slots: int[n]; modes: uint8[slots], LTPC to FULL_D30. What a row's `parts` lack is
    left out; an index has neither depth nor quantities.
    """
    entries: list[bytes] = [b""] * len(rows)
    kinds = modes[slots].astype(np.intp) + 8 * rows["index"]
    for kind in np.unique(kinds):
        chosen = np.flatnonzero(kinds == kind)
        mode, part = int(kind) & 7, rows[chosen]
        feed = [_BRANCHES[int(kind)](part, mode)]
        if number := _REQUEST_MODE[mode]:
            feed.append(constant(tag(4, VARINT) + varint(number), len(part)))
        cells = message(2, [keys.cells[slots[chosen]], message(2, feed)])
        for at, entry in zip(chosen.tolist(), rows_of(cells), strict=True):
            entries[at] = entry
    return entries


def frame(kind: int, entries: Iterable[bytes], current_ms: int) -> bytes:
    """FeedResponse of a feed: `kind` INITIAL_FEED or LIVE_FEED."""
    head = tag(1, VARINT) + varint(kind) if kind else b""
    return head + b"".join(entries) + tag(3, VARINT) + varint(current_ms)


def placeholder(key: str, mode: int) -> bytes:
    """The entry of an instrument of which nothing is said yet: an empty LTPC."""
    request = tag(4, VARINT) + varint(_REQUEST_MODE[mode]) if _REQUEST_MODE[mode] else b""
    return _field(2, _field(1, key.encode()) + _field(2, _field(1, b"") + request))


def market_info(
    segments: Mapping[str, int],
    closing: Mapping[str, tuple[str, int]],
    pre_open: Mapping[str, tuple[str, int]],
    current_ms: int,
) -> bytes:
    """FeedResponse of type market_info: status by segment; phases of auctions as (word, epoch ms)."""
    body = b""
    for name, value in segments.items():
        body += _field(1, _field(1, name.encode()) + _scalar(2, value))
    for number, phases in ((2, closing), (3, pre_open)):
        for name, (word, at_ms) in phases.items():
            status = _field(1, word.encode()) + _scalar(2, at_ms)
            body += _field(number, _field(1, name.encode()) + _field(2, status))
    return _scalar(1, MARKET_INFO) + _scalar(3, current_ms) + _field(4, body)


def _field(number: int, data: bytes) -> bytes:
    return tag(number, BYTES) + varint(len(data)) + data


def _scalar(number: int, value: int) -> bytes:
    return tag(number, VARINT) + varint(value) if value else b""


# -- messages of the schema, for n rows at once


def _ltpc(number: int, rows: Feeds) -> Cells:
    parts = [doubles(1, rows["ltp"]), varints(2, rows["ltt"]), varints(3, rows["ltq"])]
    parts.append(doubles(4, rows["cp"]))
    auction = (rows["parts"] & AUCTION_PART) > 0
    if auction.any():
        parts.append(message(5, [doubles(1, rows["iep"])], auction))
    return message(number, parts)


def _greeks(number: int, rows: Feeds) -> Cells:
    values = rows["greeks"]
    fields = [doubles(1 + i, values[:, i]) for i in range(values.shape[1])]
    return message(number, fields, (rows["parts"] & GREEKS_PART) > 0)


def _quotes(
    number: int, bid_q: npt.NDArray[Any], bid_p: npt.NDArray[Any], ask_q: npt.NDArray[Any],
    ask_p: npt.NDArray[Any], present: npt.NDArray[np.bool_] | None,
) -> Cells:  # fmt: skip
    """(n, levels) of quotes side by side."""
    n, levels = bid_q.shape
    flat = [
        varints(1, bid_q.reshape(-1)), doubles(2, bid_p.reshape(-1)),
        varints(3, ask_q.reshape(-1)), doubles(4, ask_p.reshape(-1)),
    ]  # fmt: skip
    cells = message(number, flat, None if present is None else present.reshape(-1))
    return cells.reshape(n, levels * cells.shape[1])


def _levels(rows: Feeds, mode: int) -> Cells:
    bid_q, bid_p, ask_q, ask_p = (rows[name] for name in ("bid_q", "bid_p", "ask_q", "ask_p"))
    counts = rows["levels"].astype(np.intp)
    if mode == FULL_D30:
        bid_q, bid_p, ask_q, ask_p = deeper(rows)
        counts = np.where(counts == LEVELS, DEEP_LEVELS, counts)
    present = np.arange(bid_q.shape[1]) < counts[:, None]
    quotes = _quotes(1, bid_q, bid_p, ask_q, ask_p, None if present.all() else present)
    return message(2, [quotes], (rows["parts"] & LEVEL_PART) > 0)


def deeper(rows: Feeds) -> tuple[npt.NDArray[Any], ...]:
    """Thirty levels from five: on in the steps of the first five, with their quantities in turn."""
    more = np.arange(LEVELS, DEEP_LEVELS)
    out = []
    for side in ("bid", "ask"):
        prices, quantities = rows[f"{side}_p"], rows[f"{side}_q"]
        last = prices[:, LEVELS - 1 :]
        step = np.round(np.abs(last - prices[:, LEVELS - 2 : LEVELS - 1]), 4)
        away = np.round(last + (-step if side == "bid" else step) * (more - LEVELS + 1), 4)
        there = (last > 0) & (away > 0)
        out.append(np.concatenate([quantities, np.where(there, quantities[:, more % LEVELS], 0)], axis=1))
        out.append(np.concatenate([prices, np.where(there, away, 0.0)], axis=1))
    return tuple(out)


def _bar(number: int, rows: Feeds, name: str, interval: bytes, part: int) -> Cells:
    values = rows[name]
    fields = [constant(_field(1, interval), len(rows))]
    fields += [doubles(2 + i, values[:, i]) for i in range(4)]
    fields += [varints(6, rows[f"{name}_vol"]), varints(7, rows[f"{name}_ts"])]
    return message(number, fields, (rows["parts"] & part) > 0)


def _ohlc(number: int, rows: Feeds) -> Cells:
    bars = [_bar(1, rows, "day", b"1d", DAY_PART), _bar(1, rows, "minute", b"I1", MINUTE_PART)]
    return message(number, bars)


def _only_ltpc(rows: Feeds, mode: int) -> Cells:
    return _ltpc(1, rows)


def _first_level(rows: Feeds, mode: int) -> Cells:
    best = _quotes(
        2, rows["bid_q"][:, :1], rows["bid_p"][:, :1], rows["ask_q"][:, :1], rows["ask_p"][:, :1],
        ((rows["parts"] & LEVEL_PART) > 0)[:, None],
    )  # fmt: skip
    rest = [varints(4, rows["vtt"]), doubles(5, rows["oi"]), doubles(6, rows["iv"])]
    return message(3, [_ltpc(1, rows), best, _greeks(3, rows), *rest])


def _market(rows: Feeds, mode: int) -> Cells:
    fields = [_ltpc(1, rows), _levels(rows, mode), _greeks(3, rows), _ohlc(4, rows)]
    fields += [doubles(5, rows["atp"]), varints(6, rows["vtt"])]
    for number, name in ((7, "oi"), (8, "iv"), (9, "tbq"), (10, "tsq"), (11, "iep"), (12, "rp")):
        fields.append(doubles(number, rows[name]))
    for number, name in ((13, "ieq"), (14, "iiq_total"), (15, "iiq_market"), (16, "cas_eligible")):
        fields.append(varints(number, rows[name]))
    return message(2, [message(1, fields)])


def _index(rows: Feeds, mode: int) -> Cells:
    return message(2, [message(2, [_ltpc(1, rows), _ohlc(2, rows)])])


def _first_of_index(rows: Feeds, mode: int) -> Cells:
    return message(3, [_ltpc(1, rows)])


_BRANCHES: Final = {
    LTPC: _only_ltpc, OPTION_GREEKS: _first_level, FULL: _market, FULL_D30: _market,
    8 + LTPC: _only_ltpc, 8 + OPTION_GREEKS: _first_of_index, 8 + FULL: _index, 8 + FULL_D30: _index,
}  # fmt: skip
"""Mode, and 8 more for an index -> what Feed holds."""
