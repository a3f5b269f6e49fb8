"""Layer 0, every process, cold: the one definition of every record that crosses a process border.

setup.py loads this file by path (before the package can be imported) and generates
`khft_layout.h` and `khft_layout.pxd` from it, with a C static assert on each size and offset.
Nothing else in the product spells out a shared struct.

Rules, each asserted at import: fields follow one another without hidden padding, a record's
size is a multiple of 64 bytes, and every number is little-endian and of fixed width.
Enum values are journalled and travel between processes: a value is never re-used.

Imports numpy and the standard library only.
"""

from __future__ import annotations

import enum
import hashlib
from typing import Any, Final

import numpy as np

FORMAT_VERSION: Final = 1
CACHE_LINE: Final = 64
PAGE: Final = 4096
MAGIC: Final = b"KHFTSEG1"
NO_SLOT: Final = 0xFFFFFFFF
"""The slot of a record that belongs to no instrument."""


class SegmentKind(enum.IntEnum):
    """What a shared-memory segment holds."""

    TICK_RING = 1
    AUX_RING = 2
    INTENT_QUEUE = 3
    EVENT_QUEUE = 4
    TEXT_QUEUE = 5
    LATEST_TABLE = 6
    COUNTERS = 7
    BAR_RING = 8
    SLOT_STATS = 9  # plain rows of SLOT_STATS, one per slot
    FRAME_RING = 10
    INPUT_RING = 11


class SegmentState(enum.IntEnum):
    """Life of a segment, in its control page."""

    CREATED = 0
    OPEN = 1
    CLOSED = 2
    CLEAN = 3


class TickKind(enum.IntEnum):
    """Which packet a TICK came from (specs of Kite's binary frames: the length is the type)."""

    LTP = 1
    INDEX_QUOTE = 2
    INDEX_FULL = 3
    QUOTE = 4
    FULL = 5


class TickFlag(enum.IntFlag):
    """Groups of fields that a TICK holds; a group that is absent is all zero. Not so last_qty, close_px and
    last_trade_s at Upstox: they come with every price, whatever the groups."""

    TRADE = 1  # average_px, volume, total_buy_qty, total_sell_qty; of Kite last_qty, too
    OHLC = 2  # open_px, high_px, low_px; of Kite close_px, too
    DEPTH = 4  # bid_*, ask_*
    OI = 8  # oi, oi_day_high, oi_day_low
    EXCHANGE_TIME = 16  # exch_ns
    LAST_TRADE_TIME = 32  # last_trade_s
    CARRIED = 64  # at least one group repeats an earlier message
    FRESH = 128  # first tick of this slot since (re)connection
    INDEX = 256  # not tradable


class AuxKind(enum.IntEnum):
    """What the values of an AUX record are, in this order; absent ones are NaN."""

    GREEKS = 1  # delta, theta, gamma, vega, rho, implied volatility (a fraction), open interest
    DEPTH = 2  # part p: levels 6 + 3p .. 8 + 3p, each as bid quantity, bid, ask quantity, ask (rupees)
    AUCTION = 3  # indicative price, reference price, quantity, imbalance, that of market orders, eligible
    BAR = 4  # part 0: the day, 1: the last whole minute; open, high, low, close, volume, start (epoch ms)
    MARKET = 5  # part: segment (row of the adapter's table); status, 1 the day | 2 closing | 3 pre-open


class Side(enum.IntEnum):
    BUY = 1
    SELL = 2


class OrderType(enum.IntEnum):
    MARKET = 1
    LIMIT = 2
    SL = 3
    SLM = 4


class Product(enum.IntEnum):
    CNC = 1
    NRML = 2
    MIS = 3
    MTF = 4


class Validity(enum.IntEnum):
    DAY = 1
    IOC = 2
    TTL = 3


class IntentKind(enum.IntEnum):
    PLACE = 1
    MODIFY = 2
    CANCEL = 3
    PROBE = 4  # measures the way to ORDERS, which counts it and does nothing
    EXITS = 5  # ORDERS is to keep these exits for a position: stop, target, trail, time
    GTT = 6  # an order that lies at the broker until its trigger is touched, for days


class IntentFlag(enum.IntFlag):
    """EXIT marks an intent that only reduces a position: it passes where new risk is refused."""

    EXIT = 1
    GTT = 2  # EXITS: the stop and the target lie at the broker as a GTT, for positions held overnight


