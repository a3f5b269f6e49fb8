"""The gate of one stage asked for itself: what it gathers, what counts, and orders of triggers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from orders_world import PX, intent

from kite_hft.layout import Product, Reason, Side
from kite_hft.trading.gate.holds import HALTED, REDUCING
from kite_hft.trading.gate.judging import Gate
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.recovery.opened import Opened
from kite_hft.trading.recovery.recovered import Recovered
from kite_hft.verify.risk.bench import MONO_NS, OTHER, SHARE, UNKNOWN, Bench

FAR = PX * 2
"""A price that no order of today may have."""
WIDE = {"max_position_size": 1e9, "max_order_value": 1e9, "max_exposure": 1e9}
HELD = {"held": ((1, SHARE, Product.MIS, 10),)}


def wish(**words: Any) -> Any:
    base = {"slot": SHARE, "qty": 10, "px": PX, "product": Product.MIS}
    return intent(5, **(base | words))


def same(bench: Bench, found: Any) -> int:
    tally = bench.stage.gate.tally
    return tally.same(found.strategy, found.slot, found.side, found.qty, MONO_NS)


# What is gathered


def test_the_price_that_an_intent_is_judged_by() -> None:
    bench = Bench(price={SHARE: (PX, 2.5), OTHER: None})
    bench.stage.gate._ports.latest._rows[SHARE] = (PX, 77, MONO_NS - 7)  # type: ignore[attr-defined]
    context = bench.stage.gate.context(wish(), 0, MONO_NS)
    assert (context.ref_px, context.tick_seq, context.age_ns) == (PX, 77, 7)
    early = bench.stage.gate.context(wish(), 0, MONO_NS - 8)
    assert early.age_ns == 0, "a tick that came while it was judged"
    for slot in (OTHER, UNKNOWN):
        context = bench.stage.gate.context(wish(slot=slot), 0, MONO_NS)
        assert (context.ref_px, context.tick_seq, context.age_ns) == (0, 0, -1), "there is none"


def test_why_nothing_opens_the_engines_own_reason_first() -> None:
    bench = Bench()
    gate, stage = bench.stage.gate, bench.stage

    def told(strategy: int = 1) -> tuple[str, str]:
        context = gate.context(wish(strategy=strategy), 0, MONO_NS)
        return context.halted, context.reducing_only

    assert told() == ("", "")
    stage.states.hold(1, "slow", REDUCING)
    assert told() == ("", "strategy 1 is REDUCING: slow") and told(2) == ("", "")
    stage.states.reduce("three rejects", "")
    assert told() == told(2) == ("", "three rejects")
    stage.states.hold(1, "wild", HALTED)
    assert told() == ("strategy 1 is HALTED: wild", "three rejects")
    stage.outbox.hung.add(1)
    assert told()[0] == "the strategy takes no events" and told(2)[0] == ""
    stage.stopping = True
    assert told()[0] == told(2)[0] == "stopping"
    stage.outbox.halt("the disk")
    assert told()[0] == told(2)[0] == "the disk"


def test_to_peek_counts_nothing_and_needs_no_new_number() -> None:
    bench = Bench()
    gate = bench.stage.gate
    bench.stage.intake.last_seq[1] = 5
    assert gate.peek(wish(), MONO_NS) is None and gate.peek(wish(), MONO_NS) is None
    assert same(bench, wish()) == 0 and gate.tally.gross_paise == 0
    refused = gate.peek(wish(qty=0), MONO_NS)
    assert refused is not None and refused.reason is Reason.BAD_INTENT


def test_the_table_alone_says_the_same_and_what_passes_counts() -> None:
    for words, reason in (({}, None), ({"halted": "the disk"}, Reason.HALTED)):
        bench = Bench(states=words)
        gate = bench.stage.gate
        verdict, judged = gate.by_table(wish(), 0, MONO_NS)
        assert (verdict.reason if verdict else None) is reason
        assert (judged.ref_px, judged.age_ns) == (PX, 0), "it has looked for itself"
        assert same(bench, wish()) == (reason is None)
        again, _ = gate.judge(wish(), 0, MONO_NS)
        assert again == verdict


# Orders of triggers


def trigger(gate: Gate, counts: bool = True, **words: Any) -> Reason | None:
    found = gate.judge_trigger(wish(**words), counts, MONO_NS)
    return found.reason if found else None


def test_an_order_of_a_trigger_may_lie_far_from_the_price() -> None:
    bench = Bench(limits=WIDE)
    assert bench.ask(px=FAR) is not None
    assert trigger(bench.stage.gate, px=FAR) is None


def test_its_size_is_judged_at_its_own_price_as_well() -> None:
    value = 10 * PX * 1.5 / 100
    for limit in (
        "max_order_value",
        "max_position_size",
        "max_exposure",
        "max_gross_notional",
        "period_value",
    ):
        bench = Bench(limits=WIDE | {"max_gross_notional": 1e9, "period_value": 1e9} | {limit: value})
        assert trigger(bench.stage.gate, px=PX) is None, "at the last price it fits"
        bench = Bench(limits=WIDE | {"max_gross_notional": 1e9, "period_value": 1e9} | {limit: value})
        assert trigger(bench.stage.gate, px=FAR) is not None, limit
        assert same(bench, wish()) == 0, "what is refused counts in nothing"


def test_an_exit_of_a_trigger_is_never_too_large() -> None:
    bench = Bench(**HELD, limits={"max_order_value": 1.0, "max_position_size": 1.0})
    assert trigger(bench.stage.gate, side=Side.SELL, px=FAR) is None


@pytest.mark.parametrize(
    ("held", "qty", "beside", "passes"),
    [(1, 1, 0, True), (1, 2, 0, False), (1, 1, 1, False), (10, 7, 3, True), (10, 7, 4, False)],
)
def test_an_exit_is_one_together_with_what_other_triggers_may_place(
    held: int, qty: int, beside: int, passes: bool
) -> None:
    bench = Bench(held=((1, SHARE, Product.MIS, held),), states={"reducing": "a loss"})
    others = (beside,) if beside else ()
    verdict = bench.stage.gate.judge_trigger(wish(side=Side.SELL, qty=qty), False, MONO_NS, *others)
    assert (verdict.reason if verdict else None) is (None if passes else Reason.REDUCING)


def test_what_passes_counts_where_it_is_to_and_exits_in_nothing() -> None:
    bench = Bench(limits=WIDE)
    gate = bench.stage.gate
    assert trigger(gate, False) is None and same(bench, wish()) == 0 == gate.tally.gross_paise
    assert trigger(gate, True, px=FAR) is None
    assert same(bench, wish()) == 1 and gate.tally.gross_paise == 10 * FAR
    bench = Bench(**HELD)
    assert trigger(bench.stage.gate, True, side=Side.SELL) is None
    assert bench.stage.gate.tally.gross_paise == 0 == same(bench, wish(side=Side.SELL))


def test_an_exit_that_counts_and_passes_without_knowledge_is_told() -> None:
    for counts, side, told in ((True, Side.SELL, True), (False, Side.SELL, False), (True, Side.BUY, False)):
        bench = Bench(**HELD, states={"stale": (SHARE,)})
        assert (trigger(bench.stage.gate, counts, side=side) is None) is (side == Side.SELL)
        assert ("EXIT_UNSURE" in bench.alerts) is told, (counts, side)


def test_a_strategy_whose_triggers_repeat_themselves_is_held() -> None:
    bench = Bench(limits={"repeats_max": 1})
    gate = bench.stage.gate
    assert trigger(gate) is None and not bench.stage.states.holds
    assert trigger(gate, False) is Reason.REPEATED and set(bench.stage.states.holds) == {1}
    bench = Bench()
    assert trigger(bench.stage.gate, qty=0) is Reason.BAD_INTENT and not bench.stage.states.holds


def test_of_an_unknown_instrument_nothing_is_placed() -> None:
    assert trigger(Bench().stage.gate, slot=UNKNOWN) is Reason.UNKNOWN_INSTRUMENT


def test_without_a_price_an_exit_is_judged_at_its_own() -> None:
    words: dict[str, Any] = {"price": {SHARE: None}, "band": {SHARE: (PX - 100, PX + 100, 0.0)}}
    bench = Bench(**HELD, **words)
    assert trigger(bench.stage.gate, side=Side.SELL, px=PX) is None
    assert trigger(bench.stage.gate, side=Side.SELL, px=FAR) is Reason.CIRCUIT
    assert trigger(bench.stage.gate, px=PX) is Reason.NO_REFERENCE_PRICE


@pytest.mark.parametrize(
    ("tick_px", "ref_px", "reason"),
    [(0, PX, Reason.NOT_TRADABLE), (1, PX, None), (1, 1, None), (5, 3, None), (5, PX, None)],
)
def test_the_last_price_is_brought_to_the_grid(tick_px: int, ref_px: int, reason: Reason | None) -> None:
    """At 3, on a grid of 5, the nearest price is 5: 67 % off, and 10 would be 233 % off."""
    bench = Bench(price={SHARE: (ref_px, 0.0)}, limits=WIDE | {"price_collar_percent": 70.0})
    gate = bench.stage.gate
    gate._rows = (replace(gate._rows[0], tick_px=tick_px), *gate._rows[1:])
    assert trigger(gate, px=FAR) is reason


# Whose orders count as repetition


def test_what_we_place_for_a_strategy_is_no_repetition_of_its_own() -> None:
    for seq, own in ((ENGINE_SEQ - 1, 1), (ENGINE_SEQ, 0), (ENGINE_SEQ + 1, 0)):
        bench = Bench(limits=WIDE)
        found = wish()._replace(strategy_seq=seq)
        assert bench.stage.gate.judge_trigger(found, True, MONO_NS) is None
        assert same(bench, found) == own and bench.stage.gate.tally.gross_paise == 10 * PX


def test_nor_is_it_after_a_restart() -> None:
    for own in (1, 0):
        bench = Bench()
        stage = bench.stage
        opened = Opened(bench.clock.real_ns(), 1, SHARE, Side.BUY, 10, PX + 50, placed=bool(own))
        stage.gate.restore(Recovered(openings=[opened]), MONO_NS)
        assert same(bench, wish()) == own and stage.gate.tally.gross_paise == 10 * (PX + 50)
