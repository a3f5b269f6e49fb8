"""Runs on Upstox, and on two brokers: connections, rooms of keys, and the socket of the order updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.plan.plan import Plan, PlanError, Room, make_plan, updates_apart
from kite_hft.engine.plan.rooms import refuse_excess, rooms_of, slot_modes
from kite_hft.engine.plan.session import Access, Session
from kite_hft.layout import SegmentKind
from kite_hft.settings import Settings, SettingsError
from kite_hft.trading.instruments import Instrument, InstrumentTable

RULES = Path(__file__).parents[4] / "config"
LIVE = Access("upstox", "https://api.upstox.com", "https://api.upstox.com", "k", "t")
KITE = Access("kite", "wss://ws.kite.trade", "https://api.kite.trade", "k", "t")


def settings(**sections: Any) -> Settings:
    made = Settings.model_validate(sections)
    trading = {key: RULES / getattr(made.trading, key) for key in ("rules", "charges")}
    return made.model_copy(update={"trading": made.trading.model_copy(update=trading)})


def table(n: int) -> InstrumentTable:
    return InstrumentTable(
        tuple(
            Instrument(
                i, (i + 1) * 256 + 1, i + 1, f"S{i}", "NSE", "NSE", "EQ", 5, 1, upstox_key=f"NSE_EQ|{i}"
            )
            for i in range(n)
        )
    )


def planned(chosen: Settings, n: int) -> Plan:
    """As the engine plans it."""
    accesses = {"kite": KITE, "upstox": LIVE}
    data = tuple(accesses[broker] for broker in chosen.data_brokers)
    instruments = table(n)
    first, *more = rooms_of(chosen, Session(chosen.mode, accesses[chosen.broker], data), instruments)
    plan = make_plan(
        chosen, n, [None] * len(chosen.strategies), 2, first.per_connection, first.connections,
        instruments_max=first.instruments, second=more[0] if more else None,
    )  # fmt: skip
    refuse_excess(chosen, instruments, plan)
    return plan


def sizes(plan: Plan) -> list[tuple[str, int]]:
    return [(c.broker, len(c.slots)) for c in plan.connections]


def test_upstox_carries_its_keys_a_user_on_as_few_connections_as_will_do() -> None:
    assert sizes(planned(settings(broker="upstox"), 2000)) == [("upstox", 2000)]
    two = settings(broker="upstox", datafeed={"connections": 2})
    assert sizes(planned(two, 2000)) == [("upstox", 1000), ("upstox", 1000)]
    assert sizes(planned(settings(broker="upstox", datafeed={"mode": "ltp"}), 5000)) == [("upstox", 5000)]


@pytest.mark.parametrize(
    ("n", "sections", "said"),
    [
        (2001, {}, "2,001 keys in mode full"),
        (5001, {"datafeed": {"mode": "ltpc"}}, "5,001 keys in mode ltpc"),
        (1502, {"datafeed": {"modes": {"NSE:S0": "ltpc"}}}, "1,501 keys in mode full beside ltpc"),
        (10, {"datafeed": {"connections": 3}}, "allows 2"),
        (51, {"upstox": {"plus": True}, "datafeed": {"mode": "full_d30"}}, "51 keys in mode full_d30"),
    ],
)
def test_what_upstox_would_answer_with_silence_is_refused_before_anything_connects(
    n: int, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(PlanError, match=said):
        planned(settings(broker="upstox", **sections), n)


def test_mixed_modes_have_smaller_limits_and_what_is_off_has_none() -> None:
    modes = {"NSE:S0": "ltpc", **{f"NSE:S{i}": "off" for i in range(1, 101)}}
    chosen = settings(broker="upstox", datafeed={"modes": modes})
    assert sizes(planned(chosen, 1601)) == [("upstox", 1601)]  # 1 ltpc, 1,500 full
    found = slot_modes(chosen, table(1601), "upstox")
    assert len(found) == 1501 and found[0] == "ltpc" and 1 not in found


def test_shares_futures_and_options_start_in_the_mode_of_their_kind() -> None:
    rows = InstrumentTable(
        tuple(
            Instrument(i, (i + 1) * 256 + (9 if i == 4 else 1), i + 1, f"S{i}", "NSE", "NSE", kind, 5, 1)
            for i, kind in enumerate(("EQ", "FUT", "CE", "PE", "EQ", "EQ"))
        )
    )
    feed = {"mode": "full", "equity_mode": "ltp", "options_mode": "quote", "modes": {"NSE:S5": "off"}}
    found = slot_modes(settings(datafeed=feed), rows, "kite")
    assert found == {0: "ltp", 1: "full", 2: "quote", 3: "quote", 4: "full"}  # 4 is an index


def test_where_keys_are_counted_by_connection_two_carry_twice_as_many() -> None:
    chosen = settings(broker="upstox", upstox={"keys_counted": "connection"})
    assert sizes(planned(chosen, 4000)) == [("upstox", 2000), ("upstox", 2000)]
    with pytest.raises(PlanError, match="carry 4,000"):
        planned(chosen, 4001)


def test_upstox_plus_has_more_connections() -> None:
    chosen = settings(broker="upstox", upstox={"plus": True}, datafeed={"connections": 5})
    assert len(planned(chosen, 100).connections) == 5


def test_prices_from_one_broker_and_orders_to_the_other() -> None:
    plan = planned(settings(broker="kite", data_broker="upstox"), 100)
    assert sizes(plan) == [("upstox", 100)] and plan.updates is not None
    assert (plan.updates.number, plan.updates.slots, plan.updates.broker) == (1, (), "kite")
    other = planned(settings(broker="upstox", data_broker="kite"), 9000)
    assert [broker for broker, _ in sizes(other)] == ["kite"] * 3
    assert other.updates is not None and other.updates.broker == "upstox" and other.texts == (0, 1, 2, 3)


def test_both_data_brokers_carry_everything_and_one_worker_sees_both() -> None:
    chosen = settings(
        broker="kite", data_broker="both", strategies=[{"name": "s", "copies": "per_connection"}]
    )
    plan = planned(chosen, 100)
    assert sizes(plan) == [("kite", 100), ("upstox", 100)]
    assert [worker.connections for worker in plan.workers] == [(0, 1)]
    assert [s[0] for s in plan.workers[0].strategies] == [1]  # not once more for the second feed
    assert plan.updates is None  # Kite's own feed brings the order updates
    wide = planned(settings(broker="upstox", data_broker="both", datafeed={"connections": 2}), 2000)
    assert [broker for broker, _ in sizes(wide)] == ["upstox", "upstox", "kite", "kite"]
    for worker in wide.workers:  # whoever carries a slot belongs to one worker
        slots = [set(wide.connections[n].slots) for n in worker.connections]
        others = [set(c.slots) for c in wide.connections if c.number not in worker.connections]
        assert not any(a & b for a in slots for b in others)


def test_both_have_to_have_room() -> None:
    with pytest.raises(PlanError, match="keys in mode full"):
        planned(settings(broker="kite", data_broker="both"), 2500)


@pytest.mark.parametrize(
    ("sections", "apart"),
    [
        ({}, False),
        ({"broker": "upstox"}, True),
        ({"broker": "upstox", "data_broker": "both"}, True),
        ({"data_broker": "upstox"}, True),
        ({"data_broker": "both"}, False),
        ({"mode": "paper", "broker": "upstox"}, False),
        ({"mode": "paper", "broker": "upstox", "upstox": {"sandbox": True}}, False),
    ],
)
def test_when_order_updates_have_a_connection_of_their_own(sections: dict[str, Any], apart: bool) -> None:
    assert updates_apart(settings(**sections)) is apart


def test_the_updates_process_is_up_before_orders_and_down_behind_it() -> None:
    plan = planned(settings(broker="upstox"), 10)
    assert [p.name for p in plan.processes] == ["market-0", "orders", "updates"]
    assert plan.places["updates"].hot is False and plan.places["updates"].wait == "park"
    made = {s.name: s for s in plan.segments}
    assert made["texts-1"].kind is SegmentKind.TEXT_QUEUE and "ticks-1" not in made
    assert made["counters-feed-1"].kind is SegmentKind.COUNTERS
    assert made["updates-ring"].kind is SegmentKind.TICK_RING and made["updates-latest"].capacity == 1


def test_aux_has_a_ring_where_the_broker_sends_it() -> None:
    names = {s.name for s in planned(settings(broker="upstox", datafeed={"aux": True}), 10).segments}
    assert "aux-0" in names and "aux-1" not in names
    both = settings(broker="kite", data_broker="both", datafeed={"aux": ["greeks"]})
    assert {s.name for s in planned(both, 10).segments if s.kind is SegmentKind.AUX_RING} == {"aux-1"}
    assert not [s for s in planned(settings(broker="upstox"), 10).segments if s.kind is SegmentKind.AUX_RING]


def test_a_room_of_all_connections_together_binds_too() -> None:
    with pytest.raises(PlanError, match="20 a user"):
        make_plan(Settings(), 21, [], 2, 3000, 3, instruments_max=20)
    assert Room(1, 2).instruments is None


def test_limits_for_this_machine_alone_are_refused_elsewhere() -> None:
    chosen = settings(broker="upstox", data_broker="kite")
    own = chosen.trading.model_copy(update={"rules": RULES / "rules" / "loopback_limits.yaml"})
    chosen = chosen.model_copy(update={"trading": own, "data_broker": None})
    with pytest.raises(SettingsError, match="for servers on this machine"):
        planned(chosen, 10)
