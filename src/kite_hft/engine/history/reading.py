"""Layer 5, supervisor and market process, cold: metadata.json as what strategies are told of the days before.

Loads no pyarrow: a worker starts with it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft.plain import DATA_BYTES_MAX, plain_bytes
from kite_hft.strategies.history import AHEAD, LENGTHS, History, no_history
from kite_hft.trading.history import FRAMES, numbers
from kite_hft.trading.instruments import InstrumentTable

FORMAT: Final = 1


class NoHistory(ValueError):
    """A file that is no metadata.json; the message says why, and what to do."""


def read_history(path: Path, instruments: InstrumentTable, day: dt.date) -> History:
    """The history of every slot as of the morning of `day`. Of an instrument whose newest bar is of `day`
    itself, or later, nothing is told: it would be a look ahead.

    Raises:
        NoHistory: no such file, or not one that can be used.
    """
    try:
        whole = json.loads(plain_bytes(path, DATA_BYTES_MAX))
        if whole["format"] != FORMAT or whole["windows"] != list(LENGTHS):
            raise NoHistory(f"{path}: of another version: make it again with kite-hft metadata")
        rows = whole["instruments"]
    except OSError as error:
        raise NoHistory(
            f"{path}: {error.strerror}; kite-hft metadata makes it (metadata.json in its folder)"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, NoHistory):
            raise
        raise NoHistory(f"{path}: is no metadata.json ({error})") from None
    history = no_history(len(instruments))
    for row in instruments:
        found = rows.get(row.key)
        try:
            if found is not None and _same(found, row.token, row.upstox_key):
                _take(history, row.slot, found, day)
        except (ValueError, KeyError, TypeError) as error:
            raise NoHistory(f"{path}: {row.key} cannot be read ({error!r})") from None
    for array in (history.close, history.average, history.rest, history.as_of):
        array.setflags(write=False)
    return history


def _same(found: Mapping[str, Any], token: int, upstox_key: str) -> bool:
    """Numbers are used again after an expiry, names too."""
    keyed = bool(upstox_key) and found["upstox_key"] == upstox_key
    return keyed or bool(found["token"] == token)


def _take(history: History, slot: int, found: Mapping[str, Any], day: dt.date) -> None:
    newest = found["day"]
    last = dt.date.fromisoformat(newest["last"])
    if last >= day or not newest["finished"]:
        history.as_of[slot] = AHEAD
        return
    history.close[slot] = newest["close"]
    history.as_of[slot] = int(last.strftime("%Y%m%d"))
    for f, frame in enumerate(FRAMES):
        bar = found[frame]
        at = numbers(np.array([bar["last"], day.isoformat()], "M8[D]"), frame)
        rest = bar["rest"] if at[0] == at[1] else bar["rest_next"]
        for w, window in enumerate(map(str, LENGTHS)):
            history.average[slot, f, w] = np.nan if bar["average"][window] is None else bar["average"][window]
            history.rest[slot, f, w] = np.nan if rest[window] is None else rest[window]
