"""Layer 2, orders process, hot: what the market takes now and what the account may do, for the gate's checks.

`Facts` is what the stage is handed: functions that answer from memory. The default ones know of no
restriction: a market that is always open, without bands and lists. `DayRules` makes the real ones of a
day: it turns the dated rules and the calendar into one small `View` for each instrument, good until
the next border of the day, so that an intent costs a look into a list.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kite_hft.layout import OrderType, Product, Validity
from kite_hft.sessions import CalendarError, Phases, ist_date, ist_midnight_ns, ist_text
from kite_hft.trading.broker import Conduct
from kite_hft.trading.gate.diverging import FeedPair
from kite_hft.trading.instruments import Instrument, InstrumentTable
from kite_hft.trading.market_rules import MarketRules

NEVER_NS: Final = 2**62
UNBOUND: Final = Conduct()
DERIVATIVES: Final = frozenset({"FUT", "CE", "PE"})
OPTIONS: Final = frozenset({"CE", "PE"})
WORDS: Final = {
    OrderType.MARKET: "MARKET", OrderType.LIMIT: "LIMIT", OrderType.SL: "SL", OrderType.SLM: "SL-M",
}  # fmt: skip
_DAYS_AHEAD: Final = 15


@dataclass(frozen=True, slots=True)
class View:
    """What the rules say of one instrument, from CLOCK_REALTIME `since_ns` until `until_ns`.

    order_types, validities, products: bit v is set when the value v is taken for the instrument at all.
    phase_types: bits of the order types that the phase of the day takes. closed: what is closed for it
    (see market_rules.Restriction) -> the list that says so. cut_off, expiry: why nothing is opened any
    more; unlisted: product -> the daily list that would be needed to know, and is missing. covered: the
    calendar has the day; else the phase takes nothing for want of knowledge.
    """

    until_ns: int = NEVER_NS
    phase: str = "always open"
    phase_types: int = -1
    order_types: int = -1
    validities: int = -1
    products: int = -1
    closed: Mapping[str, str] = field(default_factory=dict)
    cut_off: str = ""
    expiry: str = ""
    expiry_side: int = 0  # 0: both
    unlisted: Mapping[int, str] = field(default_factory=dict)
    since_ns: int = 0
    covered: bool = True


OPEN_VIEW: Final = View()


class Holding(NamedTuple):
    """Shares of one instrument in the account, in units of quantity.

    settled, t1: before the day's sales. used: sold of them today, by whomever, as the broker last said,
    without what our orders had still to sell. ours: what the strategies had sold of them when he said it.
    authorised: how many may leave the account today (by DDPI all of them, by CDSL TPIN those that were
    authorised).
    """

    settled: int
    t1: int = 0
    used: int = 0
    authorised: int = 0
    ours: int = 0


class Closing(NamedTuple):
    """The end of a day for one instrument, by the clock that was asked with.

    From from_ns on what must not stay overnight is closed, by flat_ns it is; broker_ns: when the broker
    closes it by himself, 0: he does not.
    """

    from_ns: int
    flat_ns: int
    broker_ns: int = 0


class Settlement(NamedTuple):
    """A contract that settles in shares, on a day on which it has to go; times by the clock that was asked
    with: from when people are told, from when it is closed where that is wished, and until when.
    """

    last: str  # the day of the expiry
    warn_ns: int
    from_ns: int
    flat_ns: int


class Traffic(NamedTuple):
    """Messages (orders, modifications, cancels) and trades of a day, of one contract or strategy."""

    messages: int = 0
    trades: int = 0
    modifications: int = 0


def _open(slot: int, real_ns: int) -> View:
    return OPEN_VIEW


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks may ask. A port that is None: this market has no such thing, and nothing is checked.

    view(slot, CLOCK_REALTIME ns). band(slot): circuit limits (low, high, age in ns), (0, 0, -1) when
    they are not known. holding(slot): None: not known. traded(slot): whether the contract has traded
    today. clock_wrong(): why the wall clock cannot be trusted, "" when it can. traffic(strategy, slot):
    of the contract, and of the strategy; held against per_contract and per_strategy. day_end(slot,
    CLOCK_REALTIME ns): how the instrument's day ends, None: it is closed today, or has no such rule.
    settlement(slot, CLOCK_REALTIME ns): a contract that settles in shares has to go today; None: not.
    feeds: two brokers' feeds of the same instruments, held against each other; None: there is one.

    What the functions answer from, for the gate's quick way; None: it has to ask them. ahead_ns(): what
    `view` adds to the time that it is asked with, before it compares with View.until_ns. bands: slot -> (low,
    high, CLOCK_MONOTONIC when that was true). watch: whose answer clock_wrong gives.
    """

    view: Callable[[int, int], View] = _open
    band: Callable[[int], tuple[int, int, int]] | None = None
    holding: Callable[[int], Holding | None] | None = None
    traded: Callable[[int], bool] | None = None
    clock_wrong: Callable[[], str] | None = None
    traffic: Callable[[int, int], tuple[Traffic, Traffic]] | None = None
    per_contract: Conduct = UNBOUND
    per_strategy: Conduct = UNBOUND
    day_end: Callable[[int, int], Closing | None] | None = None
    settlement: Callable[[int, int], Settlement | None] | None = None
    ahead_ns: Callable[[], int] | None = None
    bands: Mapping[int, tuple[int, int, int]] | None = None
    watch: ClockWatch | None = None
    feeds: FeedPair | None = None


