"""FeedSink and the table of latest ticks: what a connection brings late, by its stamps, counts as old."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segments as tools
from reference import recorded_day

from kite_hft import _feed, _kite_decode, _table, _tick_rows
from kite_hft.layout import COUNTERS, HISTOGRAMS, TICK, SegmentKind, TickKind
from kite_hft.memory import segment
from kite_hft.sim.kite.frames import FULL, LTP, encode_frames

S = 10**9
MONO = 5_000 * S  # CLOCK_MONOTONIC now
REAL = 1_795_296_240 * S
AHEAD = REAL - MONO
LATE = 2 * S
TOKENS = np.array([408065, 884737, 19585 * 256 + 1, 20302 * 256 + 1], np.uint32)
N = len(TOKENS)


class Connection:
    """One feed's sink and the table as the order process reads it."""

    def __init__(self, folder: Path, tokens: np.ndarray = TOKENS, *, answers: bool = False) -> None:
        n = len(tokens)
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        self._held: list[Any] = []
        folder.mkdir(exist_ok=True)
        ring = self._made(folder, "ticks", SegmentKind.TICK_RING, 64)
        latest = self._made(folder, "latest", SegmentKind.LATEST_TABLE, n)
        stats = self._made(folder, "slots", SegmentKind.SLOT_STATS, n)
        counters = self._made(folder, "counters", SegmentKind.COUNTERS, 1, **sizes)
        self.answers, self.tokens = answers, tokens
        decoder = (
            _tick_rows.TickRowDecoder(tokens)
            if answers
            else _kite_decode.KiteDecoder(tokens, np.arange(n, dtype=np.uint32))
        )
        self.sink = _feed.FeedSink(decoder, tokens, ring, latest, counters, None, timed=False, stats=stats)
        self.table = _table.TableReader(latest)
        self.table.judge_stamps(AHEAD, LATE)
        self.now = MONO
        self.connect()

    def _made(self, folder: Path, name: str, kind: SegmentKind, capacity: int, **sizes: int) -> memoryview:
        path = tools.make(folder, kind, capacity, name=name, **sizes)
        self._held.append(segment.attach(path, kind, writable=True, claim=False))
        view: memoryview = self._held[-1].view
        return view

    def connect(self) -> None:
        self.sink.connected()
        for slot in range(len(self.tokens)):
            self.sink.set_mode(slot, FULL, self.now)

    def tick(self, *slots: int, late_s: float, mode: int = FULL) -> None:
        """Ticks of now in one frame; their stamps are so old."""
        rows = np.zeros(len(slots), TICK)
        rows["slot"], rows["last_px"], rows["close_px"] = slots, 100_00, 100_00
        rows["kind"] = TickKind.FULL
        rows["exch_ns"] = (self.now + AHEAD - round(late_s * S)) // S * S
        modes = np.full(len(self.tokens), mode, np.uint8)
        frames = [rows.tobytes()] if self.answers else encode_frames(rows, self.tokens, modes, 100)
        for frame in frames:
            self.sink.feed_bytes(frame, self.now)

    def age_s(self, slot: int) -> float:
        """As the gate reads it."""
        found = self.table.look(slot)
        assert found is not None
        return (self.now - found[2]) / S

    def close(self) -> None:
        del self.sink, self.table
        for one in self._held:
            one.close()


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Connection]:
    made = Connection(tmp_path)
    made.tick(0, 1, 2, late_s=0.3)
    made.now += S
    made.tick(0, 1, late_s=0.3)
    yield made
    made.close()


def ages(feed: Connection, slots: Sequence[int] = (0, 1)) -> list[float]:
    return [feed.age_s(slot) for slot in slots]


