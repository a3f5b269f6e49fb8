"""Prices by HTTP in the plan: what is refused with numbers before anything connects, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kite_hft.engine.market.feeds import make_decoder
from kite_hft.engine.orders.settings import limits_of, orders_config
from kite_hft.engine.plan.plan import Plan, PlanError, make_plan, updates_apart
from kite_hft.engine.plan.rooms import answer_gap_s, polled_lines, refuse_excess, rooms_of
from kite_hft.engine.plan.session import Access, Session
from kite_hft.settings import Settings, SettingsError, load_yaml
from kite_hft.trading.instruments import Instrument, InstrumentTable

CONFIG = Path(__file__).parents[4] / "config"
KITE = Access("kite", "wss://ws.kite.trade", "https://api.kite.trade", "k", "t")
UPSTOX = Access("upstox", "https://api.upstox.com", "https://api.upstox.com", "k", "t")


def settings(stale_s: float = 2.0, **sections: Any) -> Settings:
    datafeed = {"primary_source": "http", **sections.pop("datafeed", {})}
    risk = {"stale_tick_s": stale_s}
    made = Settings.model_validate({"datafeed": datafeed, "risk": risk, **sections})
    trading = {key: CONFIG / getattr(made.trading, key) for key in ("rules", "charges")}
    return made.model_copy(update={"trading": made.trading.model_copy(update=trading)})


def table(n: int, keys: bool = True) -> InstrumentTable:
    return InstrumentTable(
        tuple(
            Instrument(
                i, (i + 1) * 256 + 1, i + 1, f"S{i}", "NSE", "NSE", "EQ", 5, 1,
                upstox_key=f"NSE_EQ|{i}" if keys else "",
            )
            for i in range(n)
        )
    )  # fmt: skip


def planned(chosen: Settings, n: int) -> Plan:
    accesses = {"kite": KITE, "upstox": UPSTOX}
    data, instruments = tuple(accesses[b] for b in chosen.data_brokers), table(n)
    first, *more = rooms_of(chosen, Session(chosen.mode, accesses[chosen.broker], data), instruments)
    plan = make_plan(
        chosen, n, [], 2, first.per_connection, first.connections, instruments_max=first.instruments,
        second=more[0] if more else None,
    )  # fmt: skip
    refuse_excess(chosen, instruments, plan)
    return plan


@pytest.mark.parametrize(
    ("n", "stale_s", "sections", "calls"),
    [
        (500, 3.0, {}, 1),
        (501, 4.25, {}, 2),
        (1000, 3.0, {"datafeed": {"mode": "ltp"}}, 1),
        (3500, 10.5, {}, 7),
        (500, 2.0, {"broker": "upstox"}, 1),
        (1000, 4.0, {"broker": "upstox"}, 2),
        (400, 3.0, {"broker": "kite", "data_broker": "both"}, 1),
    ],
)
def test_what_can_be_asked_about_in_time_is_planned_on_one_connection(
    n: int, stale_s: float, sections: dict[str, Any], calls: int
) -> None:
    chosen = settings(stale_s, **sections)
    plan = planned(chosen, n)
    assert [len(c.slots) for c in plan.connections] == [n] * len(chosen.data_brokers)
    said = polled_lines(chosen, table(n))
    assert f"{n:,} instruments in {calls} call" in said[0]


@pytest.mark.parametrize(
    ("n", "stale_s", "sections", "words"),
    [
        (1, 2.0, {}, ("1 instruments are 1 calls", "3.00 s may pass", "risk.stale_tick_s to 4")),
        (501, 3.0, {}, ("501 instruments are 2 calls", "4.25 s may pass", "name at most 500 in")),
        (501, 2.0, {"broker": "upstox"}, ("2 calls", "3.79 s may pass", "name at most 500 in", "to 5")),
        (9000, 3.0, {}, ("9,000 instruments are 18 calls", "name at most 500")),
    ],
)
def test_more_than_that_is_refused_with_numbers_and_a_fix(
    n: int, stale_s: float, sections: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(PlanError) as caught:
        planned(settings(stale_s, **sections), n)
    for word in words:
        assert word in str(caught.value)


def test_the_gaps_between_answers_are_no_silence() -> None:
    assert answer_gap_s(Settings()) == 0.0 and answer_gap_s(settings()) == 3.0
    assert 1.8 < answer_gap_s(settings(broker="upstox")) < 2.0
    with pytest.raises(PlanError, match=r"silence_s is 3; .* 3.00 s .* at least 4"):
        planned(settings(4.0, datafeed={"silence_s": 3.0}), 5)


def test_a_change_while_it_trades_is_held_to_the_same() -> None:
    chosen = settings(3.0, datafeed={"modes": {f"NSE:S{i}": "off" for i in range(100)}})
    plan, instruments = planned(chosen, 600), table(600)
    refuse_excess(chosen, instruments, plan, dict.fromkeys(range(500), "full"))
    with pytest.raises(PlanError, match="501 instruments"):
        refuse_excess(chosen, instruments, plan, dict.fromkeys(range(501), "full"))
    with pytest.raises(PlanError, match="no quote call"):
        refuse_excess(settings(broker="upstox"), instruments, plan, {0: "option_greeks"})


def test_order_updates_of_kite_come_by_a_socket_of_their_own() -> None:
    assert updates_apart(settings(3.0)) and planned(settings(3.0), 5).updates is not None
    assert not updates_apart(Settings())
    assert any("without subscriptions" in line for line in polled_lines(settings(3.0), table(1)))
    assert polled_lines(Settings(), table(1)) == []


def test_the_order_process_leaves_the_feed_its_share() -> None:
    ours = orders_config(settings(broker="upstox"), loopback=True)
    share = ours.limits.polling
    assert share is not None and ours.limits.other_windows == share.other_windows
    websocket = limits_of(
        settings(broker="upstox").model_copy(update={"datafeed": Settings().datafeed}), "upstox"
    )
    assert websocket.other_windows != share.other_windows
    assert (
        orders_config(settings(3.0), loopback=True).quote_pace == limits_of(settings(), "kite").polling.pace
    )
    crossed = settings(broker="upstox", data_broker="kite")
    assert orders_config(crossed, loopback=True).quote_pace is None


def test_rules_without_a_share_are_told(tmp_path: Path) -> None:
    rules = load_yaml(CONFIG / "rules/kite_2026-04-01.yaml")
    del rules["polling"]
    (tmp_path / "r.yaml").write_text(json.dumps(rules))  # JSON is YAML
    chosen = settings(3.0)
    chosen = chosen.model_copy(
        update={"trading": chosen.trading.model_copy(update={"rules": tmp_path / "r.yaml"})}
    )
    with pytest.raises(SettingsError, match="no `polling`"):
        limits_of(chosen, "kite")


@pytest.mark.parametrize(
    ("datafeed", "word"),
    [
        ({"connections": 2}, "datafeed.connections"),
        ({"aux": True}, "datafeed.aux"),
        ({"store_ticks": True, "tick_storage_format": "frames"}, "tick_storage_format"),
        ({"modes": {"NSE:INFY": "full_d30"}}, "full_d30"),
        ({"mode": "option_greeks"}, "option_greeks"),
    ],
)
def test_what_only_a_websocket_brings_is_refused(datafeed: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Settings.model_validate({"datafeed": {"primary_source": "http", **datafeed}})


def test_a_recording_would_never_begin_to_play() -> None:
    with pytest.raises(ValueError, match=r"simulator\.replay"):
        Settings.model_validate({"datafeed": {"primary_source": "http"}, "simulator": {"replay": "x.rec"}})


def test_polling_is_another_word_for_it() -> None:
    assert Settings.model_validate({"datafeed": {"primary_source": "polling"}}).datafeed.is_polled
    assert not Settings().datafeed.is_polled
    with pytest.raises(ValueError, match="websocket"):
        Settings.model_validate({"datafeed": {"primary_source": "carrier pigeon"}})


def test_only_such_a_feed_learns_where_quotes_are() -> None:
    assert set(KITE.quotes_config()) == {"quotes_url", "quotes_key"} and not any(
        "quotes" in key for key in KITE.feed_config()
    )
    assert KITE.quotes_config()["quotes_key"] == "kite.api_url"
    assert type(make_decoder("polled", table(2), 0)).__name__ == "TickRowDecoder"
