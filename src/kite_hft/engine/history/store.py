"""Layer 5, metadata job, cold: the daily bars of one instrument as one Parquet file, whole or not there.

`days/<EXCHANGE>/<symbol>.parquet` below the metadata folder. It gets its name when it is complete and on
the disk, and says what it is: the instrument, the broker, since when was asked, when, and a digest of its
rows and of all this, which is compared whenever it is read.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kite_hft.engine.history.replacing import replace
from kite_hft.plain import plain_bytes
from kite_hft.trading.history import DAY, Array, HistoryError, check
from kite_hft.trading.instruments import Instrument

FORMAT: Final = "1"
_PREFIX: Final = "kite_hft."
SCHEMA: Final = pa.schema(
    [("day", pa.date32()), *((name, pa.float64()) for name in ("open", "high", "low", "close")),
     ("volume", pa.int64()), ("oi", pa.int64())]
)  # fmt: skip


BYTES_MAX: Final = 64 << 20
"""Of one instrument's days: a century has less than one."""


class StoreError(Exception):
    """A file of bars that cannot be trusted; the message says why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Bars of one instrument. since: the first day that was asked for; asked_ns: CLOCK_REALTIME of the
    asking; done: the last day whose trading was over then."""

    key: str
    token: int
    upstox_key: str
    broker: str
    since: dt.date
    asked_ns: int
    done: dt.date
    days: Array

    def belongs_to(self, row: Instrument, broker: str) -> bool:
        """Whether it is of this instrument: names and numbers are used again after an expiry."""
        mine = (self.key, self.token, self.broker) == (row.key, row.token, broker)
        return mine and self.upstox_key in ("", row.upstox_key)


def path_of(folder: Path, key: str) -> Path:
    """Where the bars of EXCHANGE:SYMBOL lie."""
    exchange, _, symbol = key.partition(":")
    return folder / "days" / quote(exchange, safe="") / f"{quote(symbol, safe=' &-_.')}.parquet"


def write(folder: Path, stored: Stored) -> None:
    """Put the file in place of the one before it.

    Raises:
        OSError: it cannot be written; the one before it stands.
    """
    told = {
        "format": FORMAT,
        "instrument": stored.key,
        "token": str(stored.token),
        "upstox_key": stored.upstox_key,
        "broker": stored.broker,
        "since": stored.since.isoformat(),
        "asked_ns": str(stored.asked_ns),
        "done": stored.done.isoformat(),
    }
    told["sha256"] = _digest(told, stored.days)
    schema = SCHEMA.with_metadata({_PREFIX + name: value for name, value in told.items()})
    table = pa.table([pa.array(stored.days[name]) for name in SCHEMA.names], schema=schema)
    path = path_of(folder, stored.key)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace(path, lambda fresh: pq.write_table(table, fresh, compression="zstd"))


def read(folder: Path, key: str) -> Stored | None:
    """What is stored of an instrument; None: nothing.

    Raises:
        StoreError: the file is damaged or of another format.
    """
    path = path_of(folder, key)
    try:
        table = pq.read_table(pa.BufferReader(plain_bytes(path, BYTES_MAX)))
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: cannot be read ({type(error).__name__})") from None
    told = {
        k.decode(errors="replace").removeprefix(_PREFIX): v.decode(errors="replace")
        for k, v in (table.schema.metadata or {}).items()
    }
    try:
        digest = told.pop("sha256")
        if told["format"] != FORMAT or table.schema.names != SCHEMA.names:
            raise StoreError(f"{path}: is of another format")
        days = np.zeros(len(table), DAY)
        for name in SCHEMA.names:
            days[name] = table[name].to_numpy()
        if digest != _digest(told, days):
            raise StoreError(f"{path}: does not hold what was written")
        check(days)
        stored = Stored(
            told["instrument"], int(told["token"]), told["upstox_key"], told["broker"],
            dt.date.fromisoformat(told["since"]), int(told["asked_ns"]),
            dt.date.fromisoformat(told["done"]), days,
        )  # fmt: skip
    except (KeyError, ValueError, HistoryError) as error:
        raise StoreError(f"{path}: {error}") from None
    if stored.key != key:
        raise StoreError(f"{path}: holds {stored.key}")
    return stored


def _digest(told: Mapping[str, str], days: Array) -> str:
    """Over everything that the file says."""
    words = json.dumps(sorted(told.items())).encode()
    return hashlib.sha256(words + days.tobytes()).hexdigest()