OPEN_FACTS: Final = Facts()


class AlwaysFresh:
    """For a market whose prices are never old: Ports.fresh."""

    of_slot: Sequence[None] = ()

    def __call__(self, slot: int) -> bool:
        return True


def bits_of(values: Collection[int]) -> int:
    """Bit v is set for each v of `values`."""
    return sum(1 << int(v) for v in set(values))


class DayRules:
    """The views of a day's instruments.

    phases: None: the market keeps no hours, as a simulator's. underlyings: symbols that have
    derivatives; None: not known, and every share counts as a closing-auction one, whose day ends first.
    lists: names of the daily lists that are at hand; None: none is needed. allow: EXCHANGE:SYMBOL that
    may be entered although a list is missing.
    """

    def __init__(
        self,
        instruments: InstrumentTable,
        rules: MarketRules,
        phases: Phases | None,
        *,
        underlyings: frozenset[str] | None = frozenset(),
        lists: Collection[str] | None = None,
        allow: Collection[str] = (),
    ) -> None:
        self._instruments, self._rules, self._phases = instruments, rules, phases
        self._underlyings, self._lists, self._allow = underlyings, lists, frozenset(allow)
        self._always = [self._whole_day(row) for row in instruments.rows]
        self._now = [View(until_ns=-1)] * len(instruments)
        self._ends: dict[tuple[str, bool, dt.date], Closing | None] = {}
        self._settling: dict[int, Settlement | None] = {}

    def view(self, slot: int, real_ns: int) -> View:
        """The view of a slot now; an unknown slot has an open one: it is refused for itself."""
        if slot >= len(self._now):
            return OPEN_VIEW
        found = self._now[slot]
        if not found.since_ns <= real_ns < found.until_ns:  # a clock may be set back, too
            found = self._now[slot] = self._at(slot, real_ns)
        return found

    def day_end(self, slot: int, real_ns: int) -> Closing | None:
        """How the day of a slot ends; None: it keeps no hours, is closed, or has no rule."""
        if self._phases is None or slot >= len(self._now):
            return None
        row, day = self._instruments[slot], ist_date(real_ns)
        key = (row.exchange, self.is_cas(row), day)
        if key not in self._ends:
            self._ends[key] = self._end_of(row, key[1], day)
        return self._ends[key]

    def _end_of(self, row: Instrument, cas: bool, day: dt.date) -> Closing | None:
        assert self._phases is not None
        rule, broker = self._rules.day_end(row, cas), self._rules.square_off(row, cas)
        try:
            if rule is None or not self._phases.on(row.exchange, cas, day):
                return None
            base_ns = ist_midnight_ns(day) + self._phases.shift_ns(row.exchange, day)
        except CalendarError:
            return None
        broker_ns = base_ns + broker.at_ns if broker is not None else 0
        return Closing(base_ns + rule.close_from_ns, base_ns + rule.flat_by_ns, broker_ns)

    def settlement(self, slot: int, real_ns: int) -> Settlement | None:
        """What is held of it overnight has to go today; None: it settles in cash, or later. real_ns: of the
        day that is traded."""
        if self._phases is None or slot >= len(self._now):
            return None
        if slot not in self._settling:
            self._settling[slot] = self._settles(self._instruments[slot])
        return self._settling[slot]

    def _settles(self, row: Instrument) -> Settlement | None:
        assert self._phases is not None
        rule = self._rules.expiry(row) if row.kind in DERIVATIVES and row.expiry else None
        try:
            last = dt.date.fromisoformat(row.expiry)
        except ValueError:
            return None
        if rule is None or last < self._rules.day or self._days_left(row.exchange, last) > rule.exit_days:
            return None
        try:
            base_ns = ist_midnight_ns(self._rules.day) + self._phases.shift_ns(row.exchange, self._rules.day)
        except CalendarError:
            return None
        times = (rule.warn_from_ns, rule.close_from_ns, rule.flat_by_ns)
        return Settlement(str(last), *(base_ns + at_ns for at_ns in times))

    def is_cas(self, row: Instrument) -> bool:
        """Whether the instrument takes part in the closing auction, or may."""
        if self._rules.closing_auction(row, self._underlyings or frozenset()) is not None:
            return True
        shares = row.kind == "EQ" and not row.is_index
        auctions = any(row.exchange in a.exchanges for a in self._rules.closing_auctions)
        return self._underlyings is None and shares and auctions

    def _whole_day(self, row: Instrument) -> View:
        rules = self._rules
        closed, unlisted = rules.closed(row), self._unlisted(row)
        expiry, side = self._expiry(row)
        types = bits_of([t for t, word in WORDS.items() if not rules.forbids(word, row)])
        products = bits_of([p for p in Product if not rules.forbids(p.name, row)])
        return View(
            until_ns=NEVER_NS,
            order_types=types,
            validities=bits_of([v for v in Validity if not rules.forbids(v.name, row)]),
            products=products,
            closed=closed,
            expiry=expiry,
            expiry_side=side,
            unlisted=unlisted,
        )

    def _unlisted(self, row: Instrument) -> dict[int, str]:
        """Product -> the missing list. Derivatives need the ban list, intraday trading the MIS one."""
        if self._lists is None or row.key in self._allow:
            return {}
        missing = [r for r in self._rules.restrictions if r.daily and r.name not in self._lists]
        found: dict[int, str] = {}
        for restriction in missing:
            if row.kind in DERIVATIVES:
                if "entry" in restriction.closed:
                    found |= dict.fromkeys((int(p) for p in Product), restriction.name)
            elif "MIS" in restriction.closed:
                found[int(Product.MIS)] = restriction.name
        return found

    def _expiry(self, row: Instrument) -> tuple[str, int]:
        """Why nothing is opened because of the expiry, and for which side (0: both)."""
        if row.kind not in DERIVATIVES or not row.expiry:
            return "", 0
        try:
            last = dt.date.fromisoformat(row.expiry)
        except ValueError:
            return f"expiry {row.expiry!r} of {row.key} is no date", 0
        if last < self._rules.day:
            return f"{row.key} expired on {last}", 0
        rule = self._rules.expiry(row)
        if rule is None:
            return "", 0
        left = self._days_left(row.exchange, last)
        if left > rule.no_entry_days:
            return "", 0
        text = f"{row.key} settles in shares: {left} trading days to {last} <= {rule.no_entry_days}"
        return text, rule.side

    def _days_left(self, segment: str, last: dt.date) -> int:
        """Trading days after today up to `last`; an uncovered day counts as one that trades not."""
        day, left = self._rules.day, 0
        for _ in range(min((last - day).days, _DAYS_AHEAD)):
            day += dt.timedelta(days=1)
            left += self._trades_on(segment, day)
        return left if day == last else _DAYS_AHEAD

    def _trades_on(self, segment: str, day: dt.date) -> bool:
        if self._phases is None:
            return day.weekday() < 5
        try:
            return bool(self._phases.on(segment, False, day))
        except CalendarError:
            return False

    def _at(self, slot: int, real_ns: int) -> View:
        """The view from now to the next border of the day."""
        always, row = self._always[slot], self._instruments[slot]
        if self._phases is None:
            return always
        cas = self.is_cas(row)
        try:
            phase = self._phases.phase_at(row.exchange, cas, real_ns)
        except CalendarError as error:
            return _closed(always, str(error), real_ns)
        until_ns, cut_off = phase.end_ns, ""
        day_end = self._rules.day_end(row, cas)
        if day_end is not None:
            shift_ns = self._phases.shift_ns(row.exchange, ist_date(real_ns))
            at_ns = ist_midnight_ns(ist_date(real_ns)) + day_end.entries_until_ns + shift_ns
            if real_ns >= at_ns:
                cut_off = f"no entries in {row.key} from {ist_text(at_ns)[11:]}"
            else:
                until_ns = min(until_ns, at_ns)
        types = bits_of([t for t, word in WORDS.items() if word in phase.orders])
        return View(
            until_ns, phase.name, types, always.order_types, always.validities, always.products,
            always.closed, cut_off, always.expiry, always.expiry_side, always.unlisted, real_ns,
        )  # fmt: skip


