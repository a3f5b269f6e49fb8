"""The gate's facts of a run: dated files, daily lists, hours, the exchange's clock."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from orders_world import instruments

from kite_hft.clock import ManualClock
from kite_hft.engine.orders.market_facts import (
    ExchangeTime,
    TickOf,
    daily_lists,
    market_facts,
    names_of,
    phases_of,
    rules_of_day,
    stamps_ahead_ns,
)
from kite_hft.layout import TICK, Product
from kite_hft.sessions import ist_date, ist_midnight_ns, seconds_of_day
from kite_hft.settings import Settings, SettingsError

FRIDAY = dt.date(2026, 11, 20)
CONFIG = Path("config").resolve()
S = 10**9


def at(time: str, day: dt.date = FRIDAY) -> int:
    return ist_midnight_ns(day) + seconds_of_day(time) * S


def settings(tmp_path: Path, **sections: Any) -> Settings:
    trading = {
        "calendar": CONFIG / "calendar/india.yaml", "market": CONFIG / "rules/market_2026-08-03.yaml",
    } | sections.pop("trading", {})  # fmt: skip
    risk = {"lists": tmp_path} | sections.pop("risk", {})
    return Settings.model_validate({"trading": trading, "risk": risk} | sections)


def ticks(**fields: Any) -> Any:
    row = np.zeros(1, TICK)
    for name, value in fields.items():
        row[name] = value
    return lambda slot: row if slot == 1 else None


def test_daily_lists_are_found_by_their_day(tmp_path: Path) -> None:
    rules = rules_of_day(settings(tmp_path), FRIDAY)
    (tmp_path / "fo_ban-2026-11-19.csv").write_text("SBIN\n")
    assert daily_lists(rules, tmp_path).missing == ("mis_blocked", "fo_ban")
    (tmp_path / "fo_ban-2026-11-20.csv").write_text('# of the exchange\nSymbol,Name\nSBIN\n"M&M",x\n\n')
    (tmp_path / "mis_blocked-2026-11-20.csv").write_text("")
    found = daily_lists(rules, tmp_path)
    assert found.missing == () and set(found.lists or ()) == {"fo_ban", "mis_blocked"}
    assert set(found.absent) == {"trade_to_trade", "sme", "asm", "gsm", "suspended"}
    ban = next(r for r in found.rules.restrictions if r.name == "fo_ban")
    assert ban.symbols == {"SBIN", "M&M"}


@pytest.mark.parametrize("text", ["nse:sbin\n", "12 34\n", "\udcff"])
def test_a_list_that_cannot_be_read_names_the_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError, match=r"list\.csv"):
        names_of(path)
    path.write_text("NSE:SBIN\nsmall letters\n")
    with pytest.raises(SettingsError, match="line 2"):
        names_of(path)


def test_rules_that_cannot_be_used_name_the_file(tmp_path: Path) -> None:
    bad = tmp_path / "market.yaml"
    bad.write_text("name: india\n")
    with pytest.raises(SettingsError, match=r"market\.yaml: tables"):
        rules_of_day(settings(tmp_path, trading={"market": bad}), FRIDAY)


def test_whose_hours_bind(tmp_path: Path) -> None:
    now = at("11:00")
    assert phases_of(settings(tmp_path), now) is None, "a simulator is always open"
    sim = settings(tmp_path, simulator={"hours": "exchange"}, trading={"date": dt.date(2026, 7, 31)})
    phases = phases_of(sim, now)
    assert phases is not None and phases.on("NSE", True, FRIDAY)
    assert phases_of(settings(tmp_path, mode="live"), now) is not None
    assert phases_of(settings(tmp_path, mode="paper", trading={"date": FRIDAY}), now) is not None
    elsewhere = settings(tmp_path, mode="paper", trading={"date": dt.date(2026, 11, 19)})
    assert phases_of(elsewhere, now) is None, "another day belongs to a simulator"


def test_hours_of_ones_own_are_one_phase_for_everything(tmp_path: Path) -> None:
    own = settings(tmp_path, mode="live", trading={"market_start": "18:00", "market_end": "19:00"})
    sunday = dt.date(2026, 11, 22)
    phases = phases_of(own, at("18:30", sunday))
    assert phases is not None
    for segment in ("NSE", "NFO", "MCX"):
        assert phases.phase_at(segment, False, at("18:30", sunday)).name == "continuous"
        assert phases.phase_at(segment, False, at("19:00", sunday)).name == "closed"
    assert phases.shift_ns("NSE", sunday) == 0


def test_the_days_end_moves_with_hours_of_ones_own_at_a_simulator_alone(tmp_path: Path) -> None:
    here = "127.0.0.1:1"
    ours = {"kite": {"ws_url": f"ws://{here}", "api_url": f"http://{here}"}}
    for at_simulator, addresses in ((True, ours), (False, {})):
        trading = {"market_start": "00:00:01", "market_end": "23:59:59"}
        made, _, clock = facts(tmp_path, "22:00", mode="live", trading=trading, **addresses)
        assert made.view(0, clock.real).cut_off != at_simulator


def facts(tmp_path: Path, time: str = "11:00", tick: Any = lambda slot: None, **sections: Any) -> Any:
    told: list[str] = []
    clock = ManualClock(5 * S, at(time))
    made = market_facts(settings(tmp_path, **sections), instruments(), clock, tick, told.append)
    return made, told, clock


def test_surveillance_and_trade_to_trade_lists_are_read_where_they_are(tmp_path: Path) -> None:
    for name in ("fo_ban", "mis_blocked", "asm", "gsm", "trade_to_trade", "sme", "suspended"):
        (tmp_path / f"{name}-2026-11-20.csv").write_text("")
    (tmp_path / "gsm-2026-11-20.csv").write_text("NSE:SHARE0\n")
    (tmp_path / "trade_to_trade-2026-11-20.csv").write_text("NSE:SHARE1\n")
    made, told, clock = facts(tmp_path, mode="live")
    assert told == []
    assert made.view(0, clock.real).closed == {"MIS": "gsm", "MTF": "gsm", "co": "gsm"}
    assert set(made.view(1, clock.real).closed) == {"MIS", "MTF", "co", "btst"}
    (tmp_path / "suspended-2026-11-20.csv").write_text("NSE:SHARE0\n")
    made, _, clock = facts(tmp_path, mode="live")
    assert made.view(0, clock.real).closed["all"] == "suspended"


def test_a_real_market_asks_for_the_lists_and_the_hours(tmp_path: Path) -> None:
    made, told, clock = facts(tmp_path, mode="live")
    text, others = told
    assert "mis_blocked, fo_ban" in text and str(tmp_path) in text and "LIST-2026-11-20.csv" in text
    assert "trade_to_trade, sme, asm, gsm, suspended" in others and "market_2026-08-03.yaml" in others
    assert made.view(0, clock.real).unlisted == {Product.MIS: "mis_blocked"}
    assert made.view(0, at("14:55")).cut_off, "not known to be out of the closing auction"
    made, told, clock = facts(tmp_path, mode="live", risk={"lists": tmp_path, "allow": ["NSE:SHARE0"]})
    assert made.view(0, clock.real).unlisted == {} and made.view(1, clock.real).unlisted


def test_a_simulator_asks_for_none(tmp_path: Path) -> None:
    made, told, clock = facts(tmp_path, time="03:00", trading={"date": FRIDAY})
    assert (
        told == [] and made.view(0, clock.real).unlisted == {} and made.view(0, clock.real).phase_types == -1
    )
    assert not made.view(0, clock.real).products >> Product.NRML & 1, "the rest of the rules holds"
    made, told, _ = facts(tmp_path, mode="live", kite={"ws_url": "ws://127.0.0.1:9"})
    assert told == [], "a feed of this machine is a simulator's"


def test_the_simulators_clock_is_told_by_its_ticks(tmp_path: Path) -> None:
    stamped = ticks(exch_ns=at("14:55"), recv_ns=5 * S)
    made, _, clock = facts(
        tmp_path, time="03:00", tick=stamped, simulator={"hours": "exchange"}, trading={"date": FRIDAY}
    )
    assert made.view(0, clock.real).phase == "continuous" and made.view(0, clock.real - 60 * S).cut_off == ""
    assert ist_date(clock.real) == FRIDAY
    clock.advance(20 * 60 * S)
    assert made.view(0, clock.real).phase_types != -1
    none = ExchangeTime(clock, lambda slot: None, 2, simulated=True)
    assert none.ahead_ns() == 0
    assert ExchangeTime(clock, stamped, 2, simulated=False).ahead_ns() == 0
    late = ExchangeTime(ManualClock(5 * S, at("03:00")), stamped, 2, simulated=True)
    assert late.ahead_ns() == at("14:55") - at("03:00")


def test_whose_stamps_are_held_against_the_clock(tmp_path: Path) -> None:
    clock = ManualClock(5 * S, at("11:00"))
    for mode in ("live", "paper"):
        for day in ({}, {"date": FRIDAY}):
            assert stamps_ahead_ns(settings(tmp_path, mode=mode, trading=day), clock) == at("11:00") - 5 * S
    recorded = settings(tmp_path, mode="paper", trading={"date": dt.date(2025, 12, 15)})
    here = settings(tmp_path, mode="live", kite={"ws_url": "ws://127.0.0.1:9"})
    for simulated in (settings(tmp_path), recorded, here):
        assert stamps_ahead_ns(simulated, clock) is None, "a simulator's may be of a day long past"


def test_traded_and_clock(tmp_path: Path) -> None:
    made, _, clock = facts(tmp_path, tick=ticks(volume=1))
    assert made.traded(1) and not made.traded(0)
    assert not facts(tmp_path, tick=ticks(volume=0))[0].traded(1)
    assert made.clock_wrong() == ""
    clock.real += 1_500_000_000
    assert "1.500 s" in made.clock_wrong()


def test_a_tick_of_no_table_is_none() -> None:
    class Reader:
        def get(self, slot: int, out: Any) -> bool:
            out["volume"] = 7
            return slot == 1

    tick = TickOf(lambda slot: Reader() if slot < 3 else None)
    assert tick(0) is None and tick(5) is None
    found = tick(1)
    assert found is not None and found["volume"][0] == 7
