"""The latest table in one process; readers against a running writer are in tests/process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segments

from kite_hft import _table, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

KIND = SegmentKind.LATEST_TABLE


@pytest.fixture
def held(tmp_path: Path) -> Iterator[segment.Segment]:
    with segment.attach(segments.make(tmp_path, KIND, 10), KIND, writable=True) as table:
        yield table


def test_a_row_is_its_slots_latest_record(held: segment.Segment) -> None:
    writer, reader = _table.TableWriter(held.view), _table.TableReader(held.view)
    records = np.frombuffer(np.random.default_rng(2).bytes(3 * 192), layout.TICK).copy()
    records["slot"] = [3, 9, 3]
    writer.put(records)
    out = np.zeros(1, layout.TICK)
    assert reader.get(3, out)
    assert out[0].tobytes() == records[2].tobytes()
    assert reader.get(9, out)
    assert out[0].tobytes() == records[1].tobytes()
    assert not reader.get(4, out), "never written"
    assert reader.unstable == 0


def test_heads_of_many_rows(held: segment.Segment) -> None:
    writer, reader = _table.TableWriter(held.view), _table.TableReader(held.view)
    records = np.zeros(2, layout.TICK)
    records["slot"], records["last_px"], records["recv_ns"] = [3, 9], [-7, 2**31 - 1], [5, 2**62]
    writer.put(records)
    slots = np.array([9, 4, 3, 10, 3], np.uint32)
    px, recv_ns = np.full(5, 99, np.int32), np.full(5, 99, np.int64)
    reader.heads(slots, px, recv_ns)
    assert px.tolist() == [2**31 - 1, 0, -7, 0, -7] and recv_ns.tolist() == [2**62, 0, 5, 0, 5]
    for wrong in (
        (slots[:4], px, recv_ns), (slots, px[:4], recv_ns), (slots, px, recv_ns[:4]),
        (slots.astype(np.int64), px, recv_ns), (slots, recv_ns, recv_ns), (slots, px, px),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"bytes|room for"):
            reader.heads(*wrong)


def test_n_limits_what_is_written(held: segment.Segment) -> None:
    _table.TableWriter(held.view).put(segments.ticks(0, 5), 2)
    reader, out = _table.TableReader(held.view), np.zeros(1, layout.TICK)
    assert [reader.get(slot, out) for slot in range(4)] == [True, True, False, False]


def test_slots_outside_write_nothing(held: segment.Segment) -> None:
    writer, reader = _table.TableWriter(held.view), _table.TableReader(held.view)
    with pytest.raises(ValueError, match="slot 10 in a table of 10 rows"):
        writer.put(segments.ticks(8, 3))
    out = np.zeros(1, layout.TICK)
    assert not reader.get(8, out)
    with pytest.raises(IndexError, match="slot 10"):
        reader.get(10, out)
    with pytest.raises(ValueError, match="room for no record"):
        reader.get(1, out[:0])


def test_a_row_whose_writer_died_is_unstable_until_it_is_written_again(held: segment.Segment) -> None:
    writer, reader = _table.TableWriter(held.view), _table.TableReader(held.view)
    writer.put(segments.ticks(2, 1))
    mark = 8192 + 2 * 256
    held.view[mark] |= 1
    out = np.zeros(1, layout.TICK)
    assert not reader.get(2, out)
    assert reader.unstable == 1
    writer.put(segments.ticks(2, 1))
    assert reader.get(2, out)
    assert reader.unstable == 1


def test_a_look_is_the_head_of_the_same_record(held: segment.Segment) -> None:
    writer, reader = _table.TableWriter(held.view), _table.TableReader(held.view)
    assert reader.look(3) is None and reader.last_px(3) == 0, "never written"
    records = np.frombuffer(np.random.default_rng(3).bytes(2 * 192), layout.TICK).copy()
    records["slot"] = [3, 9]
    records["last_px"] = [-7, 2**31 - 1]
    writer.put(records)
    for slot, row in ((3, records[0]), (9, records[1])):
        assert reader.look(slot) == (row["last_px"], row["seq"], row["recv_ns"])
        assert reader.last_px(slot) == row["last_px"]
    for slot in (10, layout.NO_SLOT, 2**64 - 1):
        assert reader.look(slot) is None and reader.last_px(slot) == 0, "no such row"
    held.view[8192 + 3 * 256] |= 1
    assert reader.look(3) is None and reader.last_px(3) == 0 and reader.unstable == 2
