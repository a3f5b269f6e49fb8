"""Layer 5, watchdog, cold: from the broker's books and the time to what a person must be told.

No clock, no file: books and times are handed in. A position that seems unprotected may be one whose
stop is on its way, or whose closing the older book does not show: fresh books are asked for, and it is
told when books that were asked for afterwards still show it, or when none came in `grace_ns`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from kite_hft.engine.orders.books import RawBook
from kite_hft.engine.watchdog.books import KITE, BadBook, Reading, Traded, exits_of
from kite_hft.engine.watchdog.closings import Closings
from kite_hft.sessions import ist_text
from kite_hft.trading.alerts import CRITICAL, INFO, WARNING
from kite_hft.trading.exits.protection import (
    Cover,
    Facts,
    Held,
    Resting,
    Trigger,
    covers,
    lapse_ns,
    naked_paise,
)
from kite_hft.units import NS_PER_S

SAY_AGAIN_NS: Final = 5 * NS_PER_S
GREW: Final = 1.1
"""So much more without protection is said at once."""
ASK_EVERY_NS: Final = 3 * NS_PER_S
ASK_SOON_NS: Final = 3 * NS_PER_S // 2
"""Between two wishes for fresh books: because something was traded; because a position seems naked."""
OUTDATED: Final = 3
"""So many times the grace may pass until positions are read that show what has traded."""
TRIGGER_BOOKS: Final = 2
"""The triggers may be so many times older than the other books: not each round of reads has them."""
TENDED_NS: Final = 5 * NS_PER_S
"""The word of ORDERS that it tends an exit is that old at most: it is given every second."""
SUMMARY_CHARS_MAX: Final = 900
_BOOKS: Final = ("positions", "orders")
_TRIGGERS: Final = ("triggers",)

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is told when. summary_ns: after the market's midnight; 0: never."""

    naked_paise: int = 0
    grace_ns: int = 3 * NS_PER_S
    blind_ns: int = 60 * NS_PER_S
    summary_at_ns: int = 0


class Suspect(NamedTuple):
    """A position that seems bare. since_ns: books that were asked for later prove it, unless it is another
    one by then. first_ns: of the first look at it; closed: what of its instrument had closed by `since_ns`.
    """

    first_ns: int
    since_ns: int
    closes: tuple[str, str]  # instrument, BUY or SELL
    closed: int


