"""GO, REDUCE-ONLY or NO-GO: what makes which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kite_hft.app.day.account import AccountView, Held, TriggerRow
from kite_hft.app.day.finding import fail, ok, warn
from kite_hft.app.day.morning.comparing import Changes
from kite_hft.app.day.morning.hours import ClassHours
from kite_hft.app.day.morning.left import Left
from kite_hft.app.day.morning.verdict import Morning, reasons, some, word_of
from kite_hft.engine.runs.verdicts import GO, NO_GO, REDUCE_ONLY
from kite_hft.trading.broker import Funds
from kite_hft.trading.lists.changes import Change

OPEN = ClassHours("NSE shares", "NSE", False, 3, trades_from="09:15", trades_until="15:30")
CLOSED = ClassHours("MCX", "MCX", False, 1)
FUNDS = Funds(5_000_00, 0, 0, 0, 0, 0)
VIEW = AccountView("kite, now", funds=FUNDS, sales=())
GOOD = Morning((ok("clock", "fine"), warn("swap", "some", "sysctl")), (OPEN,), Changes(), VIEW, Left())
SAFE = Held("NSE:X MIS", 5, 0, "SL 5", 0, "")
NAKED = Held("NSE:Y MIS", 5, 5, "5 without protection", 700_00, "")
ALERT = {"number": 1, "code": "FEED_DEAD", "severity": "CRITICAL", "key": "", "text": ""}

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("all is well", {}, GO, ""),
    ("doctor fails", {"findings": (fail("token", "none", "kite-hft login"),)}, NO_GO, "token: none"),
    ("nothing trades", {"hours": (CLOSED,)}, NO_GO, "nothing of this configuration trades"),
    ("one class is closed", {"hours": (OPEN, CLOSED)}, GO, "closed on this day: MCX"),
    ("odd quantity", {"changes": Changes(odd="quantity 50 is no multiple")}, NO_GO, "quantity 50"),
    (
        "lot changed",
        {"changes": Changes(lines=(Change("lot", "NFO:NIFTY", "kite", "75", "65"),))},
        REDUCE_ONLY,
        "lot 75 -> 65",
    ),
    ("step changed", {"changes": Changes(lines=(Change("tick", "NSE:X", "kite", "5", "10"),))}, GO, ""),
    (
        "newly banned",
        {"changes": Changes(lines=(Change("on", "X", "fo_ban"),))},
        GO,
        "now on the list fo_ban",
    ),
    ("account cannot be read", {"account": AccountView("kite", error="HTTP 500")}, NO_GO, "HTTP 500"),
    ("protected position", {"account": replace(VIEW, positions=(SAFE,))}, GO, ""),
    (
        "naked position",
        {"account": replace(VIEW, positions=(SAFE, NAKED))},
        REDUCE_ONLY,
        "protects NSE:Y MIS",
    ),
    ("naked within the limit", {"account": replace(VIEW, positions=(NAKED,)), "naked_paise": 700_00}, GO, ""),
    (
        "settles in shares",
        {"account": replace(VIEW, positions=(SAFE._replace(settles="settles in shares on .."),))},
        REDUCE_ONLY,
        "settles in shares",
    ),
    (
        "no funds",
        {"account": replace(VIEW, funds=FUNDS._replace(net_paise=0))},
        REDUCE_ONLY,
        "free funds are 0.00",
    ),
    ("funds below the limit", {"min_funds_paise": 5_000_00}, REDUCE_ONLY, "free funds are 5,000.00"),
    (
        "failed GTT",
        {"account": replace(VIEW, triggers=(TriggerRow("NSE:X", "", "rejected", True),))},
        REDUCE_ONLY,
        "GTT",
    ),
    ("killed", {"left": Left(killed="by hand")}, NO_GO, "KILLED: by hand"),
    ("halted", {"left": Left(halted="crash loop")}, REDUCE_ONLY, "HALTED: crash loop"),
    ("reducing", {"left": Left(reducing="reject storm")}, REDUCE_ONLY, "REDUCING"),
    ("held strategy", {"left": Left(held={"a": "HALTED: x"})}, REDUCE_ONLY, "strategy a is held"),
    (
        "unknown fate today",
        {"left": Left(unknown=("NSE:X BUY 5",), unknown_today=True)},
        NO_GO,
        "fate unknown",
    ),
    ("unknown fate of another day", {"left": Left(unknown=("NSE:X BUY 5",))}, GO, "fate unknown"),
    ("critical alert", {"left": Left(alerts=(ALERT,))}, REDUCE_ONLY, "FEED_DEAD"),
    ("warning alert", {"left": Left(alerts=(ALERT | {"severity": "WARNING"},))}, GO, ""),
    ("run that was cut", {"left": Left(warnings=("run x did not end in order",))}, GO, "did not end"),
]


@pytest.mark.parametrize(("given", "word", "text"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_verdict(given: dict[str, Any], word: str, text: str) -> None:
    found = reasons(replace(GOOD, **given))
    assert word_of(found) == word, found
    assert any(text in reason.text for reason in found) if text else word == GO


def test_the_gravest_stands_first_and_decides() -> None:
    found = reasons(replace(GOOD, hours=(OPEN, CLOSED), left=Left(killed="x", halted="y")))
    assert [reason.level for reason in found] == ["no-go", "reduce", "note"] and word_of(found) == NO_GO


def test_many_names_are_shortened_and_told_once() -> None:
    assert some(["a", "b", "a", "c", "d", "e"]) == "a, b, c and 2 more"
