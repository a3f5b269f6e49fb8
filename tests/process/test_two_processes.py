"""Queue, table and waits between two real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segments

from kite_hft import _queue, _ring, _table, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment

HEAD = """
import json, sys
from pathlib import Path
import numpy as np
from kite_hft import _queue, _ring, _table, _wait, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
path = Path(sys.argv[1])
"""


def start(text: str, path: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEAD + text, str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(child: subprocess.Popen[str]) -> Any:
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    return json.loads(out)


CONSUMER = """
held = segment.attach(path, SegmentKind.INTENT_QUEUE, writable=True)
consumer, waiter = _queue.QueueConsumer(held.view), _wait.Waiter(held.view, "adaptive", 1000)
out, seen, wrong = np.zeros(50, layout.INTENT), 0, 0
while seen < int(sys.argv[2]):
    n = consumer.drain(out)
    if n == 0:
        waiter.wait(seen, 10**9)
    numbers = np.arange(seen, seen + n, dtype=np.uint64)
    for field in ("seq", "strategy_seq", "target_seq"):
        wrong += int((out[field][:n] != numbers).sum())
    seen += n
print(json.dumps([seen, wrong]))
"""


def test_a_queue_loses_and_doubles_nothing(tmp_path: Path) -> None:
    kind, total = SegmentKind.INTENT_QUEUE, 100_000
    path = segments.make(tmp_path, kind, 256)
    with segment.attach(path, kind, writable=True, claim=True) as held:
        child = start(CONSUMER, path, str(total))
        producer, pushed = _queue.QueueProducer(held.view), 0
        records = np.zeros(77, layout.INTENT)
        while pushed < total and child.poll() is None:
            n = min(77, total - pushed)
            records["strategy_seq"][:n] = records["target_seq"][:n] = np.arange(pushed, pushed + n)
            pushed += producer.push(records, n)
        assert answer(child) == [total, 0]
        assert producer.free() == 256


TABLE_READER = """
held = segment.attach(path, SegmentKind.LATEST_TABLE, writable=False)
reader, out = _table.TableReader(held.view), np.zeros(1, layout.TICK)
words = out.view("<u8")
good = torn = 0
while good < int(sys.argv[2]):
    if reader.get(1, out):
        good += 1
        torn += len(set(words[[0, 1, 2, 3, 20, 23]].tolist())) != 1
print(json.dumps([good, torn]))
"""


def test_a_table_row_is_never_a_mixture(tmp_path: Path) -> None:
    kind = SegmentKind.LATEST_TABLE
    path = segments.make(tmp_path, kind, 4)
    with segment.attach(path, kind, writable=True) as held:
        child = start(TABLE_READER, path, "100000")
        writer, tick = _table.TableWriter(held.view), np.zeros(1, layout.TICK)
        words, value = tick.view("<u8"), 0
        while child.poll() is None:
            value += 1
            words[:] = value
            tick["slot"] = 1
            writer.put(tick)
        assert answer(child) == [100_000, 0]


PARKED = """
held = segment.attach(path, SegmentKind.TICK_RING, writable=True, claim=False)
waiter = _wait.Waiter(held.view, sys.argv[2], 1000)
print(json.dumps([waiter.wait(0, 10**11), waiter.parks]))
"""


@pytest.mark.parametrize("strategy", ["park", "adaptive"])
def test_a_publish_wakes_a_parked_process(tmp_path: Path, strategy: str) -> None:
    path = segments.make(tmp_path, SegmentKind.TICK_RING)
    with segment.attach(path, SegmentKind.TICK_RING, writable=True) as held:
        child = start(PARKED, path, strategy)
        while held.control()["parked"] == 0 and child.poll() is None:
            pass
        _ring.RingWriter(held.view).publish(segments.ticks(0, 1))
        moved, parks = answer(child)
        assert moved
        assert parks >= 1
        assert held.control()["parked"] == 0