def _closed(always: View, why: str, real_ns: int) -> View:
    """A day that the calendar does not cover: closed, asked again in a second."""
    return View(
        real_ns + 1_000_000_000, why, 0, always.order_types, always.validities, always.products,
        always.closed, "", always.expiry, always.expiry_side, always.unlisted, real_ns,
        covered=False,
    )  # fmt: skip


class ClockWatch:
    """Whether the wall clock can be trusted: it was not stepped, and is near the broker's.

    Both clocks of the machine are slewed alike, so that their difference changes by a step alone (or
    while the machine sleeps). A step is latched: what was timed by the wall clock before it is wrong.
    """

    def __init__(
        self,
        mono_ns: Callable[[], int],
        real_ns: Callable[[], int],
        most_ns: int,
        skew_ns: Callable[[], int | None] | None = None,
    ) -> None:
        self._mono_ns, self._real_ns, self.most_ns, self.skew_ns = mono_ns, real_ns, most_ns, skew_ns
        self.ahead_ns = real_ns() - mono_ns()
        self.stepped = ""

    def wrong(self) -> str:
        """Why not; "" when it can be."""
        step_ns = self._real_ns() - self._mono_ns() - self.ahead_ns
        if abs(step_ns) > self.most_ns and not self.stepped:
            self.stepped = f"the wall clock was stepped by {step_ns / 1e9:.3f} s: start the engine anew"
        if self.stepped:
            return self.stepped
        skew_ns = self.skew_ns() if self.skew_ns is not None else None
        if skew_ns is not None and abs(skew_ns) > self.most_ns:
            return f"the wall clock is {skew_ns / 1e9:.3f} s off the broker's > {self.most_ns / 1e9:g} s"
        return ""
