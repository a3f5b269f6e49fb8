"""The gate in its stage: what it remembers, journals, gets back from the journal, and tells people."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orders_world import PX, S, World, filled, intent, limits, ok

from kite_hft.layout import IntentKind, OrderStatus, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import HttpRequest, HttpResponse
from kite_hft.trading.gate.facts import Facts
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.intents import ENGINE_SEQ
from kite_hft.trading.lifecycle import WORKING
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.recovery.opened import Opened
from kite_hft.trading.recovery.recovered import Recovered


def world(**risk: Any) -> World:
    return World(config=OrdersConfig(limits(), RiskLimits(**risk))).start()


def again(old: World, **more: Any) -> World:
    """The process of `old` died and was started again a second later."""
    old.clock.advance(S)
    return World(
        broker=old.broker, clock=old.clock, history=list(old.journal.records), config=old.config,
        more={"restarted": True} | more,
    ).start()  # fmt: skip


def guards_of(found: World) -> list[dict[str, Any]]:
    return [record.data() for record in found.journal.records if record.kind is Kind.GUARD]


def lose(found: World, seq: int) -> None:
    """Buy at 100, sell at 99."""
    found.send(seq, qty=10)
    filled(found, 10)
    found.send(seq + 1, side=Side.SELL, qty=10, px=PX - 100)
    filled(found, 10, px=PX - 100)
    found.run(0.3)


def test_a_strategy_that_repeats_itself_is_held_until_a_person_lets_it_go_on() -> None:
    found = world(repeats_max=2)
    for seq in (1, 2):
        found.send(seq)
        found.run(0.5)
    found.send(3)
    assert found.reason(3) == "REPEATED" and "STRATEGY_HELD" in found.codes()
    found.send(4, qty=11)
    assert found.reason(4) == "REDUCING", "whatever else it wishes"
    found.send(5, strategy=2, px=PX - 5)
    assert found.order(5, 2).status in WORKING
    later = again(found)
    later.send(6, qty=11)
    assert later.reason(6) == "REDUCING", "over a restart, too"
    later.do("resume", strategy=1)
    later.run(0.5)
    later.send(7)
    assert later.status(7) in WORKING, "it begins to count anew"


def test_orders_of_a_period_and_of_the_day_come_back_with_the_journal() -> None:
    found = world(period_orders=2, max_gross_notional=5000.0)
    found.send(1)
    found.send(2)
    assert found.stage.gate.tally.gross_paise == 200_000
    later = again(found)
    assert later.stage.gate.tally.gross_paise == 200_000
    assert later.stage.outbox.totals["gross_notional_paise"] == 200_000
    later.send(3)
    assert later.reason(3) == "PERIOD_LIMIT"
    later.run(61)
    later.send(4)
    assert later.status(4) in WORKING, "the period is over, the day is not"
    later.run(61)
    later.send(5, qty=21)
    assert later.reason(5) == "CAPITAL"


def test_what_a_modification_adds_counts() -> None:
    found = world(period_quantity=25)
    found.send(1)
    found.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    assert found.stage.gate.tally.of_strategy(1, found.clock.mono).quantity == 20
    found.send(3, qty=6)
    assert found.reason(3) == "PERIOD_LIMIT"
    found.send(4, qty=5)
    assert found.status(4) in WORKING


def test_exits_count_in_nothing() -> None:
    found = world()
    found.send(1)
    filled(found, 10)
    found.send(2, side=Side.SELL)
    assert found.stage.gate.tally.gross_paise == 100_000
    assert found.stage.gate.tally.of_strategy(1, found.clock.mono).orders == 1


def test_a_loss_is_journalled_and_cools_the_strategy_down_over_a_restart() -> None:
    found = world(cooldown_s=60.0)
    lose(found, 1)
    (row,) = guards_of(found)
    assert (row["guard"], row["strategy"], row["slot"], row["paise"]) == ("closed", 1, 0, -1000)
    found.send(3)
    assert found.reason(3) == "COOLDOWN"
    later = again(found)
    later.send(4)
    assert later.reason(4) == "COOLDOWN" and guards_of(later) == [], "not told a second time"
    later.run(60)
    later.send(5)
    assert later.status(5) in WORKING


def test_too_many_losses_pause_everything() -> None:
    found = world(stop_losses_max=2, stop_pause_s=30.0)
    lose(found, 1)
    assert "GUARD_TRIPPED" not in found.codes() and found.stage.outbox.totals["guards_tripped"] == 0
    found.send(3)
    assert found.status(3) in WORKING
    found.send(4, kind=IntentKind.CANCEL, target_seq=3)
    found.run(0.5)
    lose(found, 5)
    assert "GUARD_TRIPPED" in found.codes() and found.stage.outbox.totals["guards_tripped"] == 1
    found.send(7, strategy=2, slot=1)
    assert found.reason(7) == "STOP_GUARD"
    later = again(found)
    later.send(8, slot=1)
    assert later.reason(8) == "STOP_GUARD"
    later.do("resume")
    later.send(9, slot=1)
    assert later.status(9) in WORKING, "a person lets it go on"
    assert guards_of(later)[-1]["guard"] == "let_go"


def test_a_drawdown_stops_openings_until_a_person_agrees() -> None:
    found = world(max_drawdown=10.0)
    lose(found, 1)
    assert "GUARD_TRIPPED" in found.codes()
    found.send(3)
    assert found.reason(3) == "DRAWDOWN"
    later = again(found)
    later.send(4)
    assert later.reason(4) == "DRAWDOWN"
    later.do("resume")
    later.send(5)
    assert later.status(5) in WORKING


def test_the_latch_of_a_drawdown_needs_no_second_trip() -> None:
    found = world(max_drawdown=10.0)
    lose(found, 1)
    found.run(5)
    assert [row["guard"] for row in guards_of(found)].count("drawdown") == 1


def test_an_exit_that_passes_on_poor_data_is_told() -> None:
    found = world()
    found.send(1)
    filled(found, 10)
    found.stale_slots.add(0)
    found.send(2, side=Side.SELL, qty=5)
    assert found.status(2) in WORKING and "EXIT_UNSURE" in found.codes()
    text = next(text for text in found.alerts if text.startswith("EXIT_UNSURE"))
    assert "NSE:SHARE0" in text and "no tick since" in text


def test_an_entry_that_is_made_smaller_is_not() -> None:
    world = World().start()
    world.send(1)
    world.clock.advance(10 * S)
    world.wish(2, kind=IntentKind.MODIFY, target_seq=1, qty=5, px=0)
    world.step(2)
    assert world.order(1).quantity == 5 and "EXIT_UNSURE" not in world.codes()


def test_an_exit_on_good_data_and_a_cancel_are_not() -> None:
    found = world()
    found.send(1)
    filled(found, 10)
    found.send(2, side=Side.SELL, qty=5, px=PX + 5)
    found.stale_slots.add(0)
    found.send(3, kind=IntentKind.CANCEL, target_seq=2)
    assert found.status(2) is OrderStatus.CANCELLED or found.stage.desk.cancelling
    assert "EXIT_UNSURE" not in found.codes()


def test_what_the_market_takes_is_asked_again_when_an_intent_had_to_wait() -> None:
    band = {0: (PX - 500, PX + 500, 0)}
    facts = Facts(band=lambda slot: band.get(slot, (0, 0, -1)))
    found = World(config=OrdersConfig(limits(), entry_wait_s=5.0), more={"facts": facts}).start()
    found.quote()
    for seq in range(1, 11):
        found.wish(seq, qty=1)
    found.step()
    assert found.status(10) is OrderStatus.NEW, "no more calls in this second"
    band.clear()
    found.run(1.5)
    assert found.reason(10) == "CIRCUIT"


def test_the_account_has_too_little_left() -> None:
    found = world(min_funds=1000.51)
    found.send(1)
    assert found.reason(1) == "CAPITAL"
    enough = World(config=replace(found.config, risk=RiskLimits(min_funds=1000.5))).start()
    enough.send(1)
    assert enough.status(1) in WORKING


def test_funds_are_those_of_the_segment_that_pays() -> None:
    """Shares are not held up by an empty commodity segment, whichever way the gate takes."""

    def read(request: HttpRequest) -> HttpResponse:
        if request.path == "/user/margins":
            return ok({"equity": {"net": 1000.5}, "commodity": {"enabled": True, "net": 0}})
        return found.broker.read(request)

    found = world(min_funds=1000.5)
    found.broker.on_read = read
    found.run(40.0)
    assert found.stage.reader.funds is not None and found.stage.reader.funds.free_paise("MCX") == 0
    found.send(1)
    assert found.status(1) in WORKING


def test_neither_modifications_nor_what_the_engine_does_itself_are_repetitions() -> None:
    found = world()
    gate, now_ns = found.stage.gate, found.clock.mono
    found.quote()
    found.send(1)
    found.send(2, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=0)
    found.send(3, kind=IntentKind.MODIFY, target_seq=1, qty=20, px=PX - 5, side=Side.BUY)
    assert (
        gate.tally.same(1, 0, Side.BUY, 10, now_ns) == 1 and gate.tally.same(1, 0, Side.BUY, 20, now_ns) == 0
    )
    for number, times in ((ENGINE_SEQ - 1, 1), (ENGINE_SEQ, 1), (ENGINE_SEQ + 1, 1)):
        verdict, _ = gate.judge(intent(1)._replace(strategy_seq=number, qty=7), 0, now_ns)
        assert verdict is None and gate.tally.same(1, 0, Side.BUY, 7, now_ns) == times


def test_what_comes_back_from_the_journal_is_told_apart_as_well() -> None:
    found = world()
    gate, now_ns, real_ns = found.stage.gate, found.clock.mono, found.clock.real
    older = Opened(real_ns - 70 * S, 1, 0, Side.BUY, 7, PX, placed=False)
    own = Opened(real_ns - S, 1, 0, Side.BUY, 7, PX + 5, placed=True)
    gate.restore(Recovered(openings=[older, own]), now_ns)
    assert gate.tally.same(1, 0, Side.BUY, 7, now_ns) == 1
    assert gate.tally.gross_paise == 7 * (PX + 5) + 7 * PX
    assert gate.tally.of_slot(0, now_ns).orders == 1, "the other one is older than the period"


def test_a_price_that_came_after_this_step_began_is_fresh() -> None:
    found = world()
    found.latest.put(0, PX, found.clock.mono + 5)
    context = found.stage.gate.context(intent(1), 0, found.clock.mono)
    assert (context.ref_px, context.age_ns) == (PX, 0)
    context = found.stage.gate.context(intent(1, slot=99), 0, found.clock.mono)
    assert (context.instrument, context.ref_px, context.age_ns) == (None, 0, -1)


def test_a_position_that_is_closed_in_parts_over_a_restart_is_judged_as_a_whole() -> None:
    found = world(cooldown_s=60.0)
    found.send(1, qty=10)
    filled(found, 10)
    found.send(2, side=Side.SELL, qty=8, px=PX - 100)
    filled(found, 8, px=PX - 100)
    found.run(0.3)
    later = again(found)
    later.send(3, side=Side.SELL, qty=2, px=PX + 5)
    filled(later, 2, px=PX + 5)
    later.run(0.3)
    (row,) = guards_of(later)
    assert row["paise"] == -790
    later.send(4)
    assert later.reason(4) == "COOLDOWN"


def test_a_loss_whose_record_a_crash_took_is_told_by_the_next_process() -> None:
    found = world(cooldown_s=60.0)
    lose(found, 1)
    lost = [record for record in found.journal.records if record.kind is not Kind.GUARD]
    found.journal.records[:] = lost
    later = again(found)
    later.run(0.3)
    assert [row["paise"] for row in guards_of(later)] == [-1000]
    later.send(3)
    assert later.reason(3) == "COOLDOWN"
    later.journal.records[:0] = lost
    assert guards_of(again(later)) == [], "once"


def test_the_best_of_the_day_is_known_after_a_restart() -> None:
    found = world(max_drawdown=40.0)
    found.send(1, qty=10)
    filled(found, 10)
    for px in (PX + 30, PX + 1000, PX + 1039):
        found.quote(px)
        found.clock.advance(S)
        found.step(2)
    assert guards_of(found) == [{"guard": "peak", "peak_paise": 10_000}], "by tenths of the limit"
    later = again(found)
    later.quote(PX + 600)
    later.run(0.3, fresh=False)
    assert later.stage.gate.guards.drawdown
