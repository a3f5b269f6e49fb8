"""Records: no hidden padding, multiples of 64, the C view agrees, the fingerprint sees every change."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from kite_hft import layout


@pytest.mark.parametrize("name", layout.RECORDS)
def test_no_hidden_padding_and_whole_cache_lines(name: str) -> None:
    dtype = layout.RECORDS[name]
    used = sum(sub.itemsize for sub, *_ in dtype.fields.values())
    assert used == dtype.itemsize and dtype.itemsize % 64 == 0


@pytest.mark.parametrize("name", layout.RECORDS)
def test_fields_are_little_endian_and_naturally_aligned(name: str) -> None:
    for field, (sub, offset, *_) in layout.RECORDS[name].fields.items():
        width = 1 if sub.base.kind in "SV" else sub.base.itemsize
        assert offset % width == 0, field
        assert sub.base.byteorder in "<=|" and sub.base.kind in "uifSV", field


def test_the_hot_fields_of_a_tick_stand_in_its_first_line() -> None:
    hot = [
        "seq",
        "recv_ns",
        "exch_ns",
        "volume",
        "slot",
        "flags",
        "kind",
        "last_px",
        "last_qty",
        "bid_px",
        "ask_px",
        "close_px",
    ]
    assert all(layout.TICK.fields[name][1] < 64 for name in hot)
    assert layout.TICK.itemsize == 192


def test_the_generated_header_asserts_every_size_and_offset() -> None:
    header = Path("build/gen/khft_layout.h").read_text()
    for name, dtype in layout.RECORDS.items():
        assert f"sizeof(khft_{name.lower()}_t) == {dtype.itemsize}" in header
        for field, (_sub, offset, *_) in dtype.fields.items():
            assert f"offsetof(khft_{name.lower()}_t, {field}) == {offset}," in header
    assert str(layout.LAYOUT_FINGERPRINT) in header
    assert len(re.findall("_Static_assert", header)) == sum(
        1 + len(d.fields) for d in layout.RECORDS.values()
    )


def test_the_fingerprint_sees_two_swapped_fields_of_one_type(monkeypatch: pytest.MonkeyPatch) -> None:
    before = layout.describe()
    fields = [(n, layout.INTENT.fields[n][0]) for n in layout.INTENT.names]
    i, j = layout.INTENT.names.index("px"), layout.INTENT.names.index("trigger_px")
    fields[i], fields[j] = fields[j], fields[i]
    monkeypatch.setitem(layout.RECORDS, "INTENT", np.dtype(fields))
    assert layout.describe() != before


def test_no_enum_value_is_used_twice() -> None:
    for enumeration in layout.ENUMS:
        values = [int(m) for m in enumeration.__members__.values()]
        assert len(values) == len(set(values)), enumeration


def test_a_record_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="declared 64"):
        layout._record(64, [("a", "<u8")])
    with pytest.raises(ValueError, match="not aligned"):
        layout._record(64, [("a", "<u4"), ("b", "<u8"), ("c", "V52")])
