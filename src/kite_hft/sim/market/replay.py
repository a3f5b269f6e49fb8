"""Layer 4, simulator, cold: recorded market data as a source of TICK records.

The engine's own recordings (`*.rec`, see recordings.py) come first; else four kinds of files, told
apart by what stands in them (plain or .xz):

- the recorded Upstox V3 feed: JSON lines, one message each, files merged by the time of reception
  and then by file name; the rest of the mapping is in `read_feed`;
- one option's ticks (CSV with a header, 8 columns);
- index ticks (CSV, 15 columns, with or without a header);
- an index once a second (CSV, 2 columns, no header).

Every message becomes exactly one TICK. A pause of hours (overnight) is cut to one second.
"""

from __future__ import annotations

import calendar
import contextlib
import csv
import io
import lzma
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from kite_hft.layout import TICK, TickKind
from kite_hft.memory.recording import RecordingError, find
from kite_hft.plain import DATA_BYTES_MAX, open_plain
from kite_hft.sim.kite.frames import encode_frames
from kite_hft.sim.market.recorded import instrument_of
from kite_hft.sim.market.recordings import KITE, Beside, Packets, load
from kite_hft.sim.market.source import Encode, Ticks, Times, join_ticks
from kite_hft.sim.market.synthetic import INDEX_FLAGS, TRADED_FLAGS
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.units import IST_OFFSET_S, NS_PER_S

OVERNIGHT_NS: Final = 4 * 3600 * NS_PER_S
_SUFFIXES: Final = (".jsonl", ".jsonl.xz", ".csv", ".csv.xz")
LINE_MAX: Final = 16 << 20
TEXT_MAX: Final = 1 << 40
_OPTION_COLUMNS: Final = [
    "timestamp", "instrument", "ltp", "ltq", "bid_price", "ask_price", "bid_qty", "ask_qty",
]  # fmt: skip
_INDEX_COLUMNS: Final = 15


ReadFeed = Callable[[Iterable[str], str], list[tuple[str, Times, Ticks]]]


class ReplayError(Exception):
    """The recorded data cannot be replayed; the message names the file and the line."""


class Replay:
    """A whole recording in memory: ticks in order, each with its time since the first."""

    def __init__(
        self,
        instruments: InstrumentTable,
        times: Times,
        ticks: Ticks,
        packets: list[bytes | None] | None = None,
        notes: tuple[str, ...] = (),
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """packets: of each tick, where they were recorded; notes: what a person should know; numbers: as of
        recordings.Recorded."""
        self.instruments, self.notes, self.numbers = instruments, notes, numbers
        self.encode: Encode = encode_frames if packets is None else Packets(ticks, packets).encode
        self._times = times
        self._ticks = ticks
        self._taken = 0

    def __len__(self) -> int:
        return len(self._ticks)

    @property
    def ticks(self) -> Ticks:
        """All of it, in order of play."""
        return self._ticks

    def next_ns(self) -> int | None:
        """When the next tick is due, ns after the first; None at the end."""
        return int(self._times[self._taken]) if self._taken < len(self._times) else None

    def take(self, until_ns: int, limit: int) -> tuple[Times, Ticks]:
        """The next ticks due up to `until_ns`, at most `limit`: (due ns, TICK)."""
        first = self._taken
        last = min(first + limit, int(np.searchsorted(self._times, until_ns, "right")))
        self._taken = max(first, last)
        return self._times[first : self._taken], self._ticks[first : self._taken]


def open_replay(
    path: Path, read_json: ReadFeed | None = None, broker: str = KITE, beside: Beside | None = None
) -> Replay:
    """The recording in a file, or in all files of a folder (also the folder of a run).

    `read_json`: reads the files of the recorded feed instead of `read_feed`. broker: whose simulator plays
    it; beside: keeps what Upstox's frames tell beside their ticks (recordings.load).

    Raises:
        ReplayError: nothing to replay there, an instrument without a token rule, an unreadable
            line, or a price that is no multiple of a paisa.
    """
    try:
        if recordings := find(path):
            found = load(recordings, OVERNIGHT_NS, broker, beside)
            return Replay(
                found.instruments, found.times, found.ticks, found.packets, found.notes, found.numbers
            )
    except RecordingError as error:
        raise ReplayError(str(error)) from error
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in files if file.name.endswith(_SUFFIXES)]
    if not files or not all(file.is_file() for file in files):
        raise ReplayError(f"{path}: no recorded data (files {', '.join(_SUFFIXES)})")
    parts: list[tuple[str, Times, Ticks]] = []
    for file in files:
        try:
            with _open(file) as text:
                reader = (read_json or read_feed) if ".jsonl" in file.name else _read_csv
                parts += reader(_lines(text, file), file.name)
        except (OSError, EOFError, csv.Error, lzma.LZMAError, UnicodeDecodeError) as error:
            raise ReplayError(f"{file}: {error}") from error
    return _merge(parts)