def test_a_backlog_is_as_old_as_its_stamps(feed: Connection) -> None:
    assert ages(feed) == [0, 0]
    feed.now += 40 * S  # nobody has read for so long
    feed.tick(0, 1, late_s=30)
    assert all(29 <= age <= 30 for age in ages(feed))
    px, recv_ns = np.zeros(1, np.int32), np.zeros(1, np.int64)
    feed.table.heads(np.array([0], np.uint32), px, recv_ns)
    assert px[0] == 100_00 and feed.now - recv_ns[0] == feed.age_s(0) * S
    feed.now += S // 10
    feed.tick(0, 1, late_s=20)
    assert all(19 <= age <= 20 for age in ages(feed)), "it catches up"
    feed.tick(0, late_s=0.3)
    assert feed.age_s(0) == 0 and feed.age_s(1) >= 19, "its newest price is still the old one"
    whole = np.zeros(1, TICK)
    assert feed.table.get(1, whole) and whole["recv_ns"][0] == feed.now, "what was measured stands as it is"


def test_a_broker_who_falls_behind_slowly_is_seen(feed: Connection) -> None:
    found = []
    for second in range(1, 9):
        feed.now += S
        feed.tick(0, 1, late_s=0.3 + second / 2)
        found.append(feed.age_s(0))
    assert found[0] == found[1] == 0 and 1 <= found[4] <= 3 and found[-1] >= 3


def test_a_lag_within_resolution_and_clocks_is_none(feed: Connection) -> None:
    for late_s in (0.0, 0.9, -0.4, 1.0):
        feed.now += 3 * S
        feed.tick(0, late_s=late_s)
        assert feed.age_s(0) == 0


def test_one_old_stamp_tells_nothing(feed: Connection) -> None:
    """An instrument that rarely trades, the first tick of one, and one that is told again."""
    feed.tick(3, late_s=3600)
    assert feed.age_s(3) == 0, "its first one here"
    feed.now += S // 2
    feed.tick(2, late_s=30)
    assert feed.age_s(2) == 0, "others have been on time a moment ago"
    feed.now += 3600 * S
    feed.tick(3, late_s=7200.5)
    assert feed.age_s(3) == 0, "told again after an hour in which nothing came at all"
    feed.now += 60 * S
    feed.tick(3, late_s=0.2)
    assert feed.age_s(3) == 0, "alone and on time"


def test_a_new_connection_starts_without_a_past(feed: Connection) -> None:
    feed.now += 40 * S
    feed.tick(0, 1, late_s=30)
    feed.sink.disconnected()
    feed.connect()
    feed.tick(0, 1, late_s=500)
    assert ages(feed) == [0, 0], "first ticks say when they last changed"
    feed.now += 2 * S
    feed.tick(0, 1, late_s=400)
    assert all(age >= 399 for age in ages(feed)), "late from its first live tick on"


def test_prices_without_a_stamp_are_as_late_as_their_connection(feed: Connection) -> None:
    feed.tick(2, late_s=0, mode=LTP)
    assert feed.age_s(2) == 0
    feed.now += 10 * S
    feed.tick(0, late_s=8)
    feed.tick(2, late_s=0, mode=LTP)
    assert 7 <= feed.age_s(2) <= 8
    feed.now += 10 * S
    feed.tick(2, late_s=0, mode=LTP)
    assert feed.age_s(2) == 0, "nothing has shown it for a while"


def test_a_stamp_of_the_future_is_forgotten(feed: Connection) -> None:
    feed.tick(3, late_s=-86_400)
    feed.now += 10 * S
    feed.tick(0, late_s=8)
    feed.now += S
    feed.tick(0, late_s=8)
    feed.now += S
    feed.tick(0, late_s=8)
    assert 7 <= feed.age_s(0) <= 8


def test_answers_are_not_judged_by_when_something_changed(tmp_path: Path) -> None:
    asked = Connection(tmp_path, answers=True)
    for _ in range(3):
        asked.now += 4 * S
        asked.tick(0, late_s=3.9)
    assert asked.age_s(0) == 0
    asked.close()


def test_who_does_not_judge_reads_what_was_measured(feed: Connection) -> None:
    feed.now += 40 * S
    feed.tick(0, late_s=30)
    plain = _table.TableReader(feed._held[1].view)
    found = plain.look(0)
    assert found is not None and found[2] == feed.now
    with pytest.raises(ValueError, match="late_ns 999999999"):
        plain.judge_stamps(AHEAD, S - 1)
    del plain


# The recorded day. Its clock runs up to 5.95 s behind the trades' time.

BEHIND_NS = 5_950_000_000
OLD_NS = 3 * S
DAY = "2025-12-15"


def messages(folder: Path) -> list[tuple[int, int, int]]:
    """(receipt by a clock that is right, instrument, trade time) in epoch ns, in the order of replay."""
    found, second = [], functools.cache(recorded_day.epoch_second)
    for slot, path in enumerate(sorted(folder.glob("*.jsonl.xz"))):
        for line in recorded_day.json_lines(path):
            text = line["_insertion_time"]
            at_ns = second(text[:19]) * S + int((text[20:] + "000000000")[:9])
            found.append((at_ns + BEHIND_NS, slot, int(line["fullFeed"]["marketFF"]["ltpc"]["ltt"]) * 10**6))
    return sorted(found, key=lambda row: row[0])


def judged(feed: Connection, rows: list[tuple[int, int, int]]) -> list[int]:
    """By how much each message was taken for older than its receipt, in ns."""
    ticks = np.zeros(len(rows), TICK)
    ticks["slot"] = [slot for _at_ns, slot, _stamp_ns in rows]
    ticks["exch_ns"] = [stamp_ns for _at_ns, _slot, stamp_ns in rows]
    ticks["last_px"] = ticks["close_px"] = 100_00
    frames = encode_frames(ticks, feed.tokens, np.full(len(feed.tokens), FULL, np.uint8), 1)
    found = []
    for (at_ns, slot, _stamp_ns), frame in zip(rows, frames, strict=True):
        feed.sink.feed_bytes(frame, at_ns - AHEAD)
        look = feed.table.look(slot)
        assert look is not None
        found.append(at_ns - AHEAD - look[2])
    return found


@pytest.mark.data
def test_no_price_of_the_recorded_day_is_refused_that_came_in_time(data_dir: Path, tmp_path: Path) -> None:
    rows = messages(data_dir / "upstox_v3_20251215")
    assert len(rows) == 216_593
    tokens = np.arange(1, 10, dtype=np.uint32) * 256 + 1
    by_trades = Connection(tmp_path / "trades", tokens)
    found = judged(by_trades, rows)
    by_trades.close()
    late = [at for at, older_ns in enumerate(found) if older_ns > OLD_NS - S]
    # Trades are rarer than what an exchange stamps, and still: whatever was taken for late came when the
    # nine had shown no trade of the last three seconds for a second at least.
    assert late
    for at in late:
        now_ns, before = rows[at][0], at
        while before >= 0 and rows[before][0] > now_ns - S:
            assert now_ns - rows[before][2] // S * S >= OLD_NS
            before -= 1
    # Until its last half hour the recorder kept up, but for moments in which it stood still.
    busy_ns = recorded_day.epoch_second(f"{DAY} 15:05:00") * S
    until = sum(1 for at_ns, *_ in rows if at_ns < busy_ns)
    moments = [at for at in late if at < until]
    assert 0 < len(moments) < until / 100
    stood = [
        at for at in moments if any(rows[b][0] - rows[b - 1][0] > S for b in range(max(1, at - 500), at + 1))
    ]
    assert len(stood) > 0.95 * len(moments)

    # By exchange time, as the replay has it, nothing is late: together, nor the one that ticks least alone.
    stamped = [(at_ns - BEHIND_NS, slot, (at_ns - BEHIND_NS) // S * S) for at_ns, slot, _trade_ns in rows]
    for chosen in (range(9), (1,)):
        one = Connection(tmp_path / f"stamps-{len(chosen)}-{chosen[0]}", tokens)
        assert not any(judged(one, [row for row in stamped if row[1] in chosen]))
        one.close()
