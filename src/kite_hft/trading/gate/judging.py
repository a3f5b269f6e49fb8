"""Layer 2, orders process, hot: the gate of one order stage: gathers what an intent is judged by, and judges.

Most placements pass on the quick way (_risk.Plain); the others are judged by the table, but for the lines
that the quick way has proved.

Around the table of risk.py stand the day's tally and guards, which see everything that passes and
everything that fills, and the people who are told when an exit passes on data that would stop an
opening.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from kite_hft._risk import Plain
from kite_hft._tally import Tally
from kite_hft.layout import IntentKind, Reason
from kite_hft.memory.journal import Kind
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Funds
from kite_hft.trading.day_so_far import DaySoFar, Sums, packed
from kite_hft.trading.gate.checks import CUT_QUIET_NS, PLACE, Context, Judged, added_value, more
from kite_hft.trading.gate.checks_market import unsure
from kite_hft.trading.gate.diverging import Change as FeedChange
from kite_hft.trading.gate.facts import View
from kite_hft.trading.gate.guards import Guards
from kite_hft.trading.gate.holds import HALTED
from kite_hft.trading.gate.limits import legal_protection
from kite_hft.trading.gate.risk import (
    NEEDED,
    SIZES,
    Verdict,
    cut_age_ns,
    judge,
    judge_as,
    plain_rows,
    target_of,
)
from kite_hft.trading.gate.states import States
from kite_hft.trading.intents import ENGINE_SEQ, Intent
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.trading.sending.conduct import ConductBook
from kite_hft.trading.sending.outbox import Outbox

CANCEL = int(IntentKind.CANCEL)
REPEATED = Reason.REPEATED


Seen = tuple[tuple[int, int, int], View]
"""(last price, tick sequence, age in ns), (0, 0, -1) when there is none; what the rules say."""


class Purse(Protocol):
    """Who knows the account's free funds (recovery/reader.py)."""

    @property
    def funds(self) -> Funds | None: ...


class Stage(Protocol):
    """What the gate asks of its order stage."""

    active: bool
    stopping: bool

    @property
    def reader(self) -> Purse: ...


