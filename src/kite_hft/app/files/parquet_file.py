"""Layer 6, by hand, cold: recorded rows as a Parquet file. Imported only for it: pyarrow takes half a second.

The file is in order of time, over all connections. Prices are rupees (points, for an index) as the
nearest float64: `round(price * scale)` gives the recorded integer again. What an update did not carry
is null, never 0. Encodings are chosen by column: adjacent rows belong to different instruments, so
that only times and numbers gain by differences; prices gain by having their bytes sorted apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kite_hft.layout import TickFlag, TickKind
from kite_hft.memory.recording import Gap, RecordingError
from kite_hft.memory.recording_rows import RowFile, in_time_order
from kite_hft.sessions import ist_text
from kite_hft.trading.instruments import InstrumentTable

Array = npt.NDArray[Any]

FORMAT: Final = "1"
ROWS_HELD: Final = 1 << 19
"""Rows in memory, over all connections: about the size of a row group."""
TIME: Final = pa.timestamp("ns", "Asia/Kolkata")
KINDS: Final = ["none", *(kind.name.lower() for kind in TickKind)]
"""By the value of TickKind."""
_FLAG_BITS: Final = ", ".join(f"{flag.value} {flag.name}" for flag in TickFlag)

# name, type, unit, how it is encoded, what it is
COLUMNS: Final = (
    ("received_at", TIME, "ns", "delta", "when the packet was read from the socket"),
    ("exchange_at", TIME, "ns", "dictionary", "the exchange's time; Kite gives whole seconds"),
    ("instrument", pa.dictionary(pa.int32(), pa.string()), "", "dictionary", "EXCHANGE:SYMBOL"),
    ("last_inr", pa.float64(), "rupees", "bytes", "last traded price, or the value of an index in points"),
    ("bid_inr", pa.float64(), "rupees", "bytes", "best bid; 0 where that side of the book is empty"),
    ("ask_inr", pa.float64(), "rupees", "bytes", "best offer; 0 where that side of the book is empty"),
    ("close_inr", pa.float64(), "rupees", "dictionary", "close of the previous session"),
    ("last_qty", pa.int64(), "units", "dictionary", "quantity of the last trade"),
    ("volume_qty", pa.int64(), "units", "bytes", "traded so far on this day"),
    ("oi_qty", pa.int64(), "units", "dictionary", "open interest"),
    ("kind", pa.dictionary(pa.int8(), pa.string()), "", "dictionary", "the packet it came from"),
    ("flags", pa.uint16(), "bits", "dictionary", _FLAG_BITS),
    ("connection", pa.uint8(), "", "dictionary", "number of the websocket connection"),
    ("seq", pa.int64(), "", "delta", "number among the ticks of its connection: a step above 1 is a loss"),
)  # fmt: skip
_ENCODINGS: Final = {"delta": "DELTA_BINARY_PACKED", "bytes": "BYTE_STREAM_SPLIT"}
_STATISTICS: Final = ["received_at", "exchange_at", "instrument", "seq"]
"""Of what people filter by, so that readers skip row groups; of prices that change from row to row they
would exclude nothing."""
SCHEMA: Final = pa.schema(
    [
        pa.field(name, kind, metadata={"unit": unit, "description": text} if unit else {"description": text})
        for name, kind, unit, _, text in COLUMNS
    ]
)


def write(
    sink: IO[bytes],
    files: Sequence[RowFile],
    instruments: InstrumentTable,
    progress: Callable[[int], None] = lambda rows: None,
    rows_held: int = ROWS_HELD,
) -> int:
    """All rows of the files, in order of time, into `sink`; how many. progress: told the rows so far.

    Raises:
        RecordingError: the recordings do not fit together, or cannot be read.
        OSError: the sink does not take them.
    """
    encodings = {name: _ENCODINGS[how] for name, _, _, how, _ in COLUMNS if how in _ENCODINGS}
    done = 0
    with pq.ParquetWriter(
        sink,
        SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name, _, _, how, _ in COLUMNS if how == "dictionary"],
        column_encoding=encodings,
        write_statistics=_STATISTICS,
    ) as writer:
        for batch in _batches(in_time_order(files, max(1, rows_held // len(files))), instruments):
            writer.write_batch(batch, row_group_size=len(batch))
            done += len(batch)
            progress(done)
        writer.add_key_value_metadata(notes(files, done))
    return done


def _batches(pieces: Iterable[dict[str, Array]], instruments: InstrumentTable) -> Iterable[pa.RecordBatch]:
    scales = instruments.scales()
    keys = pa.array([row.key for row in instruments], pa.string())
    for piece in pieces:
        if int(piece["slot"].max()) >= len(scales):
            raise RecordingError(
                f"a row is of instrument number {int(piece['slot'].max())}; instruments.csv has {len(scales)}"
            )
        yield _batch(piece, scales, keys)


def _batch(piece: dict[str, Array], scales: Array, keys: pa.Array) -> pa.RecordBatch:
    """One piece in the order of COLUMNS."""
    flags, scale = piece["flags"], scales[piece["slot"]]

    def carried(values: Array, flag: TickFlag, kind: pa.DataType | None = None) -> pa.Array:
        return pa.array(values, kind, mask=(flags & flag.value) == 0)

    def told(values: Array, flag: TickFlag) -> pa.Array:
        """Upstox tells these with every price, without the rest of their group."""
        return pa.array(values, mask=((flags & flag.value) == 0) & (values == 0))

    return pa.record_batch(
        [
            pa.array(piece["real_ns"], TIME),
            carried(piece["exch_ns"], TickFlag.EXCHANGE_TIME, TIME),
            pa.DictionaryArray.from_arrays(pa.array(piece["slot"].view(np.int32)), keys),
            pa.array(piece["last_px"] / scale),
            carried(piece["bid_px"] / scale, TickFlag.DEPTH),
            carried(piece["ask_px"] / scale, TickFlag.DEPTH),
            told(piece["close_px"] / scale, TickFlag.OHLC),
            told(piece["last_qty"].astype(np.int64), TickFlag.TRADE),
            carried(piece["volume"], TickFlag.TRADE),
            carried(piece["oi"].astype(np.int64), TickFlag.OI),
            pa.DictionaryArray.from_arrays(pa.array(piece["kind"].view(np.int8)), pa.array(KINDS)),
            pa.array(flags),
            pa.array(piece["connection"]),
            pa.array(piece["seq"].view(np.int64)),
        ],
        schema=SCHEMA,
    )


def notes(files: Sequence[RowFile], rows: int) -> dict[str, str]:
    """The file's own metadata, all text: where it comes from, and everything that is missing."""
    gaps = [_told(file, gap) for file in files for gap in file.gaps]
    return {
        "kite_hft.format": FORMAT,
        "kite_hft.rows": str(rows),
        "kite_hft.lost": str(sum(gap["lost"] for gap in gaps)),
        "kite_hft.gaps": json.dumps(gaps),
        "kite_hft.sources": json.dumps([_source(file) for file in files]),
        "kite_hft.instruments_sha256": files[0].origin.instruments,
    }


def _told(file: RowFile, gap: Gap) -> dict[str, Any]:
    """rows_before: of the same connection."""
    return {
        "connection": file.origin.connection,
        "at": ist_text(gap.at_ns),
        "at_ns": gap.at_ns,
        "lost": gap.lost,
        "reason": gap.reason.name,
        "rows_before": gap.before,
    }


def _source(file: RowFile) -> dict[str, Any]:
    """offset_ns: real minus monotonic time at the start; steps_back: rows older than one before them."""
    return {
        "file": file.path.name,
        "connection": file.origin.connection,
        "rows": file.rows,
        "closed": file.closed,
        "cut": file.cut,
        "steps_back": file.steps_back,
        "offset_ns": file.origin.offset_ns,
    }