def _merge(parts: list[tuple[str, Times, Ticks]]) -> Replay:
    if not parts:
        raise ReplayError("no recorded data: the files are empty")
    rows: dict[str, Instrument] = {}
    for key, _, _ in parts:
        if key not in rows:
            row = instrument_of(key, len(rows))
            if row is None:
                raise ReplayError(f"no rule gives {key!r} a Kite token")
            rows[key] = row
    for key, _, ticks in parts:
        ticks["slot"] = rows[key].slot
    stamps = np.concatenate([stamp for _, stamp, _ in parts])
    ticks = join_ticks([part for _, _, part in parts])
    order = np.argsort(stamps, kind="stable")  # parts are in order of file names
    stamps, ticks = stamps[order], ticks[order]
    gaps = np.diff(stamps, prepend=stamps[:1])
    gaps[gaps > OVERNIGHT_NS] = NS_PER_S
    return Replay(InstrumentTable(tuple(rows.values())), np.cumsum(gaps), ticks)


@contextlib.contextmanager
def _open(file: Path) -> Iterator[IO[str]]:
    is_packed = file.suffix == ".xz"
    with (
        open_plain(file, DATA_BYTES_MAX if is_packed else TEXT_MAX) as raw,
        io.TextIOWrapper(lzma.LZMAFile(raw) if is_packed else raw, "utf-8", newline="") as text,
    ):
        yield text


def _lines(text: IO[str], file: Path) -> Iterator[str]:
    """The lines; one that has no end is refused instead of held."""
    while line := text.readline(LINE_MAX):
        if len(line) == LINE_MAX:
            raise ReplayError(f"{file}: a line of more than {LINE_MAX:,} characters")
        yield line


# -- the recorded feed


class Level(msgspec.Struct):
    bidQ: int = 0
    bidP: float = 0.0
    askQ: int = 0
    askP: float = 0.0


class Ltpc(msgspec.Struct):
    ltp: float
    ltt: int = 0
    ltq: int = 0
    cp: float = 0.0


class Greeks(msgspec.Struct):
    delta: float = 0.0
    theta: float = 0.0
    gamma: float = 0.0
    vega: float = 0.0
    rho: float = 0.0


class Candle(msgspec.Struct):
    interval: str
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    vol: int = 0
    ts: int = 0


class Levels(msgspec.Struct):
    bidAskQuote: list[Level] = []


class Candles(msgspec.Struct):
    ohlc: list[Candle] = []


class MarketFeed(msgspec.Struct):
    """MarketFullFeed of a message."""

    ltpc: Ltpc
    marketLevel: Levels
    marketOHLC: Candles
    optionGreeks: Greeks | None = None
    atp: float = 0.0
    vtt: int = 0
    oi: float = 0.0
    iv: float = 0.0
    tbq: float = 0.0
    tsq: float = 0.0


class _Feed(msgspec.Struct):
    marketFF: MarketFeed


class Message(msgspec.Struct):
    """One line of the recorded feed."""

    fullFeed: _Feed
    instrumentKey: str
    stamp: str = msgspec.field(name="_insertion_time")