class EventKind(enum.IntEnum):
    """What an ORDER_EVENT tells a strategy."""

    REFUSED = 1  # by us, before anything left the machine
    SENT = 2
    ACCEPTED = 3
    UPDATED = 4
    FILL = 5
    COMPLETE = 6
    CANCELLED = 7
    REJECTED = 8  # by the broker or the exchange, with proof
    AMBIGUOUS = 9
    SNAPSHOT = 10


class OrderStatus(enum.IntEnum):
    """The engine's own order states; brokers' labels are mapped onto them."""

    NEW = 1
    REFUSED = 2
    SENT = 3
    PENDING = 4  # at the broker, not yet confirmed by the exchange
    OPEN = 5
    TRIGGER_PENDING = 6
    COMPLETE = 7
    CANCELLED = 8
    REJECTED = 9
    AMBIGUOUS = 10
    ABSENT = 11  # ambiguous, then proved absent from the book; only the broker's own word revives it


class InputKind(enum.IntEnum):
    """What a worker took in, in its input log."""

    DRAIN = 1  # n ticks of one ring
    EVENTS = 2  # n ORDER_EVENTs


class Severity(enum.IntEnum):
    """Of an alert."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


class Reason(enum.IntEnum):
    """Why an intent was refused; the registry of the journal and of report.json."""

    NONE = 0
    QUEUE_FULL = 1
    UNKNOWN_INSTRUMENT = 2
    NOT_TRADABLE = 3
    NO_REFERENCE_PRICE = 4
    STALE_TICK = 5
    BAD_INTENT = 6
    LOT_MULTIPLE = 7
    TICK_SIZE = 8
    MAX_ORDER_QUANTITY = 9
    MAX_ORDER_VALUE = 10
    MAX_EXPOSURE = 11
    MAX_POSITIONS = 12
    MAX_WORKING_ORDERS = 13
    PRICE_COLLAR = 14
    DUPLICATE_INTENT = 15
    UNKNOWN_ORDER = 16
    ORDER_NOT_OPEN = 17
    THROTTLE_DEADLINE = 18
    THROTTLE_QUEUE_FULL = 19
    NOT_ACTIVE = 20
    HALTED = 21
    JOURNAL_FAILED = 22
    MODIFICATION_CAP = 23
    NO_CHANGE = 24
    NOT_CONNECTED = 25
    FROZEN = 26  # an ambiguous order stands on this instrument and side
    ABSENT = 27  # never found at the broker, past the absence horizon
    BROKER = 28  # refused by the broker or the exchange; its words are in the journal
    MARKET_HALT = 29  # the whole market is silent while its connections live
    TOKEN_DEAD = 30  # the broker takes our token no more: nothing can be sent
    REDUCING = 31  # only what reduces a position passes
    NO_SNAPSHOT = 32  # no tick of the instrument since its connection came back
    RESTARTED = 33  # waited when the order process died; an opening is not sent late
    STRATEGY_HALTED = 34
    RESTRICTED_LIST = 35
    PRODUCT_NOT_ALLOWED = 36
    ORDER_TYPE_NOT_ALLOWED = 37  # type or validity, for this exchange and kind of instrument
    PHASE_CLOSED = 38  # the phase of the day takes no such order
    CUT_OFF = 39  # no openings any more before the square-off
    CIRCUIT = 40  # beyond the day's price band, or the band is unknown or old
    NO_HOLDINGS = 41  # delivery sale of more than may be sold today
    NO_SHORT = 42
    SELF_TRADE = 43  # would meet a live order of the same account
    ORDER_TO_TRADE = 44
    REPEATED = 45  # the same order again and again: the strategy is stopped until a person lets it go on
    PERIOD_LIMIT = 46  # orders, quantity or value within a period
    CAPITAL = 47
    DAILY_LOSS = 48
    DRAWDOWN = 49
    COOLDOWN = 50
    STOP_GUARD = 51  # too many stop losses within a period
    MARGIN = 52
    GROUP = 53  # another intent of its group was refused, or never came
    KILLED = 54
    EXPIRY = 55  # physical settlement is near
    CLOCK = 56  # the wall clock was stepped, or is too far from the broker's
    UNTRADED = 57  # a market order in a contract without a trade today
    DAY_CAP = 58  # the rest of the day's orders is kept for exits
    NO_POSITION = 59  # exits for a position that is not there
    SUPERSEDED = 60  # newer exits of the same position took its place
    FEEDS_DIVERGE = 61  # the two brokers' feeds tell different prices of the instrument


def _record(size: int, fields: list[tuple[Any, ...]]) -> np.dtype[np.void]:
    """A packed record of exactly `size` bytes.

    Raises:
        ValueError: the fields do not add up to `size`, `size` is no multiple of a cache line,
            or a field is not naturally aligned (C would pad it).
    """
    dtype = np.dtype(fields)
    if dtype.itemsize != size or size % CACHE_LINE:
        raise ValueError(f"record of {dtype.itemsize} bytes, declared {size}")
    for name, (sub, offset) in ((n, f[:2]) for n, f in (dtype.fields or {}).items()):
        width = 1 if sub.base.kind in "SV" else sub.base.itemsize
        if offset % width:
            raise ValueError(f"field {name} at offset {offset} is not aligned to {width}")
    return dtype


TICK: Final = _record(
    192,
    [
        # The hot line: all that the default kernels and most strategies read.
        ("seq", "<u8"),  # absolute number in its ring
        ("recv_ns", "<i8"),  # CLOCK_MONOTONIC, once per socket read
        ("exch_ns", "<i8"),  # exchange time since the epoch, or 0
        ("volume", "<i8"),  # of the day
        ("slot", "<u4"),
        ("flags", "<u2"),
        ("kind", "u1"),
        ("connection", "u1"),
        ("last_px", "<i4"),
        ("last_qty", "<u4"),
        ("bid_px", "<i4"),  # best levels; the other four are bid_px_deep, ask_px_deep
        ("ask_px", "<i4"),
        ("close_px", "<i4"),  # of the previous session
        ("oi", "<u4"),
        # The cold lines.
        ("open_px", "<i4"),
        ("high_px", "<i4"),
        ("low_px", "<i4"),
        ("average_px", "<i4"),
        ("total_buy_qty", "<u4"),
        ("total_sell_qty", "<u4"),
        ("oi_day_high", "<u4"),
        ("oi_day_low", "<u4"),
        ("last_trade_s", "<u4"),
        ("bid_px_deep", "<i4", (4,)),
        ("ask_px_deep", "<i4", (4,)),
        ("bid_qty", "<u4", (5,)),
        ("ask_qty", "<u4", (5,)),
        ("bid_orders", "<u2", (5,)),
        ("ask_orders", "<u2", (5,)),
    ],
)
"""One market-data update. Prices in the instrument's own unit (see units.py)."""

