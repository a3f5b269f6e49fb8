"""Layer 2, orders process, cold: circuit limits and holdings, read from the broker and kept with their age.

Every instrument's limits are read at the start and every `period_ns` after; at Kite that is one call for
500 instruments. Holdings are read with the same period, and at once when a person may have authorised a
sale (`wanted`). What has not been read is unknown, which stops openings and no exit. Quotes have a
window of their own, or count with the books (Limits.quotes_are_reads); a read that finds no place there or
in the shared ones is sent later: it holds no order up. One that fails is asked again soon, then later and
later: else it would use up what the broker gives for the books as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from kite_hft.layout import Product
from kite_hft.trading.book import Book
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.facts import Holding
from kite_hft.trading.polling import PollPace
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.pace import Pace
from kite_hft.trading.sending.asides import Aside
from kite_hft.trading.sending.budget import ReadKind
from kite_hft.trading.sending.egress import Egress
from kite_hft.units import NS_PER_S

Answer = HttpResponse | TransportError
CHUNK: Final = 500
RETRY_NS: Final = 2_000_000_000
TOO_MANY: Final = 429  # HTTP status
QUOTE, HOLDINGS = "QUOTE", "HOLDINGS"


class MarketReads:
    """One per order stage; without `market_read_s` in its configuration it reads nothing."""

    def __init__(self, ports: Ports, config: OrdersConfig) -> None:
        self._instruments, self._broker, self._now_ns = ports.instruments, ports.broker, ports.clock.mono_ns
        self._on, self._ddpi = config.market_read_s is not None, config.ddpi
        self._pace = config.quote_pace or PollPace(0)
        self._period_ns = round((config.market_read_s or 0.0) * NS_PER_S)
        self._cooldown_ns = round(config.limits.cooldown_after_429_s * NS_PER_S)
        self._quotes = ReadKind.OTHER if config.limits.quotes_are_reads else ReadKind.QUOTE
        instruments = ports.instruments
        slots = [row.slot for row in instruments if not row.is_index]
        self._chunks = [slots[at : at + CHUNK] for at in range(0, len(slots), CHUNK)]
        self._due_ns = [-(2**62)] * len(self._chunks)
        self._unknown = [0] * len(self._chunks)  # reads in a row after which no limit was known
        self._failed = [0] * len(self._chunks)  # in a row
        self._holdings_ns = -(2**62)
        self._holdings_failed = 0  # in a row
        self._in_flight: set[str] = set()
        self.bands: dict[int, tuple[int, int, int]] = {}  # slot -> (low, high, when)
        self._holdings: dict[int, Holding] | None = None
        self._sold: Callable[[int], Mapping[int, int]] = lambda product: {}
        self._selling: Callable[[int], Mapping[int, int]] = lambda product: {}
        self._counted: Callable[[int], None] = lambda now_ns: None

    def beside(self, book: Book, pace: Pace) -> None:
        """The stage's book says what is sold; its reader's pace hears of reads that count with its own."""
        self._sold, self._selling, self._counted = book.sold, book.selling, pace.read_left

    # What the gate asks

    def band(self, slot: int) -> tuple[int, int, int]:
        """(low, high, age in ns); (0, 0, -1): not known."""
        found = self.bands.get(slot)
        return (0, 0, -1) if found is None else (found[0], found[1], max(0, self._now_ns() - found[2]))

    def holding(self, slot: int) -> Holding | None:
        """What the account holds of it; None: not known."""
        return None if self._holdings is None else self._holdings.get(slot, Holding(0))

    # Reading

    def wanted(self) -> None:
        """Read the holdings again as soon as possible."""
        self._holdings_ns = -(2**62)

    def send(
        self, now_ns: int, egress: Egress, submit: Callable[[Aside, HttpRequest], None], token_dead: str = ""
    ) -> int:
        """Send what is due, at most one call; returns how many left."""
        if not self._on or token_dead:
            return 0
        at = self._chunk_due(now_ns)
        ours = at is not None and self._pace.orders_at_ns(now_ns) <= now_ns
        if at is not None and ours and self._leaves(self._quotes, now_ns, egress):
            self._due_ns[at] = now_ns + self._period_ns
            slots = self._chunks[at]
            request = self._broker.quotes([self._instruments[slot].key for slot in slots])
            return self._ask(QUOTE, request, partial(self._quoted, at, slots), egress, submit)
        if (
            self._holdings_ns <= now_ns
            and HOLDINGS not in self._in_flight
            and self._leaves(ReadKind.OTHER, now_ns, egress)
        ):
            self._holdings_ns = now_ns + self._period_ns
            sold = self._sold(Product.CNC)  # what is sold from now on may lack in the answer
            open_then = self._selling(Product.CNC) if self._broker.used_with_open else {}
            answered = partial(self._held, sold, open_then)
            return self._ask(HOLDINGS, self._broker.holdings(), answered, egress, submit)
        return 0

    def next_ns(self, now_ns: int, egress: Egress) -> int | None:
        """When `send` may have something to do; None: when an answer has come."""
        if not self._on:
            return None
        times = []
        if QUOTE not in self._in_flight and self._due_ns:
            free_ns = max(now_ns, min(self._due_ns), egress.budget.read_free_ns(self._quotes, now_ns))
            times.append(self._pace.orders_at_ns(free_ns))
        if HOLDINGS not in self._in_flight:
            times.append(max(self._holdings_ns, egress.budget.read_free_ns(ReadKind.OTHER, now_ns)))
        return max(now_ns, min(times)) if times else None

    def _chunk_due(self, now_ns: int) -> int | None:
        if QUOTE in self._in_flight or not self._chunks:
            return None
        at = min(range(len(self._due_ns)), key=lambda i: self._due_ns[i])
        return at if self._due_ns[at] <= now_ns else None

    def _leaves(self, kind: ReadKind, now_ns: int, egress: Egress) -> bool:
        if egress.budget.read_free_ns(kind, now_ns) > now_ns or egress.read_refused(now_ns):
            return False
        egress.budget.read_left(now_ns, kind)
        if kind is ReadKind.OTHER:
            self._counted(now_ns)
        return True

    def _ask(
        self,
        name: str,
        request: HttpRequest,
        answered: Callable[[Answer, int], None],
        egress: Egress,
        submit: Callable[[Aside, HttpRequest], None],
    ) -> int:
        self._in_flight.add(name)
        submit(Aside(name, request, answered), request)
        egress.read_left(name)
        return 1

    # Answers

    def _again_ns(self, failures: int, answer: Answer, now_ns: int) -> int:
        """When what has come to nothing so often in a row is asked for again."""
        wait_ns = min(RETRY_NS << min(failures - 1, 8), self._period_ns)
        limited = isinstance(answer, HttpResponse) and answer.status == TOO_MANY
        return now_ns + max(wait_ns, self._cooldown_ns if limited else 0)

    def _quoted(self, at: int, slots: Sequence[int], answer: Answer, now_ns: int) -> None:
        self._in_flight.discard(QUOTE)
        keys = {self._instruments[slot].key: slot for slot in slots}
        scales = {key: self._instruments[slot].scale for key, slot in keys.items()}
        try:
            found = self._broker.parse_bands(_body(answer), scales)
        except ValueError:
            self._failed[at] += 1
            self._due_ns[at] = self._again_ns(self._failed[at], answer, now_ns)
            return
        self._failed[at] = 0
        asked_ns = answer.sent_ns if isinstance(answer, HttpResponse) and answer.sent_ns else now_ns
        for key, (low, high) in found.items():
            self.bands[keys[key]] = low, high, asked_ns
        if any(self.bands.get(slot, (0, 0))[1] > 0 for slot in slots):
            self._unknown[at] = 0
            return
        # None is known, as before the first tick of an exchange on paper: sooner, then later and later.
        self._unknown[at] += 1
        self._due_ns[at] = min(self._due_ns[at], self._again_ns(self._unknown[at], answer, now_ns))

    def _held(
        self,
        sold: Mapping[int, int],
        open_then: Mapping[int, int],
        answer: Answer,
        now_ns: int,
    ) -> None:
        """sold, open_then: by slot, as it stood when he was asked. What is open the gate counts by itself."""
        self._in_flight.discard(HOLDINGS)
        try:
            rows = self._broker.parse_holdings(_body(answer))
        except ValueError:
            self._holdings_failed += 1
            self._holdings_ns = self._again_ns(self._holdings_failed, answer, now_ns)
            return
        self._holdings_failed = 0
        found: dict[int, Holding] = {}
        open_by_now = self._open_by_now(sold, open_then)
        for row in rows:
            instrument = self._instruments.by_key.get(row.key)
            if instrument is not None:
                authorised = row.settled + row.t1 if self._ddpi else row.authorised
                used = row.used - min(row.used, open_by_now.get(instrument.slot, 0))
                ours = min(used, sold.get(instrument.slot, 0))
                found[instrument.slot] = Holding(row.settled, row.t1, used, authorised, ours)
        self._holdings = found

    def _open_by_now(self, sold: Mapping[int, int], open_then: Mapping[int, int]) -> dict[int, int]:
        """What was open when he was asked, but for what has been cancelled since: that may lack in what he
        tells, and would hide as much that a person has sold.
        """
        sold_now, open_now = self._sold(Product.CNC), self._selling(Product.CNC)
        return {
            slot: min(n, open_now.get(slot, 0) + max(0, sold_now.get(slot, 0) - sold.get(slot, 0)))
            for slot, n in open_then.items()
        }


def market_reads(ports: Ports, config: OrdersConfig) -> tuple[MarketReads, Ports]:
    """The reads of a stage, and the ports whose facts ask them."""
    made = MarketReads(ports, config)
    if config.market_read_s is None:
        return made, ports
    facts = replace(ports.facts, band=made.band, bands=made.bands, holding=made.holding)
    return made, replace(ports, facts=facts)


def _body(answer: Answer) -> bytes:
    """Raises ValueError: there is none to read."""
    if isinstance(answer, TransportError):
        raise ValueError(answer.reason)
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status}")
    return answer.body