_NO_CANDLE: Final = Candle("1d")
_NO_LEVELS: Final = [Level()] * 5
# One message as one row of numbers; prices in rupees. Kept as float64: exact to 2^53.
_COLUMNS: Final = (
    "stamp_us", "last", "ltt_ms", "ltq", "close", "open", "high", "low", "average", "volume", "oi",
    "buy", "sell",
)  # fmt: skip


def read_feed(lines: Iterable[str], where: str) -> list[tuple[str, Times, Ticks]]:
    """One file of the recorded feed: (instrument key, reception times, ticks).

    close = cp (of the previous session), open/high/low = the 1d candle, exchange time = the second
    of reception, last_trade_s = ltt in seconds, one order per displayed level, oi extremes = so
    far in the file, absent fields = 0.
    """
    return feed_of(messages(lines, where), where)


def messages(lines: Iterable[str], where: str) -> list[Message]:
    """The lines of one file.

    Raises:
        ReplayError: one that is none; names it.
    """
    decode = msgspec.json.Decoder(Message, strict=False).decode
    found = []
    for line_no, line in enumerate(lines, 1):
        try:
            found.append(decode(line))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise ReplayError(f"{where}, line {line_no}: {error}") from error
    return found


def feed_of(found: Sequence[Message], where: str) -> list[tuple[str, Times, Ticks]]:
    """As read_feed, of messages."""
    numbers: list[tuple[float, ...]] = []
    levels: list[list[tuple[float, float, float, float]]] = []
    key = ""
    for line_no, message in enumerate(found, 1):
        try:
            stamp = _stamp_us(message.stamp)
        except ValueError as error:
            raise ReplayError(f"{where}, line {line_no}: {error}") from error
        if key not in ("", message.instrumentKey):
            raise ReplayError(f"{where}, line {line_no}: a second instrument, {message.instrumentKey}")
        key = message.instrumentKey
        full = message.fullFeed.marketFF
        day = next((c for c in full.marketOHLC.ohlc if c.interval == "1d"), _NO_CANDLE)
        ltpc = full.ltpc
        numbers.append(
            (stamp, ltpc.ltp, ltpc.ltt, ltpc.ltq, ltpc.cp, day.open, day.high, day.low, full.atp, full.vtt,
             full.oi, full.tbq, full.tsq)
        )  # fmt: skip
        five = (full.marketLevel.bidAskQuote + _NO_LEVELS)[:5]
        levels.append([(lv.bidP, lv.askP, lv.bidQ, lv.askQ) for lv in five])
    if not numbers:
        return []
    table = dict(zip(_COLUMNS, np.array(numbers, np.float64).T, strict=True))
    return [(key, table["stamp_us"].astype(np.int64) * 1000, _feed_ticks(table, np.array(levels), where))]


def _feed_ticks(table: dict[str, Any], levels: npt.NDArray[np.float64], where: str) -> Ticks:
    ticks = np.zeros(len(levels), TICK)
    ticks["kind"], ticks["flags"] = TickKind.FULL, TRADED_FLAGS
    ticks["exch_ns"] = table["stamp_us"].astype(np.int64) // 1_000_000 * NS_PER_S
    for name in ("last", "close", "open", "high", "low"):
        ticks[f"{name}_px"] = _paise(table[name], f"{where}: {name}")
    ticks["average_px"] = np.rint(table["average"] * 100)
    ticks["last_qty"], ticks["volume"] = table["ltq"], table["volume"]
    ticks["total_buy_qty"], ticks["total_sell_qty"] = table["buy"], table["sell"]
    ticks["last_trade_s"] = table["ltt_ms"].astype(np.int64) // 1000
    ticks["oi"] = table["oi"]
    ticks["oi_day_high"] = np.maximum.accumulate(table["oi"])
    ticks["oi_day_low"] = np.minimum.accumulate(table["oi"])
    for i, side in enumerate(("bid", "ask")):
        px = _paise(levels[:, :, i], f"{where}: {side}")
        ticks[f"{side}_px"], ticks[f"{side}_px_deep"] = px[:, 0], px[:, 1:]
        ticks[f"{side}_qty"] = levels[:, :, 2 + i]
        ticks[f"{side}_orders"] = px > 0
    return ticks


