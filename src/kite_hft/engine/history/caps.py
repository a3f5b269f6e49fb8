"""Layer 5, metadata job, cold: market_cap.csv, refreshed from wherever the user has market caps from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kite_hft.engine.history.replacing import replace
from kite_hft.plain import plain_text
from kite_hft.sessions import ist_date
from kite_hft.trading.lists.market_caps import MarketCapError, MarketCaps, csv_text, parse

FILE: Final = "market_cap.csv"
OLD_DAYS: Final = 7
"""Older ones are warned about."""


def read_caps(folder: Path) -> MarketCaps | None:
    """What is kept; None: nothing.

    Raises:
        MarketCapError: the file cannot be used.
    """
    path = folder / FILE
    try:
        return parse(plain_text(path), str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise MarketCapError(f"{path}: {error}") from None


def refresh(
    folder: Path, source: str, now_real_ns: int, fetch: Callable[[str], tuple[int, bytes]]
) -> MarketCaps:
    """Put a table (a path, or an http address) in place of market_cap.csv. fetch: GET; raises OSError.

    Raises:
        MarketCapError: it cannot be had or used; the file before it stands. OSError: it cannot be written.
    """
    found = parse(_text(source, fetch), _shown(source))
    # A file of the user's may say itself of which day it is; an address gives today's.
    caps = MarketCaps(found.crores, found.as_of or ist_date(now_real_ns), source)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace(folder / FILE, lambda path: path.write_text(csv_text(caps), "utf-8"))
    return caps


def _text(source: str, fetch: Callable[[str], tuple[int, bytes]]) -> str:
    try:
        if "://" not in source:
            return plain_text(Path(os.path.expanduser(source)), "utf-8-sig")
        status, body = fetch(source)
        if status != 200:
            raise MarketCapError(f"{_shown(source)}: HTTP {status}; look at the address")
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MarketCapError(f"{_shown(source)}: no text") from None
    except (OSError, ValueError) as error:
        if isinstance(error, MarketCapError):
            raise
        raise MarketCapError(f"{_shown(source)}: {error}") from None


def _shown(source: str) -> str:
    """Without what may be a key."""
    return source.partition("?")[0]