class Gate:
    """One per order stage."""

    def __init__(
        self,
        ports: Ports,
        config: OrdersConfig,
        book: Book,
        outbox: Outbox,
        states: States,
        stage: Stage,
    ) -> None:
        self._ports, self._config, self._book = ports, config, book
        self._outbox, self._states, self._stage = outbox, states, stage
        self._limits = config.risk
        self._rows, self._n = ports.instruments.rows, len(ports.instruments)
        self._mark, self._slices_max = ports.latest.last_px, config.slices_max
        self._modifications_max = config.limits.modifications_per_order
        self.facts, conduct = ports.facts, None
        if self.facts.traffic is None:
            conduct = outbox.conduct
            self.facts = replace(
                self.facts,
                traffic=conduct.traffic,
                per_contract=config.limits.per_contract,
                per_strategy=config.limits.per_strategy,
            )
        self.tally = Tally(config.risk)
        self.guards = Guards(config.risk)
        plain = self._plain = Plain(
            instruments=ports.instruments, rows=plain_rows(ports.instruments), limits=config.risk,
            ports=ports, stage=stage, states=states, outbox=outbox, book=book, tally=self.tally,
            guards=self.guards, facts=self.facts, conduct=conduct, cut_quiet_ns=CUT_QUIET_NS,
            protected=legal_protection(config.risk.market_protection), opening=NEEDED[False],
            exit=NEEDED[True],
        )  # fmt: skip
        self.passes = plain.passes
        self._before: DaySoFar | None = None
        self._runs = frozenset({ports.tags.run})

    def restore(self, found: Recovered, now_ns: int) -> None:
        """What the journal tells of the day so far; the book is replayed already."""
        self._before, self._runs = found.day, frozenset({*found.runs, self._ports.tags.run})
        self._sums(found.conduct, now_ns).recount(found.day, found.openings, found.guards)
        self.guards.begin(self._book, found.judged)
        if not self._ports.restarted and (text := self.guards.standing(now_ns)):
            self._outbox.alert("GUARD_TRIPPED", text)
        self._show()

    def day_so_far(self) -> dict[str, Any]:
        """For the END record: the sums of the day, with those of the runs before."""
        now_ns = self._ports.clock.mono_ns()
        found = self._sums(self._outbox.conduct, now_ns).now(self._before, self._runs, now_ns)
        return {"day": packed(found)}

    def _sums(self, conduct: ConductBook, now_ns: int) -> Sums:
        ports, ahead_ns = self._ports, self._ports.clock.real_ns() - now_ns
        return Sums(self.tally, self.guards, conduct, ports.instruments, ports.strategy_names, ahead_ns)

    def judge(self, intent: Intent, last_seq: int, now_ns: int) -> tuple[Verdict | None, Judged]:
        """The refusal, or None; what passes counts from here on."""
        passed = self._plain.passes(intent, last_seq, now_ns)
        if passed is not None:
            return None, passed
        return self._ask(intent, last_seq, now_ns, self._plain)

    def by_table(self, intent: Intent, last_seq: int, now_ns: int) -> tuple[Verdict | None, Judged]:
        """As `judge`, without the quick way: for campaigns that break the table."""
        return self._ask(intent, last_seq, now_ns, None)

    def _ask(
        self, intent: Intent, last_seq: int, now_ns: int, plain: Plain | None
    ) -> tuple[Verdict | None, Context]:
        """What the table says, but for what the quick way (None: nobody) has just proved."""
        context = self.context(intent, last_seq, now_ns, plain.seen if plain is not None else None)
        verdict = judge(intent, context, self._limits, plain=plain)
        if verdict is None:
            if not context.reducing:
                self._count(intent, context, now_ns)
            elif intent.kind != CANCEL:
                self._warn(intent, context)
        elif verdict.reason is REPEATED:
            self._states.hold(intent.strategy, verdict.text)
        return verdict, context

    def peek(self, intent: Intent, now_ns: int) -> Verdict | None:
        """What the table says of an intent; nothing counts."""
        return judge(intent, self.context(intent, intent.strategy_seq - 1, now_ns), self._limits)

    def judge_trigger(
        self, order: Intent, counts: bool, now_ns: int, beside: int = 0, *, again: bool = False
    ) -> Verdict | None:
        """The refusal of the order that a trigger is to place, at a price that may lie far from today's: it
        is judged as if it were placed at the last price, and its size at its own as well. beside: so much may
        other triggers place on its side. counts: in the day's sums, when it passes. again: it has waited.
        """
        context = self.context(order, order.strategy_seq - 1, now_ns)
        row = context.instrument
        near = order
        if row is not None and row.tick_px > 0 and context.ref_px > 0:
            near = order._replace(px=max(context.ref_px // row.tick_px, 1) * row.tick_px)
        held = self._book.standing(order.strategy, order.slot, order.product)
        reducing = order.qty > 0 and held.reduces(order.side, order.qty + beside)
        verdict = judge_as(near, context, self._limits, reducing=reducing, again=again)
        if verdict is None and not context.reducing:
            context.adds_paise = None
            for check, reason in SIZES:
                if verdict is None and (text := check(order, context, self._limits)):
                    verdict = Verdict(reason, text)
        if verdict is None and counts:
            if context.reducing:
                self._warn(order, context)
            else:
                self._count(order, context, now_ns)
        elif verdict is not None and verdict.reason is Reason.REPEATED:
            self._states.hold(order.strategy, verdict.text)
        return verdict

    def context(self, intent: Intent, last_seq: int, now_ns: int, seen: Seen | None = None) -> Context:
        """What an intent is judged by, as of now. seen: what the quick way has looked at already."""
        ports, states, stage, slot = self._ports, self._states, self._stage, intent.slot
        known = slot < self._n
        if seen is not None:
            tick, view = seen
        else:
            tick, view = (0, 0, -1), self.facts.view(slot, ports.clock.real_ns())
            if known and (found := ports.latest.look(slot)):
                tick = (found[0], found[1], max(0, now_ns - found[2]))
        funds = stage.reader.funds
        halted = self._outbox.halted or ("stopping" if stage.stopping else "")
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
            stage.active,
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
            funds.free_paise(self._rows[slot].exchange if known else "") if funds is not None else None,
            view,
            self.facts,
            self.tally,
            self.guards,
            self._slices_max,
            None,
        )

    def look(self, net_paise: int, now_ns: int) -> None:
        """After fills, and now and then: positions that were closed, and the net result, without that of runs
        of the day that are over."""
        day_paise = self._ports.day_net_paise + net_paise
        for data in [*self.guards.look(self._book, self._ports.instruments), *self.guards.mark(day_paise)]:
            self._guard(data, now_ns)
        self._show()

    def look_at_feeds(self, now_ns: int) -> None:
        """Now and then: whether two feeds still tell the same prices."""
        if self.facts.feeds is not None:
            self._tell_feeds(self.facts.feeds.look(now_ns))

    def _tell_feeds(self, changes: list[FeedChange]) -> None:
        for change in changes:
            if change.text:
                self._outbox.alert("FEEDS_DIVERGE", f"{change.key}: {change.text}", change.key)
            else:
                self._outbox.clear("FEEDS_DIVERGE", change.key)

    def let_go(self, now_ns: int, strategy: int | None = None) -> None:
        """A person lets one strategy, or (None) everything, go on."""
        if strategy is not None:
            self.tally.forget_repeats(strategy)
            return
        self.tally.forget_repeats()
        self._guard(self.guards.let_go(), now_ns)
        if self.facts.feeds is not None:
            self._tell_feeds(self.facts.feeds.let_go())
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

    def _show(self) -> None:
        self._outbox.gauge("gross_notional_paise", self.tally.gross_paise)

    def _warn(self, intent: Intent, context: Context) -> None:
        """An exit has passed without what an opening would need: a person should know."""
        if context.target is not None and context.target.opening:
            return  # an entry that is made smaller
        if text := unsure(intent, context, self._limits):
            key = self._ports.instruments[intent.slot].key
            self._outbox.alert("EXIT_UNSURE", f"an exit in {key} passes although: {text}", key)
