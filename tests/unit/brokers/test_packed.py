"""A file packed with gzip or not; one that is cut short is refused."""

from __future__ import annotations

import gzip

import pytest

from kite_hft.brokers import packed
from kite_hft.brokers.packed import unpacked
from kite_hft.trading.instruments import InstrumentError


def test_content_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"a,b\n" * 1000
    assert unpacked(data, "f") == unpacked(gzip.compress(data), "f") == data
    monkeypatch.setattr(packed, "FILE_BYTES_MAX", 100)
    with pytest.raises(InstrumentError, match="more than 100 bytes"):
        unpacked(gzip.compress(data), "f")


def test_every_cut_is_refused() -> None:
    data = gzip.compress(b"a,b\n" * 50)
    for end in range(2, len(data)):
        with pytest.raises(InstrumentError, match=r"f: (cut short|damaged)"):
            unpacked(data[:end], "f")
    with pytest.raises(InstrumentError, match="f: empty: fetch it again"):
        unpacked(b"", "f")
