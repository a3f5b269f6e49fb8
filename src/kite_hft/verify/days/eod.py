"""Layer 6, by hand or CI, cold: `verify eod`: the end of the day, with the line dead at any second of it.

Virtual time. Real order stage, watchdog's guard, the in-process exchange with the hours, bands and acts of a
dated day. A case holds positions of several classes (closing-auction share, other share, future, option,
commodity, currency; MIS, and CNC or NRML that nobody squares off), long or short, with a stop or without.
Then the line is dead from a random second of 14:45 to 15:40 (or around the close of currency or
commodities), for a while or for ever; the price may lock at its circuit, the broker may fail at his own
square-off, the process may be killed and start again.

The judge looks at the exchange's books, its clock and the alerts, and at nothing of the engine's:
- an open MIS position that is late by the dated rules, and any position that nothing living at the exchange
  covers, either because our hour has come or because the line is dead, is paged within 5 s;
- with a live line and a free price MIS is flat by its hour, by our orders and without the broker's fee;
- CNC and NRML are never closed; nothing is turned, enlarged, or closed twice, and the book agrees at the end.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kite_hft.layout import IntentKind, Product, Side
from kite_hft.sessions import AUCTION, CONTINUOUS, ist_text
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.exchange.orders import Order as SimOrder
from kite_hft.units import NS_PER_S
from kite_hft.verify.brokers.choosing import add_broker, charges_of, limits_of, words_of
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.days.hours import AFTERNOON, EVENING, EXCHANGES, HOURS, LOTS, PHASES
from kite_hft.verify.desk.bench import Desk
from kite_hft.verify.desk.day import DEAD, DayBench, Told, closing_side, desk_of, leap, look

DAY: Final = dt.date(2026, 11, 20)
FEE: Final = "square_off_fee"
GST_PERCENT: Final = 18
PAGE_NS: Final = 5 * NS_PER_S
STEP_S: Final = 0.5
LEAP_S: Final = 5.0
AROUND_NS: Final = (3 * NS_PER_S, 30 * NS_PER_S)
"""Before and after anything that happens time goes on in small steps; in between, in leaps."""
ON_ITS_WAY_NS: Final = 10 * NS_PER_S
"""So long does an order that closes at once count as cover."""


@dataclass(slots=True)
class Holding:
    """A position that the case makes. net: as it was made; risk_ns: since when it is at risk for `why`."""

    kind: str
    slot: int
    product: Product
    net: int
    stop: bool
    risk_ns: int = 0
    why: str = ""
    locked: bool = False
    outcome: str = ""
    flat_ns: int = 0


class Case:
    """One afternoon from one seed."""

    def __init__(self, seed: int, broker: BrokerSide = KITE_SIDE) -> None:
        self.seed = seed
        rng = self.rng = random.Random(seed)
        self.class_hours, later = HOURS[broker.name], EVENING[broker.name]
        classes = [kind for kind in self.class_hours if EXCHANGES.get(kind, "") not in broker.closed]
        evening = rng.choice([kind for kind in classes if kind in later]) if rng.random() < 0.15 else ""
        self.hours = later[evening] if evening else AFTERNOON
        self.limits, self.charges = limits_of(broker), charges_of(broker, DAY)
        self.bench = DayBench(
            self.limits, seed, rng.random() < 0.7, broker=broker, day=DAY, at=self.hours[0],
            squares_off=rng.random() < 0.7,
        )  # fmt: skip
        self.desk = self._process()
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.holdings = self._draw(
            [evening] if evening else rng.sample(classes, rng.randint(2, len(classes)))
        )
        self.line_words, self.lock_ns, self.restart_ns = "", 0, 0
        self.marks: list[int] = []

    def _process(self, **more: Any) -> Desk:
        return desk_of(self.bench, self.limits, **more, charges=self.charges)

    def _draw(self, classes: list[str]) -> list[Holding]:
        """What is held: one of each class as a rule."""
        rng, bench = self.rng, self.bench
        found, used = [], set()
        for kind in classes:
            slots = [s for s in bench.tradable if self._kind(s) == kind and s not in used]
            slot = rng.choice(slots)
            used.add(slot)
            overnight = Product.CNC if kind in ("cas", "share") else Product.NRML
            product = Product.MIS if rng.random() < 0.75 else overnight
            net = LOTS[kind] * rng.randint(1, 40) * (-1 if rng.random() < 0.5 else 1)
            if product == Product.CNC:
                net = abs(net)
            found.append(Holding(kind, slot, product, net, rng.random() < 0.6))
        return found

    def _kind(self, slot: int) -> str:
        row = self.bench.instruments[slot]
        if row.exchange in ("CDS", "MCX"):
            return "currency" if row.exchange == "CDS" else "commodity"
        if row.kind == "EQ":
            return "cas" if self.bench.is_cas(row) else "share"
        return "future" if row.kind == "FUT" else "option"

    # The run

    def run(self) -> list[str]:
        """What is wrong; empty when all is as it has to be."""
        self.desk.start(20.0)
        if not self.desk.stage.active or not self._build():
            return [f"the positions could not be built: {self.bench.words()}"]
        self._plan_trouble()
        end_ns = self.bench.ns_of(self.hours[1])
        while self.bench.clock.real < end_ns and len(self.wrong) < 10:
            if self.restart_ns and self.bench.clock.real >= self.restart_ns:
                self.restart_ns = 0
                self._restart()
            self._market()
            if self._quiet():
                leap(self.bench, self.desk, LEAP_S)
                self._judge()
            else:
                self.desk.run(STEP_S, self._judge)
        self._end()
        return self.wrong

    def _quiet(self) -> bool:
        """Nothing happens now, has happened a moment ago, or is about to."""
        now_ns, (before_ns, after_ns) = self.bench.clock.real, AROUND_NS
        at_risk = any(h.why and now_ns - h.risk_ns < 2 * PAGE_NS for h in self.holdings)
        near = any(at_ns - before_ns - LEAP_S * NS_PER_S <= now_ns < at_ns + after_ns for at_ns in self.marks)
        return not (near or at_risk)

    def _build(self) -> bool:
        for held in self.holdings:
            side = Side.BUY if held.net > 0 else Side.SELL
            self.desk.wish(held.slot, side, abs(held.net), product=held.product)
        self._pass(8.0)
        for held in self.holdings:
            if held.stop:
                self._stop(held)
        self._pass(8.0)
        return all(self._net(h) == h.net for h in self.holdings)

    def _pass(self, seconds: float) -> None:
        """Quiet time: the market goes on, nobody judges."""
        end_ns = self.bench.clock.mono + round(seconds * NS_PER_S)
        while self.bench.clock.mono < end_ns:
            self._market()
            self.desk.run(STEP_S)

    def _stop(self, held: Holding) -> None:
        """Exits far enough off that only a locked price reaches them."""
        row, px = self.bench.instruments[held.slot], self.bench.prices.last[held.slot]
        step = max(row.tick_px, 1)
        trigger = px * (96 if held.net > 0 else 104) // 100 // step * step
        words = {"kind": IntentKind.EXITS, "product": held.product, "trigger_px": trigger, "order_type": 0}
        self.desk.wish(held.slot, closing_side(held.net), 0, **words)

    def _plan_trouble(self) -> None:
        rng, clock = self.rng, self.bench.clock
        mono_ns = clock.mono - clock.real
        if rng.random() < 0.9:
            from_ns = self._between()
            lasts_ns = round(rng.choice((1, 5, 30, 120, 600, 10**6)) * rng.uniform(0.5, 1.5) * NS_PER_S)
            how = rng.choice(list(DEAD))
            self.bench.line.kill(mono_ns + from_ns, mono_ns + from_ns + lasts_ns, how)  # type: ignore[attr-defined]
            self.line_words = f"{how} from {ist_text(from_ns)[11:]} for {lasts_ns / NS_PER_S:.0f} s"
            self.count[f"line: {how}"] += 1
        self.lock_ns = self._between() if rng.random() < 0.15 else 0
        self.restart_ns = self._between() if rng.random() < 0.25 else 0
        hours = {text for held in self.holdings for text in self.class_hours[held.kind]} | set(PHASES)
        self.marks = [self.bench.ns_of(text) for text in hours] + [self.lock_ns, self.restart_ns]
        self.marks += [at_ns - mono_ns for at_ns in (self.bench.line.from_ns, self.bench.line.until_ns)]  # type: ignore[attr-defined]

    def _between(self) -> int:
        """A second of the window, CLOCK_REALTIME."""
        first, last = self.bench.ns_of(self.hours[0]) + 300 * NS_PER_S, self.bench.ns_of(self.hours[1])
        return self.rng.randrange(first, last)

    def _restart(self) -> None:
        self.count["restarts"] += 1
        self.bench.line.dead_process()
        records = self.desk.journal.records
        self.desk = self._process(history=records, restarted=True)
        self.desk.stage.start()

    def _market(self) -> None:
        if self.lock_ns and self.bench.clock.real >= self.lock_ns:
            self.lock_ns = 0
            held = self.rng.choice(self.holdings)
            if self._phase(held) == CONTINUOUS and self._net(held):
                held.locked = True
                self.count["locked"] += 1
                self.bench.lock(held.slot, "lower" if held.net > 0 else "upper")
        slots = [h.slot for h in self.holdings]
        for held in self.holdings:
            if not held.locked:
                step = max(self.bench.instruments[held.slot].tick_px, 1)
                self.bench.prices.last[held.slot] += step * self.rng.randint(-1, 1)
        self.bench.tick(slots)
        look(self.bench, self.desk)

    # The judge

    def _net(self, held: Holding) -> int:
        position = self.bench.exchange.account.positions.get((held.slot, held.product))
        return position.net if position is not None else 0

    def _phase(self, held: Holding) -> str:
        phase = self.bench.exchange.conditions.phase(held.slot)
        return phase.match if phase is not None else CONTINUOUS

    def _judge(self) -> None:
        real_ns = self.bench.clock.real
        for held in self.holdings:
            net = self._net(held)
            if abs(net) > abs(held.net) or net * held.net < 0:
                self._miss(held, f"{held.net} became {net}")
            why = self._risk(held, net, real_ns)
            if why != held.why:
                held.why, held.risk_ns = why, real_ns
            elif why and real_ns - held.risk_ns > PAGE_NS and not self._paged(held):
                self._miss(held, f"{net} open, {why} since {ist_text(held.risk_ns)[11:]}, nobody was paged")
                held.risk_ns = real_ns + 10**6 * NS_PER_S
            if not net and not held.flat_ns:
                held.flat_ns = real_ns

    def _miss(self, held: Holding, text: str) -> None:
        at, key = ist_text(self.bench.clock.real)[11:], self.bench.instruments[held.slot].key
        self.wrong.append(f"{at} {key} ({held.kind}, {held.product.name}): {text}; line {self.line_words}")

    def _risk(self, held: Holding, net: int, real_ns: int) -> str:
        """Why a person has to know of the position now; "": there is no reason."""
        if not net:
            return ""
        begins, flat, _ = (self.bench.ns_of(text) for text in self.class_hours[held.kind])
        if held.product == Product.MIS and real_ns >= flat:
            return "late"
        if not self._trades(held, real_ns) or self._covered(held, net):
            return ""
        if held.product == Product.MIS and real_ns >= begins and not self.bench.line.dead:  # type: ignore[attr-defined]
            return ""  # it is being closed, and not late yet
        return "uncovered" if self.bench.line.dead or self._phase(held) != CONTINUOUS else ""  # type: ignore[attr-defined]

    def _trades(self, held: Holding, real_ns: int) -> bool:
        """The price can still move against it today."""
        phases = self.bench.phases.on(self.bench.instruments[held.slot].exchange, held.kind == "cas", DAY)
        return real_ns < phases[-1].end_ns

    def _covered(self, held: Holding, net: int) -> bool:
        """What lives at the exchange, in this phase, closes it when the price turns."""
        mode, side = self._phase(held), closing_side(net)
        alive = 0
        for order in self.bench.exchange.orders.values():
            if (
                order.slot == held.slot
                and order.request.product == held.product
                and order.request.side == side
            ):
                alive += order.remaining if self._closes(order, mode) else 0
        return alive >= abs(net)

    def _closes(self, order: SimOrder, mode: str) -> bool:
        if order.done or not order.working:
            return False
        if not order.triggered:
            return mode == CONTINUOUS
        young = self.bench.clock.real - order.placed_ns < ON_ITS_WAY_NS
        return mode == AUCTION or young or order.placed_by is not None

    def _paged(self, held: Holding) -> bool:
        key = self.bench.instruments[held.slot].key
        until_ns = held.risk_ns + PAGE_NS
        return any(
            self._tells(told, key) and told.real_ns <= until_ns for told in self._standing(held.risk_ns)
        )

    def _standing(self, real_ns: int) -> list[Told]:
        """Pages that were not taken back before an instant."""
        standing: dict[tuple[str, str], Told] = {}
        for told in self.bench.told:
            name = (told.code, told.key)
            if told.cleared and told.real_ns <= real_ns:
                standing.pop(name, None)
            elif told.pages:
                standing.setdefault(name, told)
        return list(standing.values())

    def _tells(self, told: Told, key: str) -> bool:
        return key in told.key or key in told.text or told.code in ("WATCHDOG_BLIND", "TOKEN_DEAD")

    def _end(self) -> None:
        """What became of each position."""
        rms = {o.slot for o in self.bench.exchange.orders.values() if o.placed_by and o.now.filled}
        for held in self.holdings:
            net = self._net(held)
            if held.product != Product.MIS:
                gone = net != held.net and not held.locked
                if gone:
                    self._miss(held, f"{held.net} became {net}: nobody may close it")
                held.outcome = "kept" if net else "stopped"
            elif not net:
                held.outcome = "closed by the broker" if held.slot in rms else "closed by us"
            else:
                held.outcome = "open and paged"
            if not self._in_time(held):
                held.outcome = held.outcome and f"{held.outcome}, not due"
            self.count[f"{held.kind} {held.product.name}: {held.outcome}"] += 1
            self._own_time(held)
        self._books_agree()
        self._fees_agree()

    def _in_time(self, held: Holding) -> bool:
        return self.bench.clock.real >= self.bench.ns_of(self.class_hours[held.kind][1])

    def _own_time(self, held: Holding) -> None:
        """With a live line and a free price it was closed in time, and by us; not before its hour."""
        begins, flat, _ = (self.bench.ns_of(text) for text in self.class_hours[held.kind])
        line: Any = self.bench.line
        ahead_ns = self.bench.clock.real - self.bench.clock.mono
        clear = line.until_ns + ahead_ns < begins or line.from_ns + ahead_ns > flat or not line.until_ns
        if held.product != Product.MIS or held.locked or not clear or not self._in_time(held):
            if held.product == Product.MIS and held.flat_ns and held.flat_ns < begins and not held.locked:
                self._miss(held, f"closed at {ist_text(held.flat_ns)[11:]}, before its hour")
            return
        recovered_ns = line.until_ns + ahead_ns + 60 * NS_PER_S
        if line.until_ns and recovered_ns > begins and line.from_ns + ahead_ns < begins:
            return
        if not held.flat_ns or held.flat_ns > flat:
            self._miss(held, "not flat in time although the line was alive")
        elif held.outcome != "closed by us":
            self._miss(held, f"{held.outcome} although the line was alive")

    def _fees_agree(self) -> None:
        """What the broker takes for closing a position is what our charges say."""
        for fee in self.bench.exchange.account.fees:
            row = self.bench.instruments[self.bench.exchange.orders[fee.order_id].slot]
            taken = fee.paise * (100 + GST_PERCENT) // 100
            said = self.charges.fixed_paise(FEE, row, Product.MIS)
            self.count["fees of the broker's square-off"] += 1
            if taken != said:
                self.wrong.append(f"{row.key}: the broker takes {taken} paise to close it, we count {said}")

    def _books_agree(self) -> None:
        """After a while with a live line our positions are the exchange's."""
        line: Any = self.bench.line
        if line.dead or self.bench.clock.mono - line.until_ns < 300 * NS_PER_S or not self.desk.stage.active:
            return
        for held in self.holdings:
            ours = sum(p.quantity for p in self.desk.stage.book.in_slot(held.slot, held.product))
            if ours != self._net(held):
                self._miss(held, f"{ours} in our book, {self._net(held)} at the exchange")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m kite_hft.verify eod", description=__doc__)
    add_broker(made)
    made.add_argument("--cases", type=int, default=1000, help="afternoons (default 1,000)")
    made.add_argument("--seed", type=int, default=1, help="first seed; each seed is one afternoon")
    made.add_argument("--alerts", action="store_true", help="print the last alerts of a miss to stderr")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """The campaign; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    found = run(options.cases, options.seed, alerts=options.alerts, broker=side_of(options.broker))
    print(json.dumps(found))
    return int(not found["ok"])


def run(cases: int, seed: int, *, alerts: bool = False, broker: BrokerSide = KITE_SIDE) -> dict[str, Any]:
    """`cases` afternoons from `seed` on."""
    began = time.monotonic()
    wrong: list[dict[str, Any]] = []
    count: Counter[str] = Counter()
    done = 0
    for number in range(cases):
        case = Case(seed + number, broker)
        if problems := case.run():
            again = f"python -m kite_hft.verify eod{words_of(broker)} --cases 1 --seed {case.seed}"
            wrong.append({"seed": case.seed, "wrong": problems[:5], "again": again})
            if alerts:
                print("\n".join(case.bench.words()), file=sys.stderr)
        count += case.count
        done += 1
        show_progress(done, cases, f"{time.monotonic() - began:.0f} s")
        if len(wrong) >= 10:
            break
    return {
        "campaign": "eod", "broker": broker.name, "ok": not wrong, "cases": done, "seed": seed,
        "counts": dict(sorted(count.items())), "wrong": wrong, "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