AUX: Final = _record(
    128,
    [
        ("seq", "<u8"),
        ("recv_ns", "<i8"),
        ("slot", "<u4"),
        ("kind", "<u2"),
        ("part", "<u2"),
        ("values", "<f8", (13,)),
    ],
)
"""What only some instruments have: deeper levels, Greeks, auction fields; on a second ring."""

BAR: Final = _record(
    64,
    [
        ("seq", "<u8"),
        ("start_ns", "<i8"),  # exchange time, start of the bar
        ("volume", "<i8"),
        ("closed_recv_ns", "<i8"),
        ("slot", "<u4"),
        ("period_s", "<u4"),
        ("open_px", "<i4"),
        ("high_px", "<i4"),
        ("low_px", "<i4"),
        ("close_px", "<i4"),
        ("ticks", "<u4"),
        ("flags", "<u4"),
    ],
)
"""One closed OHLC bar."""

KERNEL_ROW: Final = _record(
    64,
    [
        ("estimate", "<f8"),  # 1-state Kalman
        ("estimate2", "<f8"),  # 2-state Kalman: price
        ("velocity2", "<f8"),  # 2-state Kalman: price per tick, or per second
        ("rel_diff", "<f8"),  # (estimate - price) / price
        ("tick_no", "<u4"),  # of this slot since its last reset, from 1
        ("closed_mask", "<u4"),  # bit i: the bar of period i closed at this tick
        ("bar_index", "<u4"),  # first of this tick's closed bars in the batch's bar array
        ("late", "<u4"),  # 1: older than the open bar
        ("time_ns", "<i8"),  # exchange time of the tick, or of its arrival where it carries none
        ("reserved", "<u8"),
    ],
)
"""What the default kernels say of one tick; same index as the tick in its batch."""