@dataclass(slots=True)
class Guard:
    """Compares positions with their protection. started_ns: CLOCK_MONOTONIC of its start. reading: of the
    broker's books."""

    limits: Limits
    facts: Facts
    started_ns: int
    reading: Reading = KITE
    positions: list[Held] = field(default_factory=list)
    orders: list[Resting] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    exits: dict[str, float] = field(default_factory=dict)  # orders at their target -> the stop behind them
    asked_ns: dict[str, int] = field(default_factory=dict)  # book -> when the newest was asked for
    books_real_ns: int = 0  # when the newest book came
    naked_paise: int = 0
    held: int = 0
    _bad: dict[str, str] = field(default_factory=dict)  # book -> why the newest of it cannot be read
    _seen: dict[tuple[str, ...], int] = field(default_factory=dict)
    _filled: Traded = field(default_factory=Counter)  # by the orders
    _traded: Traded = field(default_factory=Counter)  # by the trades
    _shown: tuple[Traded, Traded] = field(default_factory=lambda: (Counter(), Counter()))  # by the positions
    _suspects: dict[str, Suspect] = field(default_factory=dict)
    _told: dict[str, tuple[int, int]] = field(default_factory=dict)  # when, and how much of it
    _blind_ns: int = 0
    _wanted_ns: int = -ASK_EVERY_NS
    _summary_said: bool = False
    _settling: set[str] = field(default_factory=set)  # who was told
    _closings: Closings = field(init=False)

    def __post_init__(self) -> None:
        self._closings = Closings(self.facts.closing_ns)

    def take(self, book: RawBook, now_ns: int) -> None:
        """A new book. One that cannot be read leaves the old one, which grows old."""
        try:
            if book.read == "positions":
                self.positions = self.reading.positions(book.body)
                self._shown = (self._filled, self._traded)
            elif book.read == "orders":
                self.orders = self.reading.orders(book.body, self._seen, now_ns)
                self._filled = _filled_of(self.orders)
            elif book.read == "trades":
                self._traded = self.reading.trades(book.body)
            elif book.read == "triggers":
                self.triggers = self.reading.triggers(book.body)
            elif book.read == "exits":
                self.exits = exits_of(book.body)
                self.asked_ns["exits"] = book.asked_ns
                self._bad.pop("exits", None)
                return
        except BadBook as error:
            self._bad[book.read] = str(error)
            return
        self._bad.pop(book.read, None)
        self.asked_ns[book.read] = book.asked_ns
        self.books_real_ns = max(self.books_real_ns, book.put_real_ns)

    def cover(self, at_ns: int, now_ns: int, *, alone: bool = False) -> list[Cover]:
        """What protects each position at a time of the market. alone: the engine is gone."""
        orders = self._closings.dated(self._tended(now_ns, alone=alone))
        return covers(self.positions, orders, self.triggers, self.facts, at_ns, now_ns)

    def _tended(self, now_ns: int, *, alone: bool) -> list[Resting]:
        """The orders; those at their target with the stop behind them."""
        tended = not alone and now_ns - self.asked_ns.get("exits", now_ns) <= TENDED_NS
        return [
            order._replace(stop=self.exits[order.order_id], tended=tended)
            if order.order_id in self.exits
            else order
            for order in self.orders
        ]

    def _follow_closings(self, at_ns: int, now_ns: int, *, alone: bool) -> None:
        orders, lasting = self._tended(now_ns, alone=alone), replace(self.facts, closing_ns=0)
        found = covers(self.positions, orders, self.triggers, lasting, at_ns, now_ns)
        self._closings.look([cover.held for cover in found if cover.naked], orders, now_ns)

    def look(self, at_ns: int, now_ns: int, *, alone: bool = False) -> list[Fields]:
        """What is to be told now: fields of alerts; `cleared: true` ends one.

        at_ns: the market's time (epoch). alone: the engine is gone and no fresh books come.
        """
        self._follow_closings(at_ns, now_ns, alone=alone)
        found = self.cover(at_ns, now_ns, alone=alone)
        self.naked_paise, self.held = naked_paise(found), len(found)
        told = [] if alone else self._blindness(at_ns, now_ns)
        told += self._naked(found, now_ns, alone=alone) + self._settle(found)
        return told + self._summary(at_ns, now_ns)

    def wants_books(self, now_ns: int) -> bool:
        """Whether fresh books would help, and were not asked for a moment ago."""
        unsure = any(name not in self._told for name in self._suspects)
        gap_ns = ASK_SOON_NS if unsure else ASK_EVERY_NS
        outdated = self._shown != (self._filled, self._traded)
        if not (unsure or outdated) or now_ns - self._wanted_ns < gap_ns:
            return False
        self._wanted_ns = now_ns
        return True

    def words(self, at_ns: int, now_ns: int, *, alone: bool = False) -> str:
        """All open positions and what protects them, in one line; "": there is none."""
        return joined([cover.words() for cover in self.cover(at_ns, now_ns, alone=alone)])

    @property
    def sees(self) -> bool:
        """Whether positions and orders of the account have come."""
        return all(read in self.asked_ns for read in _BOOKS)

    def _blindness(self, at_ns: int, now_ns: int) -> list[Fields]:
        blind = self._blind_by(at_ns, now_ns)
        if blind is None:
            if not self._blind_ns:
                return []
            self._blind_ns = 0
            return [alert("WATCHDOG_BLIND", "", "books are read again", WARNING, cleared=True)]
        if self._blind_ns and now_ns - self._blind_ns < SAY_AGAIN_NS:
            return []
        self._blind_ns = now_ns
        reads, age_ns = blind
        bad = [self._bad[read] for read in (*reads, *self._bad) if read in self._bad]
        why = bad[0] if bad else "the order process hands on no books"
        what, last = "broker's books", "none came"
        if reads == _TRIGGERS:
            what, last = "triggers that protect something", "positions and orders come"
        elif self.books_real_ns:
            last = f"the last are of {ist_text(self.books_real_ns)[11:]}"
        text = f"the {what} are {age_ns / NS_PER_S:.0f} s old ({why}); {last}, {self.held} positions"
        return [alert("WATCHDOG_BLIND", "", text, CRITICAL if self.held else WARNING)]

    def _blind_by(self, at_ns: int, now_ns: int) -> tuple[tuple[str, ...], int] | None:
        """(books that are too old, age of the oldest); None: none is."""
        ages = {
            read: now_ns - max(self.asked_ns.get(read, 0), self.started_ns) for read in _BOOKS + _TRIGGERS
        }
        oldest_ns = max(ages[read] for read in _BOOKS)
        if oldest_ns > self.limits.blind_ns:
            return _BOOKS, oldest_ns
        patience_ns = self.limits.blind_ns * (1 if "triggers" in self._bad else TRIGGER_BOOKS)
        if ages["triggers"] > patience_ns and self._triggers_matter(at_ns, now_ns):
            return _TRIGGERS, ages["triggers"]
        return None

    def _triggers_matter(self, at_ns: int, now_ns: int) -> bool:
        """Whether more would be without protection if the triggers were gone."""
        orders = self._closings.dated(self._tended(now_ns, alone=False))
        without = covers(self.positions, orders, (), self.facts, at_ns, now_ns)
        return naked_paise(without) > self.naked_paise

    def _naked(self, found: Sequence[Cover], now_ns: int, *, alone: bool) -> list[Fields]:
        told = []
        over = self.naked_paise > self.limits.naked_paise
        naked = {cover.name: cover for cover in found if cover.naked and over}
        self._suspects = {name: self._suspect(cover, now_ns) for name, cover in naked.items()}
        for name in [name for name in self._told if name not in naked]:
            del self._told[name]
            told.append(alert("NAKED_POSITION", name, "protected again, or closed", CRITICAL, cleared=True))
        for name, cover in naked.items():
            if not (alone or self._certain(cover, now_ns)):
                continue
            told_ns, told_paise = self._told.get(name, (-SAY_AGAIN_NS, 0))
            if now_ns - told_ns >= SAY_AGAIN_NS or cover.naked_paise > told_paise * GREW:
                self._told[name] = now_ns, cover.naked_paise
                fields = alert("NAKED_POSITION", name, cover.state(), CRITICAL)
                told.append(fields | {"size": cover.naked_paise})
        return told

    def _settle(self, found: Sequence[Cover]) -> list[Fields]:
        """Contracts that settle in shares and have to go today: once each, and when they are gone."""
        settling = {cover.name: cover for cover in found if cover.settles}
        fresh = [cover for name, cover in settling.items() if name not in self._settling]
        over = self._settling - settling.keys()
        self._settling = set(settling)
        told = [alert("SETTLEMENT", cover.name, cover.words(), CRITICAL) for cover in fresh]
        return told + [alert("SETTLEMENT", name, "gone", CRITICAL, cleared=True) for name in sorted(over)]

    def _suspect(self, cover: Cover, now_ns: int) -> Suspect:
        """As before; anew where it may be another position: as much has closed since as is bare."""
        closes = cover.held.key, "SELL" if cover.held.quantity > 0 else "BUY"
        closed = max(self._filled[closes], self._traded[closes])
        known = self._suspects.get(cover.name, Suspect(now_ns, now_ns, closes, closed))
        if known.closes == closes and closed - known.closed < cover.naked:
            return known
        return Suspect(known.first_ns, now_ns, closes, closed)

    def _certain(self, cover: Cover, now_ns: int) -> bool:
        """Newer orders may show a stop as gone that has closed what older positions show as held: where it
        may have closed all that is bare, books that agree are waited for, for a while.
        """
        suspect = self._suspects[cover.name]
        if now_ns - suspect.first_ns >= OUTDATED * self.limits.grace_ns:
            return True
        (filled, traded), closes = self._shown, suspect.closes
        unseen = max(self._filled[closes] - filled[closes], self._traded[closes] - traded[closes])
        if unseen >= cover.naked:
            return False
        fresh = min(self.asked_ns.get("positions", 0), self.asked_ns.get("orders", 0)) > suspect.since_ns
        return fresh or now_ns - suspect.since_ns >= self.limits.grace_ns

    def _summary(self, at_ns: int, now_ns: int) -> list[Fields]:
        """Once, at the hour of the summary: what still protects what when continuous trading ends."""
        at = self.limits.summary_at_ns
        lapse = lapse_ns(self.facts, self.positions)
        if not at or self._summary_said or not at <= at_ns or "positions" not in self.asked_ns:
            return []
        self._summary_said = True
        if lapse is None or at_ns >= lapse:
            text = "no position is open" if not self.held else f"open: {self.words(at_ns, now_ns)}"
            return [alert("PROTECTION_AT_CLOSE", "", text, INFO)]
        after = self.cover(lapse, now_ns)
        words = joined([cover.words() for cover in after])
        bare = any(cover.naked for cover in after)
        text = f"from {ist_text(lapse)[11:16]}: {words}"
        return [alert("PROTECTION_AT_CLOSE", "", text, WARNING if bare else INFO)]


def _filled_of(orders: Sequence[Resting]) -> Traded:
    found: Traded = Counter()
    for order in orders:
        found[order.key, order.side] += order.filled
    return found


def alert(code: str, key: str, text: str, severity: int, *, cleared: bool = False) -> Fields:
    """Fields of an alert, as they travel between processes."""
    fields: Fields = {"code": code, "key": key, "text": text, "severity": severity}
    return fields | ({"cleared": True} if cleared else {})


def joined(texts: Sequence[str]) -> str:
    """As many as a person reads, and how many more there are."""
    told: list[str] = []
    for text in texts:
        if told and sum(map(len, told)) + len(text) > SUMMARY_CHARS_MAX:
            return f"{' | '.join(told)} | and {len(texts) - len(told)} more"
        told.append(text)
    return " | ".join(told)
