"""Layer 6, by hand or CI, cold: `verify stale`: nothing opens on an old price; what closes passes always.

Virtual time. Ticks go as frames through the real decoder and feed sink into the real table of latest
ticks and the slots' `fresh` words; intents go through the real order stage: gate, throttle, gate
again. Each scenario is a moment: a price of some age, a backlog that is read late, an instrument that is told
with an old stamp by a connection that is on time, a connection that was lost or made again with or without
a snapshot since, a clock that was stepped or is off the broker's, a queue that makes an intent wait until its
price is old. Then an opening, a reduction or a cancel is asked for.

The campaign keeps its own account of when what was fed, and looks at the wire: an opening order that
leaves at a moment at which its price was too old or its connection unproven is a miss, and so is a
reduction or a cancel that does not leave. So that nothing passes by refusing everything, openings on
good prices have to leave as well.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _feed, _table
from kite_hft.engine.orders.latest import LATE_NS
from kite_hft.layout import COUNTERS, HISTOGRAMS, SLOT_STATS, TICK, IntentKind, SegmentKind, Side, TickKind
from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.memory.segment import Segment, attach, create, make_directory
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import CANCEL, PLACE, BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.trading.broker import HttpRequest, Limits, RateWindow
from kite_hft.trading.gate.facts import OPEN_FACTS, ClockWatch
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.ports import OrdersConfig
from kite_hft.units import NS_PER_S
from kite_hft.verify.brokers.choosing import add_broker, limits_of, words_of
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.desk.bench import LIMITS, Bench, Desk
from kite_hft.verify.desk.line import FINE, Strike
from kite_hft.verify.outcomes.stale_wires import WIRES, Wire

SLOTS: Final = 12
PER_DESK: Final = 200
HELD: Final = 500
STALE_S: Final = 2.0
SKEW_S: Final = 1.0
MS: Final = NS_PER_S // 1000
QUANTITY_RESTING: Final = 3
RESTING: Final = 4
LATE_S: Final = (4, 30, 600)  # a backlog: all of it is older than openings may be
OLD_S: Final = 3600  # the stamp of what has not traded for long
WIDE: Final = (RateWindow(10**6, 1.25, 2),)


class Feed:
    """The feed's segments and sink, and the campaign's own account of what went in."""

    def __init__(self, instruments: InstrumentTable, folder: Path, wire: Wire, ahead_ns: int) -> None:
        tokens = instruments.tokens()
        n = len(tokens)
        self._held: list[Segment] = []
        self._folder = make_directory(folder, "shm")
        sizes = {"counters": len(COUNTERS["feed"]), "histograms": len(HISTOGRAMS["feed"])}
        ring = self._make("ticks", SegmentKind.TICK_RING, 1024)
        latest = self._make("latest", SegmentKind.LATEST_TABLE, n)
        stats = self._make("slots", SegmentKind.SLOT_STATS, n)
        counters = self._make("counters", SegmentKind.COUNTERS, 1, **sizes)
        decoder, self._frames, self._full = wire(instruments)
        self.sink = _feed.FeedSink(decoder, tokens, ring, latest, counters, None, timed=False, stats=stats)
        self.table = _table.TableReader(latest)
        self.table.judge_stamps(ahead_ns, LATE_NS)
        self._ahead_ns = ahead_ns
        self._fresh = np.frombuffer(stats, SLOT_STATS, count=n, offset=PAYLOAD_OFFSET)["fresh"]
        self._tokens = tokens
        self.told_ns: dict[int, int] = {}  # slot -> when its last tick was true
        self.proven: set[int] = set()  # slots with a tick since the connection was made

    def _make(self, name: str, kind: SegmentKind, capacity: int, **extra: int) -> memoryview:
        path = create(self._folder, name, kind, capacity, now_mono_ns=1, now_real_ns=1, **extra)
        self._held.append(attach(path, kind, writable=True, claim=True))
        return self._held[-1].view

    def fresh(self, slot: int) -> bool:
        """As the order process reads it."""
        return bool(self._fresh[slot])

    def connect(self, now_ns: int) -> None:
        self.sink.connected()
        for slot in range(len(self._tokens)):
            self.sink.set_mode(slot, self._full, now_ns)
        self.proven.clear()

    def lose(self) -> None:
        self.sink.disconnected()
        self.proven.clear()

    def tick(
        self, slots: Sequence[int], last: Sequence[int], now_ns: int, late_s: int = 0, old_s: int = 0
    ) -> None:
        """One for each slot. late_s: so long ago it was made; old_s: so long ago it last changed."""
        ticks, stamp_ns = np.zeros(len(slots), TICK), now_ns + self._ahead_ns - (late_s + old_s) * NS_PER_S
        for tick, slot in zip(ticks, slots, strict=True):
            tick["slot"], tick["last_px"], tick["kind"] = slot, last[slot], TickKind.FULL
            tick["close_px"] = tick["open_px"] = tick["high_px"] = tick["low_px"] = last[slot]
            tick["exch_ns"] = stamp_ns
            self.told_ns[slot] = now_ns - late_s * NS_PER_S
            self.proven.add(slot)
        frames = self._frames(ticks, stamp_ns)
        for i, frame in enumerate(frames):
            self.sink.feed_bytes(frame, now_ns, i == len(frames) - 1)

    def close(self) -> None:
        del self.sink, self.table, self._fresh
        for segment in self._held:
            segment.close()


@dataclass(slots=True)
class Clocks:
    """What is wrong with the wall clock now; the watch is made anew for each scenario."""

    watch: ClockWatch
    step_ns: int = 0
    skew_ns: int = 0

    def wrong(self) -> str:
        return self.watch.wrong()

    @property
    def bad(self) -> bool:
        """The truth."""
        return max(abs(self.step_ns), abs(self.skew_ns)) > SKEW_S * NS_PER_S


class Block:
    """One desk, one feed and some scenarios, from one seed."""

    def __init__(self, seed: int, folder: Path, broker: BrokerSide = KITE_SIDE) -> None:
        rng = self.rng = random.Random(seed)
        limits = limits_of(broker)
        self.slow = rng.random() < 0.2  # the broker's own windows: intents have to wait
        self.bench = Bench(limits if self.slow else _wide(limits), seed, unlimited=True, broker=broker)
        self.clock = self.bench.clock
        ahead_ns = self.clock.real - self.clock.mono
        self.feed = Feed(self.bench.instruments, folder, WIRES[broker.name], ahead_ns)
        self.clocks = Clocks(self._watch())
        self.slots = self.bench.tradable[:SLOTS]
        config = OrdersConfig(
            self.bench.limits, replace(LIMITS, stale_tick_s=STALE_S), reject_storm=10**6,
            stale_position_s=10**6,
        )  # fmt: skip
        ports = {
            "latest": self.feed.table,
            "fresh": self.feed.fresh,
            "facts": replace(OPEN_FACTS, clock_wrong=self.clocks.wrong),
        }
        self.desk = Desk(self.bench, config=config, ports=ports)
        self.bench.line.strike = self._left
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.resting: list[tuple[int, int]] = []  # (strategy_seq, slot)
        self.gone: set[str] = set()  # ids whose cancel has left
        self.cancels: set[int] = set()

    def _watch(self) -> ClockWatch:
        most_ns = round(SKEW_S * NS_PER_S)
        return ClockWatch(self.clock.mono_ns, self.clock.real_ns, most_ns, lambda: self.clocks.skew_ns)

    # The wire

    def bad(self, slot: int) -> str:
        """Why nothing may be opened in `slot` at this moment; "" when it may. The campaign's own words."""
        told_ns = self.feed.told_ns.get(slot)
        if told_ns is None:
            return "no price"
        if slot not in self.feed.proven:
            return "no snapshot since the connection was made"
        if self.clock.mono - told_ns > STALE_S * NS_PER_S:
            return f"a price of {(self.clock.mono - told_ns) / NS_PER_S:.3f} s"
        return "a wrong clock" if self.clocks.bad else ""

    def _left(self, request: HttpRequest) -> Strike:
        call = self.bench.line.read(request)
        if call.kind == CANCEL:
            self.gone.add(call.order_id)
        elif call.kind == PLACE:
            if call.side == Side.SELL:
                self.count["reductions left"] += 1
            elif why := self.bad(call.slot):
                self.wrong.append(f"an opening order left on {why}")
            else:
                self.count["openings left"] += 1
        return FINE

    # Scenarios

    def begin(self) -> bool:
        """Positions to reduce, orders to cancel."""
        self.feed.connect(self.clock.mono)
        self._all_good()
        self.desk.start()
        for slot in self.slots:
            self._all_good()
            self.desk.wish(slot, Side.BUY, HELD, self._px(slot, 5))
            self.desk.run(1.5 if self.slow else 0.3)
        held = [p for p in self.desk.stage.book.positions.values() if p.quantity == HELD]
        self.desk.stage.reader.polls.paused = True  # from here on only the gate is looked at
        return len(held) == len(self.slots)

    def _px(self, slot: int, ticks: int) -> int:
        return self.bench.prices.last[slot] + ticks * max(self.bench.instruments[slot].tick_px, 1)

    def _all_good(self) -> None:
        if self.clocks.step_ns:
            self.clock.real -= self.clocks.step_ns
        self.clocks.step_ns = self.clocks.skew_ns = 0
        self.clocks.watch = self._watch()
        self.feed.tick(self.slots, self.bench.prices.last, self.clock.mono)

    def _rest(self) -> None:
        """Orders that rest at the broker, so that there is something to cancel."""
        self._all_good()
        for slot in self.rng.sample(self.slots, RESTING):
            seq = self.desk.wish(slot, Side.BUY, QUANTITY_RESTING, self._px(slot, -100))
            self.resting.append((seq, slot))
        self.desk.run(0.05)
        self.resting = [
            (seq, slot)
            for seq, slot in self.resting
            if (o := self.desk.stage.book.by_strategy(1, seq)) is not None and o.order_id
        ]

    def scenario(self) -> None:
        """One moment, and what is asked for in it."""
        rng = self.rng
        if not self.resting and not self.slow:
            self._rest()
        self._all_good()
        slot = rng.choice(self.slots)
        self._weather(slot)
        deed = rng.choice(("open", "open", "reduce", "cancel"))
        self.count[f"{deed}, {self.bad(slot).partition(' of ')[0] or 'good'}"] += 1
        if deed == "open":
            for _ in range(12 if self.slow else 1):
                self.desk.wish(slot, Side.BUY, 1, self._px(slot, 5))
        elif deed == "reduce":
            self.desk.wish(slot, Side.SELL, 1, self._px(slot, -5))
            self.count["reductions asked"] += 1
        elif self.resting:
            seq, where = self.resting.pop(rng.randrange(len(self.resting)))
            self.desk.wish(where, Side.BUY, 0, kind=int(IntentKind.CANCEL), target_seq=seq)
            self.cancels.add(seq)
        before = self.count["openings left"]
        good = deed == "open" and not self.bad(slot)
        self.desk.act()
        if good and not self.slow and self.count["openings left"] == before:
            self.wrong.append("an opening on a good price did not leave")
        self.desk.run(rng.choice((0.06, 1.2)) if self.slow else 0.06)  # nothing stays under way

    def _weather(self, slot: int) -> None:
        """Let time pass, connections go and come, clocks run wrong."""
        rng, clock = self.rng, self.clock
        kind = rng.random()
        if kind < 0.25:
            self.feed.lose()
            self._pass(rng.choice((1, 500, 3000)))
            if rng.random() < 0.7:
                self.feed.connect(clock.mono)
                others = [s for s in self.slots if s != slot]
                self.feed.tick(others, self.bench.prices.last, clock.mono)
                if rng.random() < 0.4:
                    self.feed.tick([slot], self.bench.prices.last, clock.mono, old_s=rng.choice((0, OLD_S)))
        elif kind < 0.45:
            self.clocks.step_ns = round(rng.choice((-1, 1)) * rng.uniform(0.1, 5.0) * NS_PER_S)
            clock.real += self.clocks.step_ns
        elif kind < 0.6:
            self.clocks.skew_ns = round(rng.choice((-1, 1)) * rng.uniform(0.1, 3.0) * NS_PER_S)
        elif kind < 0.75:
            self._fall_behind(slot)
        elif kind < 0.8:
            self.feed.tick([slot], self.bench.prices.last, clock.mono, old_s=OLD_S)
            self.count["old stamps"] += 1
        # Around the limit, to the ns; and far beyond.
        edge = round(STALE_S * 1000)
        self._pass(rng.choice((0, 1, 500, edge - 1, edge, edge + 1, 2 * edge, 60_000)))
        if rng.random() < 0.1:
            clock.advance(1)

    def _fall_behind(self, slot: int) -> None:
        """Nobody reads for a while; then come the ticks of just after that began, and perhaps the newest."""
        late_s, last = self.rng.choice(LATE_S), self.bench.prices.last
        self.clock.advance(late_s * NS_PER_S + 1500 * MS)
        others = [s for s in self.slots if s != slot and self.rng.random() < 0.5]
        self.feed.tick([*others, slot], last, self.clock.mono, late_s)
        self.count["backlogs"] += 1
        if self.rng.random() < 0.2:
            self.feed.tick([slot], last, self.clock.mono)

    def _pass(self, ms: int) -> None:
        self.clock.advance(ms * MS)
        if self.feed.proven and self.rng.random() < 0.2:
            other = self.rng.choice(self.slots)
            self.feed.tick([other], self.bench.prices.last, self.clock.mono)

    def run(self, scenarios: int) -> None:
        """All of it, and the sums at the end."""
        if not self.begin():
            self.wrong.append("the positions could not be built")
            return
        left, asked = self.count["reductions left"], self.count["reductions asked"]
        for _ in range(scenarios):
            self.scenario()
        self._all_good()
        self.desk.run(5.0)
        left, asked = self.count["reductions left"] - left, self.count["reductions asked"] - asked
        if left != asked:
            self.wrong.append(f"{asked} reductions asked for, {left} left")
        for seq in self.cancels:
            order = self.desk.stage.book.by_strategy(1, seq)
            if order is None or order.order_id not in self.gone:
                self.wrong.append(f"the cancel of intent {seq} did not leave")
        self.count["cancels left"] += len(self.cancels)