INTENT: Final = _record(
    128,
    [
        ("seq", "<u8"),  # number in its queue
        ("created_ns", "<i8"),  # CLOCK_MONOTONIC at the push
        ("tick_recv_ns", "<i8"),  # recv_ns of the tick that caused it
        ("tick_seq", "<u8"),
        ("strategy_seq", "<u8"),  # strategy's own number, from 1: (strategy, strategy_seq) is unique
        ("target_seq", "<u8"),  # MODIFY, CANCEL: strategy_seq of the order meant
        ("deadline_ns", "<i8"),  # CLOCK_MONOTONIC; 0: none
        ("slot", "<u4"),
        ("strategy", "<u2"),
        ("kind", "u1"),
        ("side", "u1"),
        ("order_type", "u1"),
        ("product", "u1"),
        ("validity", "u1"),
        ("flags", "u1"),
        ("qty", "<u4"),
        ("px", "<i4"),
        ("trigger_px", "<i4"),
        ("ref_px", "<i4"),  # last price that the strategy saw
        ("trail_px", "<i4"),  # EXITS: distance of a trailing stop; 0: it does not trail
        ("signal", "<f8"),  # what made it act, for trades.csv and the log
        ("step_px", "<i4"),  # EXITS: least move of a trailing stop
        ("group", "<u4"),  # intents of one group are judged together; 0: none
        ("leg", "u1"),  # its place in the group, from 1
        ("legs", "u1"),  # how many the group has
        ("reserved8", "u1", (6,)),
        ("reserved", "<u8", (2,)),
    ],
)
"""A strategy's wish. Only ORDERS turns it into an order."""

ORDER_EVENT: Final = _record(
    128,
    [
        ("seq", "<u8"),
        ("event_ns", "<i8"),
        ("strategy_seq", "<u8"),
        ("order_no", "<u8"),  # ORDERS' own number of the order, from 1
        ("position", "<i8"),  # net quantity of (strategy, slot, product) after the event
        ("filled_value_paise", "<i8"),
        ("slot", "<u4"),
        ("strategy", "<u2"),
        ("reason", "<u2"),
        ("kind", "u1"),
        ("status", "u1"),
        ("side", "u1"),
        ("product", "u1"),
        ("order_type", "u1"),
        ("reserved8", "u1", (3,)),
        ("qty", "<u4"),
        ("filled_qty", "<u4"),
        ("pending_qty", "<u4"),
        ("fill_qty", "<u4"),  # of this event
        ("fill_px", "<i4"),  # of this event; rounded to the unit when the broker gives an average
        ("px", "<i4"),
        ("reserved", "<u8", (5,)),
    ],
)
"""What became of an order, told to its strategy."""

TEXT_BYTES_MAX: Final = 8192
TEXT: Final = _record(
    8256,
    [
        ("seq", "<u8"),
        ("recv_ns", "<i8"),
        ("length", "<u4"),
        ("connection", "<u4"),
        ("reserved", "<u8", (5,)),
        ("data", "S8192"),
    ],
)
"""A websocket text frame on its way from FEED to ORDERS."""

FRAME_BYTES_MAX: Final = 8192
FRAME: Final = _record(
    8256,
    [
        ("seq", "<u8"),
        ("recv_ns", "<i8"),
        ("frame_no", "<u8"),  # of its connection, from 1: parts of one frame share it
        ("length", "<u4"),  # bytes in this part
        ("offset", "<u4"),  # of this part in its frame
        ("total", "<u4"),  # bytes of the whole frame
        ("connection", "<u4"),
        ("reserved", "<u8", (3,)),
        ("data", "u1", (8192,)),
    ],
)
"""A binary websocket frame, or a part of a longer one, on its way to the recorder."""

INPUT: Final = _record(
    64,
    [
        ("seq", "<u8"),
        ("now_ns", "<i8"),  # CLOCK_MONOTONIC when it was taken in
        ("first_seq", "<u8"),  # of the records taken
        ("generation", "<u8"),  # of the ring; 0 for a queue
        ("n", "<u4"),
        ("kind", "<u2"),
        ("source", "<u2"),  # number of the connection, or of the queue
        ("lost", "<u8"),  # records of this ring that were lost before these
        ("room", "<u8"),  # of the intent queue
        ("reserved", "<u8"),
    ],
)
"""One entry of a worker's input log: replaying them from a snapshot gives the same state."""

SLOT_STATS: Final = _record(
    64,
    [
        ("ticks", "<u8"),
        ("last_recv_ns", "<i8"),  # CLOCK_MONOTONIC of the newest tick; 0: none yet
        ("last_exch_ns", "<i8"),
        ("longest_silence_ns", "<i8"),  # between two ticks of one connection
        ("gap_ns", "<i8"),  # all time between the last tick before a reconnect and the first after it
        ("gaps", "<u4"),  # reconnects that this slot has seen the end of
        ("mode", "u1"),  # 0 not subscribed, 1 ltp, 2 quote, 3 full
        ("fresh", "u1"),  # 1: a tick has come since the connection was made
        ("connection", "<u2"),
        ("subscribed_ns", "<i8"),
        ("reserved", "<u8"),
    ],
)
"""What a feed knows of one instrument; each word is written by its reader process alone."""

