"""The express way does what the parts do: two stages live through the same, and nothing in them differs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from express_twins import Direct, Shared, Watched, different, watch, without
from hypothesis import given, settings
from hypothesis import strategies as st
from orders_world import PX, S, World, error, filled, limits

from kite_hft.layout import IntentFlag, IntentKind, OrderType, Product, Side, Validity
from kite_hft.memory.segment import make_directory
from kite_hft.trading.broker import RateWindow, TransportError
from kite_hft.trading.gate.checks import RiskLimits
from kite_hft.trading.ports import OrdersConfig

EXIT = {"flags": IntentFlag.EXIT}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "slot": st.sampled_from([1, 2, 3, 4, 9]),
    "strategy": st.sampled_from([2, 3]),
    "side": st.sampled_from([Side.SELL, Side.SELL, 0]),
    "order_type": st.sampled_from([*OrderType, 0]),
    "product": st.sampled_from([*Product]),
    "validity": st.sampled_from([*Validity]),
    "flags": st.sampled_from([IntentFlag.EXIT, 2]),
    "qty": st.sampled_from([0, 1, 10, 20, 75, 1875]),
    "px": st.sampled_from([0, PX + 5, PX - 5, PX + 3, 2 * PX]),
    "trigger_px": st.sampled_from([PX, PX + 5, PX - 5]),
    "group": st.just(7),
    "deadline_ns": st.sampled_from([1, 1_000 * S, 1_100 * S]),
    "kind": st.sampled_from([IntentKind.MODIFY, IntentKind.CANCEL, IntentKind.PROBE, IntentKind.EXITS]),
    "target_seq": st.integers(1, 6),
    "tick_recv_ns": st.just(5),
}
WISH = st.dictionaries(st.sampled_from(sorted(FIELDS)), st.none(), max_size=2).flatmap(
    lambda chosen: st.fixed_dictionaries({name: FIELDS[name] for name in chosen})
)
USUAL = st.one_of(
    st.tuples(st.just("send"), st.just({})),
    st.tuples(st.just("send"), st.sampled_from([{"slot": 1}, {"strategy": 2}, {"slot": 3, "qty": 75}])),
    st.tuples(st.just("send"), st.sampled_from([{"order_type": OrderType.SL, "trigger_px": PX - 5}])),
    st.tuples(st.just("later"), st.just({})),
    st.tuples(st.just("close"), st.sampled_from([5, 10, 20])),
    st.tuples(st.just("fill"), st.sampled_from([5, 10])),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 1.1])),
)
ODD = st.one_of(
    st.tuples(st.just("send"), WISH),
    st.tuples(st.just("exits"), st.sampled_from([PX - 50, 0])),
    st.tuples(st.just("together"), st.lists(WISH, min_size=2, max_size=3)),
    st.tuples(st.just("again"), st.integers(0, 3)),
    st.tuples(st.just("pass"), st.sampled_from([0.001, 0.1, 1.1, 11.0])),
    st.tuples(st.just("fill"), st.sampled_from([1, 5, 10])),
    st.tuples(st.just("old price"), st.just(None)),
    st.tuples(st.just("halt"), st.just(None)),
    st.tuples(st.just("resume"), st.just(None)),
    st.tuples(st.just("kill"), st.booleans()),
    st.tuples(st.just("journal"), st.booleans()),
    st.tuples(st.just("answers"), st.sampled_from(["good", "refused", "429", "lost", "unsent", "token"])),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("text"), st.just(None)),
    st.tuples(st.just("deaf"), st.booleans()),
    st.tuples(st.just("stop"), st.sampled_from(["keep", "cancel"])),
)
ACT = st.one_of(USUAL, USUAL, USUAL, ODD)
ANSWERS: dict[str, Any] = {
    "refused": lambda request: error(400, "OrderException", "no"),
    "429": lambda request: error(429, "NetworkException", "Too many requests"),
    "lost": lambda request: TransportError("timed out", sent=True),
    "unsent": lambda request: TransportError("no connection", sent=False),
    "token": lambda request: error(403, "TokenException", "expired"),
}


class Day:
    """One of the two; what it is told, both are told."""

    def __init__(self, world: World) -> None:
        self.world, self.seq = world, 0

    def wish(self, more: dict[str, Any]) -> None:
        self.seq += 1
        self.world.wish(self.seq, **more)

    def act(self, what: str, how: Any) -> None:
        world = self.world
        if what in ("send", "later"):
            world.clock.advance(S + S // 4 if what == "later" else 0)
            world.quote()
            self.wish(how)
        elif what == "close":
            world.quote()
            self.wish({"side": Side.SELL, "qty": how} | EXIT)
        elif what == "exits":
            self.wish({"kind": IntentKind.EXITS, "trigger_px": how, "px": 0, "qty": 0})
        elif what == "together":
            world.quote()
            for more in how:
                self.wish(more)
        elif what == "again":
            world.wish(max(1, self.seq - how))
        elif what == "pass":
            world.clock.advance(round(how * S))
            world.quote()
        elif what == "fill" and world.broker.rows:
            row = world.row()
            if row["status"] == "OPEN" and row["filled_quantity"] + how <= row["quantity"]:
                filled(world, row["filled_quantity"] + how)
        elif what == "old price":
            world.clock.advance(3 * S)
        elif what == "halt":
            world.do("halt", reason="by hand")
        elif what == "resume":
            world.do("resume", by="somebody")
        elif what == "kill":
            world.more["why"] = "latched" if how else ""
        elif what == "journal":
            world.journal.fail = how
        elif what == "answers":
            world.broker.on_call = ANSWERS.get(how)
        elif what == "hold":
            world.broker.hold = how
        elif what == "text" and world.broker.rows:
            world.update(world.row())
        elif what == "deaf":
            world.events.room = 0 if how else 10**9
        elif what == "stop":
            world.stage.begin_stop(world.clock.mono, how)
        world.step(5)


def config(tight: bool, many: bool) -> OrdersConfig:
    windows = (RateWindow(3, 1.0, 1), RateWindow(20, 60.0, 2)) if many else (RateWindow(40, 1.0, 2),)
    rules = replace(limits(), order_windows=windows, all_windows=(), orders_per_day=25 if many else 3000)
    risk = RiskLimits(
        max_position_size=3_000.0 if tight else 1e7, period_orders=6 if tight else 10**6,
        repeats_max=3 if tight else 10**6,
    )  # fmt: skip
    return OrdersConfig(rules, risk)


@contextmanager
def twins(tight: bool, many: bool, direct: bool) -> Iterator[list[Day]]:
    made, shared = [], []
    with tempfile.TemporaryDirectory() as parent:
        for number in range(2):
            told: dict[str, Any] = {"why": ""}
            more = {"killed": lambda told=told: told["why"]}
            words: dict[str, Any] = {"config": config(tight, many), "more": more, "broker": Watched()}
            if direct:
                shared.append(Shared(make_directory(Path(parent), f"of-{number}")))
                world: World = Direct(shared[-1], **words)
            else:
                world = World(**words)
            world.more = told
            made.append(Day(watch(world if number == 0 else without(world)).start()))
        try:
            yield made
        finally:
            for day_ in made:
                del day_.world.stage, day_.world.broker.stage  # type: ignore[attr-defined]
                day_.world.intents = day_.world.texts = None  # type: ignore[assignment]
                vars(day_.world).pop("_wishes", None)
                vars(day_.world).pop("_words", None)
            for held in shared:
                held.close()


@settings(deadline=None, max_examples=100)
@given(st.booleans(), st.booleans(), st.booleans(), st.lists(ACT, min_size=4, max_size=16))
def test_nothing_differs(tight: bool, many: bool, direct: bool, acts: list[tuple[str, Any]]) -> None:
    with twins(tight, many, direct) as (one, other):
        express = one.world.stage.express
        assert express is not None and other.world.stage.express is None
        for what, how in acts:
            one.act(what, how)
            other.act(what, how)
            assert not (words := different(one.world, other.world)), f"{what} {how}: {words}"


@pytest.mark.parametrize("direct", [False, True])
def test_and_the_express_way_is_taken(direct: bool) -> None:
    acts: list[tuple[str, Any]] = [("send", {}), ("later", {}), ("fill", 10), ("send", {"slot": 1})]
    acts += [("close", 5), ("send", {"order_type": OrderType.SL, "trigger_px": PX - 5, "slot": 1})]
    with twins(False, False, direct) as (one, other):
        express = one.world.stage.express
        assert express is not None
        for what, how in acts:
            before = express.last
            one.act(what, how)
            other.act(what, how)
            assert not different(one.world, other.world)
            assert (express.last is not before) == (what != "fill"), (what, how)


def last_moment(world: World, what: str) -> None:
    """The second count says no, or the latch is set between two looks of the same step."""
    if what == "gate":
        for _most, _span, times in world.stage.desk.egress.gate._both:
            times.extend([world.clock.mono] * 1000)
    else:
        world.more["looks"] = iter(["", "latched"])


@pytest.mark.parametrize("what", ["kill", "gate"])
def test_what_is_stopped_at_the_last_moment_gives_back_what_it_took(what: str) -> None:
    """When the gate has let the placement pass already."""
    days = []
    for number in range(2):
        told: dict[str, Any] = {"looks": iter(())}
        latch = {"killed": lambda told=told: next(told["looks"], "")}
        world = World(config=config(False, False), more=latch)
        world.more = told
        days.append(Day((world if number == 0 else without(world)).start()))
    for day in days:
        day.world.quote()
        last_moment(day.world, what)
        day.wish({})
        day.world.step(1)
    one, other = (day.world for day in days)
    assert one.reason(1) == {"kill": "KILLED", "gate": "HALTED"}[what]
    assert not (words := different(one, other)), words
    throttle = one.stage.desk.throttle
    assert throttle.placed_today == 0 and throttle.budget.urgent_free_ns < one.clock.mono
    assert not one.broker.calls("POST")