def _wide(limits: Limits) -> Limits:
    """Room for everything at once: here prices are tried, not the throttle."""
    return replace(
        limits, all_windows=WIDE, order_windows=WIDE, other_windows=WIDE, orders_per_day=10**9,
        loopback_only=True,
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify stale", description=__doc__)
    add_broker(made)
    made.add_argument("--scenarios", type=int, default=100_000, help="moments (default 100,000)")
    made.add_argument("--seed", type=int, default=1, help="first seed; each seed is one block of scenarios")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The campaign; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    found = run(options.scenarios, options.seed, side_of(options.broker))
    print(json.dumps(found))
    return int(not found["ok"])


def run(scenarios: int, seed: int, broker: BrokerSide = KITE_SIDE) -> dict[str, Any]:
    """Blocks of scenarios from `seed` on."""
    began, done, number = time.monotonic(), 0, 0
    wrong: list[dict[str, Any]] = []
    count: Counter[str] = Counter()
    while done < scenarios:
        n = min(PER_DESK, scenarios - done)
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            block = Block(seed + number, Path(folder), broker)
            block.run(n)
            block.feed.close()
        if block.wrong:
            again = (
                f"python -m kite_hft.verify stale{words_of(broker)} --scenarios {n} --seed {seed + number}"
            )
            wrong.append({"seed": seed + number, "wrong": block.wrong[:10], "again": again})
        count += block.count
        done, number = done + n, number + 1
        show_progress(done, scenarios, f"{time.monotonic() - began:.0f} s")
        if len(wrong) >= 10:
            break
    return {
        "campaign": "stale", "broker": broker.name, "ok": not wrong, "scenarios": done,
        "counts": dict(sorted(count.items())),
        "wrong": wrong, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip
