"""Layer 6, one process of the header verification, cold: attaches damaged segments and says what came of it.

Started by verify/memory/header.py with its task as JSON on standard input; answers with one JSON line.
Before each attempt the number of the mutation is written to a file, so that a crash is traced.
"""

from __future__ import annotations

import collections
import json
import os
import random
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _counters, _queue, _ring, _table, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.memory.header import PAYLOAD_OFFSET, QUEUES, RINGS
from kite_hft.verify.memory.ring_worker import Payload

PAGES: Final = PAYLOAD_OFFSET
RECORDS: Final = 24
DRAINS: Final = 3


def sizes(total: int) -> list[int]:
    """Wrong file sizes: both sides of every page edge, and odd ones."""
    edges = [edge + step for edge in range(0, total + 1, layout.PAGE) for step in (-1, 0, 1)]
    odd = [2, 63, 64, 513, 4100, 8200, total - 64, total - 1, total + 1, total + layout.PAGE]
    return sorted({size for size in edges + odd if size >= 0 and size != total})


def mutate(image: bytes, index: int, seed: int) -> tuple[bytes, str]:
    """(damaged file, what was damaged) for mutation `index`.

    First every byte of the two leading pages in turn, then every wrong size, then `sparse` (the
    same bytes with a hole), then random damage of 1 to 8 bytes anywhere.
    """
    dice = random.Random(seed * 1_000_003 + index)
    damaged = bytearray(image)
    cuts = sizes(len(image))
    if index < PAGES:
        places = [index]
    elif index < PAGES + len(cuts):
        size = cuts[index - PAGES]
        return bytes(image[:size]) + bytes(max(0, size - len(image))), "size"
    elif index == PAGES + len(cuts):
        return bytes(image), "sparse"
    else:
        end = dice.choice((layout.PAGE, PAGES, PAGES, len(image)))
        places = [dice.randrange(end) for _ in range(dice.randint(1, 8))]
    for place in dict.fromkeys(places):
        damaged[place] ^= dice.randint(1, 255)
    if min(places) < layout.PAGE:
        return bytes(damaged), "header"
    return bytes(damaged), "control" if max(places) < PAGES else "payload"


def use(path: Path, kind: SegmentKind, exact: bool) -> str:
    """Attach and read; returns "harmless", or what went wrong. `exact`: the payload is undamaged.

    Raises:
        SegmentError: refused, as it should be.
    """
    with segment.attach(path, kind, writable=kind in QUEUES) as held:
        if kind in RINGS:
            return _use_ring(held, exact)
        if kind in QUEUES:
            consumer, intents = _queue.QueueConsumer(held.view), np.zeros(7, layout.INTENT)
            for _ in range(DRAINS * RECORDS):
                consumer.drain(intents)
            return "harmless" if consumer.drain(intents) == 0 else "the queue never ends"
        if kind is SegmentKind.COUNTERS:
            counters = _counters.CounterReader(held.view)
            counters.values()
            counters.histogram(0)
            return "harmless"
        table, row = _table.TableReader(held.view), np.zeros(1, layout.TICK)
        for slot in range(table.capacity):
            table.get(slot, row)
        return "harmless"


def _use_ring(held: segment.Segment, exact: bool) -> str:
    reader, payload, got = _ring.RingReader(held.view), Payload(10), 0
    start = reader.position
    for _ in range(DRAINS * RECORDS):
        n = reader.drain(payload.records)
        got += n
        numbers = np.arange(reader.first_seq, reader.first_seq + n, dtype=np.uint64)
        if not np.array_equal(payload.records["seq"][:n], numbers):
            return "a record under another number"
        if exact and payload.wrong(reader.first_seq, n):
            return "a record that was never written"
    return "harmless" if got + reader.lost == reader.position - start else "records unaccounted for"


def attempt(path: Path, kind: SegmentKind, image: bytes, index: int, seed: int) -> tuple[str, str]:
    """(what was damaged, outcome): "refused:<error>", "harmless", or a violation in words."""
    damaged, what = mutate(image, index, seed)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, 0 if what == "sparse" else len(damaged))
        if what == "sparse":
            os.ftruncate(fd, len(damaged))
            os.pwrite(fd, damaged[:PAGES], 0)
        else:
            os.pwrite(fd, damaged, 0)
    finally:
        os.close(fd)
    try:
        outcome = use(path, kind, exact=what == "control")
    except segment.SegmentError as error:
        return what, f"refused:{type(error).__name__}"
    except Exception as error:  # the point of the exercise: whatever else comes is a violation
        return what, f"unnamed error {error!r}"
    if what in ("header", "size", "sparse"):
        return what, f"accepted with a damaged {what}"
    return what, outcome


def run() -> None:
    """Do the task that stands on standard input."""
    task: dict[str, Any] = json.load(sys.stdin)
    kind, path, image = SegmentKind(task["kind"]), Path(task["path"]), Path(task["image"]).read_bytes()
    outcomes: collections.Counter[str] = collections.Counter()
    violations: list[dict[str, Any]] = []
    at = os.open(task["at"], os.O_WRONLY | os.O_CREAT, 0o600)
    for index in range(task["first"], task["end"]):
        os.pwrite(at, index.to_bytes(8, "little"), 0)
        what, outcome = attempt(path, kind, image, index, task["seed"])
        outcomes[f"{what} {outcome}"] += 1
        if outcome != "harmless" and not outcome.startswith("refused:"):
            violations.append({"kind": kind.name, "index": index, "what": what, "outcome": outcome})
    print(json.dumps({"outcomes": outcomes, "violations": violations[:20]}), flush=True)