def _stamp_us(text: str) -> float:
    """`2025-12-15 09:32:49[.218000]` (IST) as microseconds since the epoch."""
    seconds = _epoch_s(text[:19])
    return seconds * 1_000_000 + (int(text[20:26].ljust(6, "0")) if len(text) > 20 else 0)


_known_seconds: dict[str, int] = {}


def _epoch_s(text: str) -> int:
    """`2025-12-15 09:32:49` (IST) as seconds since the epoch."""
    known = _known_seconds.get(text)
    if known is None:
        known = calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")) - IST_OFFSET_S
        if len(_known_seconds) > 100_000:
            _known_seconds.clear()
        _known_seconds[text] = known
    return known


def _paise(rupees: npt.NDArray[np.float64], what: str) -> npt.NDArray[np.int64]:
    px = np.rint(rupees * 100)
    if np.any(np.abs(rupees * 100 - px) > 1e-6) or np.any((px < 0) | (px >= 2**31)):
        raise ReplayError(f"{what}: a price is no multiple of 0.01, negative or too large")
    return px.astype(np.int64)


# -- CSV files


def _read_csv(lines: Iterable[str], where: str) -> Iterator[tuple[str, Times, Ticks]]:
    """Option ticks, index ticks or an index once a second, by the number of columns."""
    rows = [row for row in csv.reader(lines) if row]
    header = rows.pop(0) if rows and rows[0][0] == "timestamp" else []
    width = len(rows[0]) if rows else 0
    if header != _OPTION_COLUMNS and width not in (_INDEX_COLUMNS, 2):
        raise ReplayError(f"{where}: not a recording that can be replayed ({width} columns)")
    try:
        stamps = np.array([_epoch_s(row[0]) for row in rows], np.int64) * NS_PER_S
        if header == _OPTION_COLUMNS:
            columns = np.array([[float(cell) for cell in row[2:]] for row in rows]).T
            key, ticks = rows[0][1], _option_ticks(columns, where)
        elif width == _INDEX_COLUMNS:
            # Columns: ltp, cp, then (behind ltt) open, high and low of the day.
            columns = np.array([[float(row[i]) for i in (2, 3, 5, 6, 7)] for row in rows]).T
            key, ticks = rows[0][1], _index_ticks(columns, where)
        else:
            columns = np.array([[float(row[1])] for row in rows]).T
            key, ticks = "NSE_INDEX|Nifty 50", _index_ticks(columns, where)
    except (ValueError, IndexError) as error:
        raise ReplayError(f"{where}: {error}") from error
    ticks["exch_ns"] = stamps
    yield key, stamps, ticks


def _option_ticks(columns: npt.NDArray[np.float64], where: str) -> Ticks:
    """ltp, ltq, bid price, ask price, bid quantity, ask quantity; no day volume."""
    ticks = np.zeros(columns.shape[1], TICK)
    ticks["kind"], ticks["flags"] = TickKind.FULL, TRADED_FLAGS
    for name, column in zip(("last_px", "bid_px", "ask_px"), columns[[0, 2, 3]], strict=True):
        ticks[name] = _paise(column, f"{where}: {name}")
    ticks["last_qty"] = columns[1]
    for side, quantity in (("bid", columns[4]), ("ask", columns[5])):
        ticks[f"{side}_qty"][:, 0] = quantity
        ticks[f"{side}_orders"][:, 0] = ticks[f"{side}_px"] > 0
    return ticks


def _index_ticks(columns: npt.NDArray[np.float64], where: str) -> Ticks:
    """ltp and, when known, previous close, open, high and low of the day."""
    ticks = np.zeros(columns.shape[1], TICK)
    ticks["kind"], ticks["flags"] = TickKind.INDEX_FULL, INDEX_FLAGS
    names = ("last_px", "close_px", "open_px", "high_px", "low_px")
    for name, column in zip(names, columns, strict=False):
        ticks[name] = _paise(column, f"{where}: {name}")
    return ticks