HEADER: Final = _record(
    PAGE,
    [
        ("magic", "S8"),
        ("format_version", "<u4"),
        ("kind", "<u4"),
        ("layout_fingerprint", "<u8"),
        ("build_fingerprint", "<u8"),
        ("record_size", "<u4"),
        ("page_size", "<u4"),
        ("capacity", "<u8"),  # records; a power of two for rings and queues
        ("total_size", "<u8"),  # bytes of the whole file
        ("payload_offset", "<u8"),
        ("generation", "<u8"),
        ("first_seq", "<u8"),  # number of the first record; numbering goes on over generations
        ("created_mono_ns", "<i8"),
        ("created_real_ns", "<i8"),
        ("creator_start_ticks", "<u8"),  # field 22 of /proc/<pid>/stat
        ("creator_pid", "<u4"),
        ("histograms", "<u4"),  # COUNTERS: number of histograms after the counters
        ("boot_id", "S40"),
        ("name", "S64"),
        ("reserved", "V3872"),
        ("reserved32", "<u4"),
        ("crc", "<u4"),  # CRC-32 of all bytes before it
    ],
)
"""First page of every segment: written once at creation, covered whole by its CRC."""

CONTROL: Final = _record(
    PAGE,
    [
        # Writer's line.
        ("head", "<u8"),  # records published
        ("intent", "<u8"),  # records announced: intent > head while a batch is being written
        ("writer_pad", "V112"),
        # Consumer's line (SPSC queue).
        ("tail", "<u8"),
        ("tail_pad", "V120"),
        # Wake-up line: futex word, and how many wait on it.
        ("wake_word", "<u4"),
        ("parked", "<u4"),
        ("wake_pad", "V120"),
        # Liveness line.
        ("heartbeat_ns", "<i8"),
        ("writer_start_ticks", "<u8"),
        ("writer_pid", "<u4"),
        ("state", "<u4"),
        ("final_seq", "<u8"),
        ("live_pad", "V96"),
        ("reserved", "V3584"),
    ],
)
"""Second page of every segment: the words that change. Each group on a line pair of its own."""

RECORDS: Final = {
    "TICK": TICK,
    "AUX": AUX,
    "BAR": BAR,
    "KERNEL_ROW": KERNEL_ROW,
    "INTENT": INTENT,
    "ORDER_EVENT": ORDER_EVENT,
    "TEXT": TEXT,
    "FRAME": FRAME,
    "INPUT": INPUT,
    "SLOT_STATS": SLOT_STATS,
    "HEADER": HEADER,
    "CONTROL": CONTROL,
}

ENUMS: Final[tuple[type[enum.IntEnum] | type[enum.IntFlag], ...]] = (
    SegmentKind,
    SegmentState,
    TickKind,
    TickFlag,
    AuxKind,
    Side,
    OrderType,
    Product,
    Validity,
    IntentKind,
    IntentFlag,
    EventKind,
    OrderStatus,
    InputKind,
    Severity,
    Reason,
)

# Latency histograms: logarithmic buckets, HISTOGRAM_SUB per power of two of nanoseconds.
HISTOGRAM_SUB_BITS: Final = 4
HISTOGRAM_BUCKETS: Final = 1024

