"""Layer 2, orders process, hot: the gate of one order stage: gathers what an intent is judged by, and judges.

Around the table of risk.py stand the day's tally and guards, which see everything that passes and
everything that fills, and the people who are told when an exit passes on data that would stop an
opening.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kite_hft.layout import IntentKind, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.gate.checks import PLACE, Context, added_value, more, value_of
from kite_hft.trading.gate.checks_market import unsure
from kite_hft.trading.gate.guards import Guards, Tally
from kite_hft.trading.gate.holds import HALTED
from kite_hft.trading.gate.risk import Verdict, cut_age_ns, judge, plain_of, target_of
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.replay import Recovered
from kite_hft.trading.sending.outbox import Outbox

CANCEL = int(IntentKind.CANCEL)


class Gate:
    """active(): the stage is; halted(): why it opens nothing, or ""; funds(): free paise, None: not known."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        states: States,
        *,
        active: Callable[[], bool],
        halted: Callable[[], str],
        funds: Callable[[], int | None],
    ) -> None:
        self._ports, self._config, self._book = ports, config, book
        self._outbox, self._states = outbox, states
        self._active, self._halted, self._funds = active, halted, funds
        self._limits = config.risk
        self._plain = plain_of(ports.instruments, config.risk)
        self._rows, self._n = ports.instruments.rows, len(ports.instruments)
        self._mark, self._slices_max = ports.latest.last_px, config.slices_max
        self._modifications_max = config.limits.modifications_per_order
        self.facts = ports.facts
        if self.facts.traffic is None:
            self.facts = replace(
                self.facts,
                traffic=outbox.conduct.traffic,
                per_contract=config.limits.per_contract,
                per_strategy=config.limits.per_strategy,
            )
        self.tally = Tally(config.risk)
        self.guards = Guards(config.risk)

    def restore(self, found: Recovered, now_ns: int) -> None:
        """What the journal tells of the day so far; the book is replayed already."""
        ahead_ns = self._ports.clock.real_ns() - now_ns
        for at_ns, order_no, ref_px in found.openings:
            order = self._book.orders[order_no]
            value = self._value(order.slot, max(order.px, ref_px), order.quantity)
            own = order.strategy_seq < ENGINE_SEQ
            self.tally.add(
                order.strategy, order.slot, order.side, order.quantity, value, at_ns - ahead_ns, placed=own
            )
        self.guards.begin(self._book)
        for at_ns, data in found.guards:
            self.guards.fold(data, at_ns - ahead_ns)
        self._show()

    def judge(self, intent: Intent, last_seq: int, now_ns: int) -> tuple[Verdict | None, Context]:
        """The refusal, or None; what passes counts from here on."""
        context = self.context(intent, last_seq, now_ns)
        verdict = judge(intent, context, self._limits, plain=self._plain)
        if verdict is None:
            if not context.reducing:
                self._count(intent, context, now_ns)
            elif intent.kind != CANCEL:
                self._warn(intent, context)
        elif verdict.reason is Reason.REPEATED:
            self._states.hold(intent.strategy, verdict.text)
        return verdict, context

    def context(self, intent: Intent, last_seq: int, now_ns: int) -> Context:
        """What an intent is judged by, as of now."""
        ports, states, slot = self._ports, self._states, intent.slot
        known = slot < self._n
        tick = (0, 0, -1)
        if known and (found := ports.latest.look(slot)):
            tick = (found[0], found[1], max(0, now_ns - found[2]))
        halted = self._halted()
        if not halted and intent.strategy in self._outbox.hung:
            halted = "the strategy takes no events"
        reducing_only, held = states.reducing, states.holds.get(intent.strategy)
        if held is not None:
            words = f"strategy {intent.strategy} is {held.words}"
            if held.level == HALTED:
                halted = halted or words
            else:
                reducing_only = reducing_only or words
        return Context(  # in the order of its fields: by name, or by way of `gather`, takes twice as long
            self._rows[slot] if known else None,
            ports.instruments,
            self._book,
            self._active(),
            halted,
            *tick,
            self._mark,
            target_of(intent, self._book),
            self._modifications_max,
            last_seq,
            False,
            states.token_dead,
            reducing_only,
            states.market_halted,
            not known or ports.fresh(slot),
            cut_age_ns(intent, self._book, now_ns),
            now_ns,
            states.killed,
            self._funds(),
            self.facts.view(slot, ports.clock.real_ns()),
            self.facts,
            self.tally,
            self.guards,
            self._slices_max,
            None,
        )

    def look(self, net_paise: int, now_ns: int) -> None:
        """After fills, and now and then: positions that were closed, and the day's net result."""
        for data in [*self.guards.look(self._book, self._ports.instruments), *self.guards.mark(net_paise)]:
            self._guard(data, now_ns)
        self._show()

    def let_go(self, now_ns: int, strategy: int | None = None) -> None:
        """A person lets one strategy, or (None) everything, go on."""
        if strategy is not None:
            self.tally.forget_repeats(strategy)
            return
        self.tally.forget_repeats()
        self._guard(self.guards.let_go(), now_ns)
        self._outbox.clear("GUARD_TRIPPED")

    def _guard(self, data: dict[str, Any], now_ns: int) -> None:
        self._outbox.journal(Kind.GUARD, data)
        if text := self.guards.fold(data, now_ns):
            self._outbox.alert("GUARD_TRIPPED", text)
            self._outbox.count("guards_tripped")

    def _count(self, intent: Intent, context: Context, now_ns: int) -> None:
        side, quantity = more(intent, context.target)
        value = added_value(intent, context)
        own = intent.kind == PLACE and intent.strategy_seq < ENGINE_SEQ
        self.tally.add(intent.strategy, intent.slot, side, quantity, value, now_ns, placed=own)

    def _value(self, slot: int, px: int, quantity: int) -> int:
        return value_of(px, quantity, self._ports.instruments[slot])

    def _show(self) -> None:
        self._outbox.gauge("gross_notional_paise", self.tally.gross_paise)

    def _warn(self, intent: Intent, context: Context) -> None:
        """An exit has passed without what an opening would need: a person should know."""
        if text := unsure(intent, context, self._limits):
            key = self._ports.instruments[intent.slot].key
            self._outbox.alert("EXIT_UNSURE", f"an exit in {key} passes although: {text}", key)
