"""The kill latch, held strategies and the loss limit of the day, in the order stage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from orders_world import PX, REAL0, S, World, error, filled, limits

from kite_hft.clock import ManualClock
from kite_hft.layout import IntentKind, OrderStatus, OrderType, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import TransportError
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold
from kite_hft.trading.lifecycle import TERMINAL, WORKING
from kite_hft.trading.ports import OrdersConfig
from kite_hft.trading.sending.outbox import C


@dataclass
class Latch:
    """The file, in memory."""

    reason: str = ""
    flatten: bool = False
    full_disk: bool = False
    kept: dict[int, Hold] = field(default_factory=dict)

    def kill(self, reason: str, flatten: bool) -> None:
        if not self.full_disk:
            self.reason, self.flatten = reason, flatten

    def unkill(self, by: str) -> None:
        self.reason, self.flatten = "", False

    def keep(self, holds: dict[int, Hold]) -> None:
        self.kept = dict(holds)

    def ports(self) -> dict[str, Any]:
        return {
            "killed": lambda: self.reason, "kill_flat": lambda: self.flatten, "killed_by": lambda: "a test",
            "kill": self.kill, "unkill": self.unkill, "keep_holds": self.keep,
        }  # fmt: skip


def killable(latch: Latch, **more: Any) -> World:
    return World(more=latch.ports() | more)


def again(world: World, latch: Latch, **more: Any) -> World:
    """The next process of the run: same broker, same journal."""
    clock = ManualClock(2_000 * S, REAL0 + 600 * S)
    return World(
        broker=world.broker, history=[*world.history, *world.journal.records], clock=clock,
        config=world.config, more=latch.ports() | {"restarted": True} | more,
    )  # fmt: skip


def gauge(world: World, name: str) -> int:
    return world.counters.values.get(C[name], 0)


def said(world: World, kind: Kind) -> list[dict[str, Any]]:
    return [record.data() for record in world.journal.records if record.kind is kind]


def test_a_kill_refuses_openings_cancels_entries_and_keeps_exits() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 50)
    world.send(3, px=PX - 20)
    placed = len(world.broker.calls("POST"))
    latch.reason = "a wild strategy"
    world.send(4)
    assert world.reason(4) == "KILLED" and len(world.broker.calls("POST")) == placed
    assert world.stage.desk.cancelling.keys() == {3}, "the entry, and only the entry"
    world.run(4.0)
    assert world.status(3) is OrderStatus.CANCELLED and world.status(2) in WORKING
    assert "KILLED : KILLED: a wild strategy" in world.alerts
    assert gauge(world, "state_killed") == 1 and gauge(world, "state_active") == 0
    (told,) = said(world, Kind.COMMAND)
    assert told == {"do": "kill", "reason": "a wild strategy", "by": "a test", "flatten": False}
    world.send(5, kind=IntentKind.CANCEL, target_seq=2)
    world.run(4.0)
    assert world.status(2) in TERMINAL, "cancels pass"
    world.send(6, side=Side.SELL)
    assert world.status(6) in WORKING, "what shrinks the position passes"


def test_between_the_judge_and_the_socket_the_latch_is_asked_again() -> None:
    latch = Latch()
    world = killable(latch).start()
    asked: list[int] = []

    def in_the_middle() -> str:
        asked.append(1)
        return "now" if len(asked) > 1 else ""  # the look of the step passes, that of the call does not

    world = World(more=latch.ports() | {"killed": lambda: in_the_middle() if armed else ""})
    armed = False
    world.start()
    armed = True
    world.quote()
    world.wish(1)
    world.step()
    assert not world.broker.calls("POST") and world.reason(1) == "KILLED"


def test_what_waits_in_the_throttle_is_dropped_and_what_is_unanswered_cancelled_later() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.broker.hold = True
    for seq in range(1, 13):
        world.wish(seq, px=PX - 5 * seq)
    world.quote()
    world.step(2)
    posted = len(world.broker.calls("POST"))
    assert posted == 8, "the others wait for the throttle"
    latch.reason = "stop"
    world.step(2)
    assert [world.reason(seq) for seq in range(9, 13)] == ["KILLED"] * 4
    assert not world.broker.calls("DELETE"), "none has a name yet"
    world.broker.hold = False
    world.run(4.0)
    assert len(world.broker.calls("POST")) == posted and len(world.broker.calls("DELETE")) == posted
    assert not world.stage.book.live_count()


def test_an_ambiguous_order_that_turns_up_after_the_kill_is_cancelled() -> None:
    latch = Latch()
    world = killable(latch).start()

    def swallow(request: Any) -> TransportError:
        world.broker.enter(request)
        return TransportError("time-out", sent=True)

    world.broker.on_call = swallow
    world.send(1, px=PX - 5)
    latch.reason = "stop"
    world.broker.on_call = None
    world.run(8.0)
    assert world.status(1) is OrderStatus.CANCELLED


def test_a_stop_whose_position_is_gone_is_priced_anew_by_nobody() -> None:
    """It is kept while an entry is still being cancelled: filled at its new price it would open."""
    latch = Latch()
    world = killable(latch).start()
    world.send(1, side=Side.SELL)
    filled(world, 10)
    world.send(2, qty=8, px=PX + 110, trigger_px=PX + 100, order_type=OrderType.SL)
    world.row()["status"] = "TRIGGER PENDING"
    world.update(world.row())
    world.send(3)
    filled(world, 10)
    world.send(4, side=Side.SELL, px=PX + 50, slot=0)
    assert world.quantity() == 0 and not world.order(2).opening and world.order(4).opening
    world.broker.on_call = lambda request: (
        None if request.method == "DELETE" else world.broker.accept(request)
    )
    latch.kill("enough", flatten=False)
    world.run(0.3)
    assert world.status(2) in WORKING, "the entry may fill before its cancel arrives"
    world.send(5, kind=IntentKind.MODIFY, target_seq=2, px=PX + 5, trigger_px=PX, qty=0, order_type=0)
    assert world.reason(5) == "KILLED" and not world.broker.calls("PUT")
    world.send(6, kind=IntentKind.MODIFY, target_seq=2, px=0, qty=4, order_type=0)
    assert len(world.broker.calls("PUT")) == 1, "less of it passes"


def test_a_kill_with_flatten_closes_everything_once() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL, px=PX + 50)
    latch.kill("enough", True)
    world.run(3.0)
    assert world.status(2) in TERMINAL, "exits too, or they would fill beside ours"
    market = [r for r in world.broker.calls("POST") if b"order_type=MARKET" in r.body]
    assert len(market) == 1
    filled(world, 10)
    world.run(20.0)
    assert world.quantity() == 0 and not world.stage.flattening
    assert len([r for r in world.broker.calls("POST") if b"order_type=MARKET" in r.body]) == 1


def test_a_flatten_that_is_refused_is_told_and_goes_on() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1)
    filled(world, 10)
    world.broker.on_call = lambda request: error(429, "NetworkException", "Too many requests")
    latch.kill("enough", True)
    world.run(20.0)
    assert world.stage.flattening
    assert any(text.startswith("NOT_FLAT") and "NSE:SHARE0 10" in text for text in world.alerts)
    world.broker.on_call = None
    world.run(60.0)
    filled(world, 10)
    world.run(5.0)
    assert world.quantity() == 0 and not world.stage.flattening


def test_a_flatten_that_lasts_is_told_though_nothing_is_refused() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1)
    filled(world, 10)
    latch.kill("enough", True)
    world.run(25.0)
    assert "NOT_FLAT" not in world.codes()
    world.run(10.0)
    assert "NOT_FLAT" in world.codes()


def test_a_resume_ends_the_closing_of_everything() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1)
    filled(world, 10)
    latch.kill("enough", True)
    world.run(2.0)
    (closing,) = world.stage.book.live()
    world.do("resume", by="me")
    world.run(8.0)
    keeper = world.stage.keeper
    assert not world.stage.flattening and closing.status is OrderStatus.CANCELLED
    assert not any(other.suspended for other in (keeper.plans, keeper.groups, keeper.square_off))
    world.send(2, kind=IntentKind.EXITS, trigger_px=PX - 100, px=0, qty=0, order_type=0, side=0, validity=0)
    world.send(3, slot=1)
    world.run(5.0)
    assert sorted(o.side for o in world.stage.book.live()) == [Side.BUY, Side.SELL]
    assert "ACCEPTED" in world.kinds(3) and "CANCELLED" not in world.kinds(3) and world.quantity() == 10


def test_the_latch_outlives_the_process_and_resume_ends_it() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1, px=PX - 10)
    latch.reason = "stop"
    world.run(0.1)
    fresh = again(world, latch)
    fresh.stage.start()
    fresh.run(3.0)
    assert fresh.stage.active and gauge(fresh, "state_killed") == 1 and gauge(fresh, "state_active") == 0
    assert fresh.status(1) is OrderStatus.CANCELLED
    fresh.send(2)
    assert fresh.reason(2) == "KILLED"
    fresh.do("resume", by="a person")
    fresh.run(0.2)
    assert latch.reason == "" and gauge(fresh, "state_killed") == 0
    assert said(fresh, Kind.COMMAND)[-1]["by"] == "a person"
    fresh.send(3)
    assert fresh.status(3) in WORKING


def test_a_held_strategy_opens_nothing_and_the_others_go_on() -> None:
    latch = Latch()
    world = killable(latch).start()
    world.send(1)
    filled(world, 10)
    assert world.stage.states.hold(1, "too many repeats", HALTED)
    assert not world.stage.states.hold(1, "something less", REDUCING), "the first reason stands"
    world.send(2)
    assert world.reason(2) == "HALTED" and gauge(world, "strategies_held") == 1
    world.send(3, side=Side.SELL)
    assert world.status(3) in WORKING
    world.wish(1, strategy=2, slot=1)
    world.step(2)
    assert world.order(1, strategy=2).status in WORKING
    assert latch.kept == {1: Hold(HALTED, "too many repeats")}
    assert gauge(world, "state_active") == 1, "the engine as a whole is not held"

    fresh = again(world, latch)
    fresh.stage.start()
    fresh.run(3.0)
    fresh.send(4)
    assert fresh.reason(4) == "HALTED", "replayed"
    other = World(more=latch.ports() | {"holds": latch.kept}).start()
    other.send(1)
    assert other.reason(1) == "HALTED", "kept over the end of a run"
    other.do("resume", strategy=2, by="x")
    other.send(2)
    assert other.reason(2) == "HALTED", "another strategy's"
    other.do("resume", strategy=1, by="x")
    other.send(3)
    assert other.status(3) in WORKING and latch.kept == {}


def test_a_strategy_is_held_while_its_intent_waits() -> None:
    world = World(config=OrdersConfig(limits(), entry_wait_s=3.0)).start()
    for seq in range(1, 12):
        world.wish(seq, px=PX - 5 * seq)
    world.quote()
    world.step(2)
    world.stage.states.hold(1, "storm", REDUCING)
    world.run(1.5)
    assert len(world.broker.calls("POST")) == 8 and world.reason(11) == "REDUCING"


def test_levels_and_strategies_that_do_not_exist() -> None:
    states = World().start().stage.states
    with pytest.raises(ValueError, match="cannot be held"):
        states.hold(1, "x", "paused")
    assert not states.resume(7, "x")


def loser(latch: Latch, action: str, limit_rupees: int = 100) -> World:
    """Ten shares that have lost 150 rupees when the price is 85."""
    config = replace(OrdersConfig(limits()), max_daily_loss_paise=limit_rupees * 100, on_daily_loss=action)
    world = World(config=config, more=latch.ports()).start()
    world.send(1)
    filled(world, 10)
    return world


@pytest.mark.parametrize(("action", "reason"), [("reduce", "REDUCING"), ("kill", "KILLED")])
def test_the_loss_limit_of_the_day_latches(action: str, reason: str) -> None:
    latch = Latch()
    world = loser(latch, action)
    world.quote(PX - 990)
    world.run(0.1, fresh=False)
    assert "DAILY_LOSS" not in world.codes(), "99 rupees are below the limit"
    world.clock.advance(S // 5)
    world.quote(PX - 1000)
    world.step()
    assert "DAILY_LOSS" in world.codes() and gauge(world, "guards_tripped") == 1
    world.step()
    world.wish(2, px=PX - 1000)
    world.step(2)
    assert world.reason(2) == reason
    (guard,) = said(world, Kind.GUARD)
    assert guard == {"guard": "daily_loss", "net_paise": -10_000, "limit_paise": 10_000, "action": action}
    world.do("resume", by="x")
    world.run(0.5, fresh=False)
    assert not world.stage.states.reducing and not latch.reason, "it takes as much once more"
    world.quote(PX - 2000)
    world.clock.advance(S // 5)
    world.step(2)
    assert world.stage.states.reducing or latch.reason


def test_what_was_let_pass_is_known_after_a_restart() -> None:
    latch = Latch()
    world = loser(latch, "reduce")
    world.quote(PX - 1500)
    world.clock.advance(S)
    world.step()
    world.do("resume", by="x")
    fresh = again(world, latch)
    fresh.stage.start()
    fresh.quote(PX - 1500)
    fresh.run(3.0, fresh=False)
    assert not fresh.stage.states.reducing and fresh.stage.active


def test_what_earlier_runs_of_the_day_lost_counts() -> None:
    config = OrdersConfig(limits(), max_daily_loss_paise=10_000)
    world = World(config=config, more={"day_net_paise": -9_999}).start()
    assert not world.stage.states.reducing
    world = World(config=config, more={"day_net_paise": -10_000})
    world.stage.start()
    world.run(1.0)
    assert "net loss of the day 100.00" in world.stage.states.reducing


def test_a_latch_that_cannot_be_written_halts() -> None:
    latch = Latch(full_disk=True)
    world = loser(latch, "kill")
    world.quote(PX - 1500)
    world.clock.advance(S)
    world.step()
    assert "net loss of the day" in world.stage.outbox.halted