COUNTERS: Final[dict[str, tuple[str, ...]]] = {
    "feed": (
        "frames",
        "bytes",
        "heartbeats",
        "texts",
        "texts_dropped",
        "received",
        "decoded",
        "published",
        "unknown_instrument",
        "malformed_short_frame",
        "malformed_wrong_count",
        "malformed_unknown_length",
        "malformed_cut_packet",
        "malformed_trailing_bytes",
        "malformed_price_range",
        "malformed_message",  # protobuf that ends inside a field, or is none
        "malformed_not_finite",  # a price that is NaN or infinite: no tick
        "off_grid",  # ticks with a price off the instrument's tick size
        "carried",  # ticks of partial messages: what they left out stands as before
        "market_infos",
        "aux_published",
        "aux_dropped",  # asked for, and there was no ring for them
        "checksum_decoded",
        "checksum_published",
        "connects",
        "disconnects",
        "connected",  # 0 or 1
        "last_frame_ns",
        "last_tick_ns",
        "subscribed",  # instruments
        "watchdog_trips",  # connections that we gave up for silence
        "refused_403",  # upgrades
        "refused_429",
        "refused_other",
        "unreachable",
        "closes_by_peer",  # with a close frame
        "closes_abrupt",  # the peer was gone without one
        "text_errors",  # frames of type error
        "pings",
        "pongs",
        "restarts",  # of the process
        "frames_recorded",
        "frames_unrecorded",  # too late for the recorder
    ),
    "compute": (
        "computed",
        "lost",
        "batches",
        "bars",
        "late",
        "signals",
        "intents",
        "intents_refused_full",
        "events",
        "checksum_computed",
        "snapshots",
        "snapshot_ns",  # CLOCK_MONOTONIC of the newest
        "restarts",
        "replayed_ticks",  # computed once more after a restart; not in computed
        "replayed_events",
        "intents_suppressed",  # made again while replaying
        "strategies_halted",
        "twins_passed_over",  # ticks of the second feed that were not newer than the first one's
    ),
    "orders": (
        "intents",
        "refused",
        "sent",
        "accepted",
        "filled",
        "partial_fills",
        "rejected",
        "cancelled",
        "ambiguous",
        "resolved",
        "modified",
        "updates",
        "updates_duplicate",
        "polls",
        "events",
        "events_dropped",
        "working",
        "positions",
        "gross_pnl_paise",
        "realised_pnl_paise",
        "journal_records",
        "http_requests",
        "texts_unparsed",
        "state_active",
        "state_halted",
        "state_reducing",
        "market_halted",
        "token_dead",
        "charges_paise",
        "net_pnl_paise",
        "unrealised_pnl_paise",
        "restarts",
        "http_429",
        "http_503",
        "http_504",
        "http_5xx",  # the others
        "http_403",
        "http_400_timed_out",
        "transport_errors",  # dropped, refused or timed out
        "updates_label",  # order updates with the status UPDATE
        "external_orders",  # seen, not ours
        "external_fills",
        "alerts",
        "probes",
        "state_killed",
        "strategies_held",  # REDUCING or HALTED by themselves
        "exit_plans",  # alive
        "exits_fired",
        "stops_unfilled",  # triggered stops that had to be priced anew
        "slices",
        "groups",
        "gtts",  # alive at the broker
        "naked_paise",  # value of positions without a protection that is alive
        "gross_notional_paise",  # of all orders sent today
        "funds_paise",  # at the broker, as last read
        "calls_today",  # to the broker, of all kinds
        "guards_tripped",
    ),
    "recorder": (
        "rows",
        "row_bytes",
        "lost_rows",
        "frames",
        "frame_bytes",
        "lost_frames",
        "gaps",
        "restarts",
    ),
}
"""Names of the 64-bit counters of each stage, in the order of their words."""

HISTOGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "feed": ("read_to_decoded", "read_to_published"),
    "compute": (
        "read_to_drained",
        "read_to_computed",
        "tick_to_intent",
        "send_to_computed",  # from the sender's intended time, where it stamps one
        "send_to_intent",
    ),
    "orders": (
        "intent_to_taken",  # the wake-up of ORDERS
        "taken_to_judged",  # risk
        "throttle_wait",
        "journalled",  # building the request and its journal record
        "written",  # the write call
        "intent_to_sent",
        "tick_to_order",
        "order_ack",
    ),
    "recorder": ("read_to_recorded",),
}
"""Names of the latency histograms (ns) of each stage, in order."""


def describe() -> str:
    """Every name, offset, type and value above as text: what the fingerprint is taken of."""
    lines = [f"format {FORMAT_VERSION} little-endian page {PAGE}"]
    for name, dtype in RECORDS.items():
        lines.append(f"record {name} {dtype.itemsize}")
        for field, info in (dtype.fields or {}).items():
            lines.append(f"  {field} {info[1]} {info[0].base.str} {info[0].shape}")
    for enumeration in ENUMS:
        lines.append(f"enum {enumeration.__name__}")
        lines.extend(f"  {member.name} {int(member)}" for member in enumeration)
    for stage, names in COUNTERS.items():
        lines.append(f"counters {stage} {' '.join(names)} | {' '.join(HISTOGRAMS[stage])}")
    lines.append(f"histogram {HISTOGRAM_SUB_BITS} {HISTOGRAM_BUCKETS}")
    return "\n".join(lines)


LAYOUT_FINGERPRINT: Final = int.from_bytes(hashlib.sha256(describe().encode()).digest()[:8], "little")
"""Stands in every segment and journal header; another value means another layout: refused."""
