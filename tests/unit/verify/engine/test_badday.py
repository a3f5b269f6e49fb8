"""What the judge of a bad day holds against one another, and that each pair that differs is named."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kite_hft.verify.engine import badday

LINK = dict.fromkeys(
    ("closes_abrupt", "closes_by_peer", "watchdog_trips", "texts", "refused_403", "unreachable"), 0
)


STATS: dict[str, Any] = {
    "texts": 11, "too_many_requests": {}, "refused": {"400 UDAPI100500": 1, "429 UDAPI10005": 1},
}  # fmt: skip


def rows(broker: str) -> list[dict[str, Any]]:
    """Every kind of the day once, and two strikes of the way to a feed."""
    kinds = badday.KINDS_OF_THE_DAY - (badday.KITES_ALONE if broker == "upstox" else frozenset())
    found = [{"kind": kind, "count": 1, "parameters": {}} for kind in sorted(kinds)]
    for row in found:
        row["connections"] = 2
    if broker == "upstox":
        found += [
            {"kind": kind, "count": 1, "parameters": {"request": "authorize"}}
            for kind in ("http_403", "accept_then_drop", "http_503")
        ]
        found += [{"kind": "close", "count": 1, "parameters": {"code": 1000}}]
    return found


def good(broker: str) -> dict[str, Any]:
    """A report in which all is as it should be after `rows`."""
    market = LINK | {"closes_abrupt": 4, "watchdog_trips": 1, "texts": 5}
    updates = LINK | {"closes_abrupt": 1, "watchdog_trips": 1, "texts": 6}
    malformed = dict.fromkeys(("cut_packet", "wrong_count", "unknown_length"), 1)
    malformed |= {"trailing_bytes": 0, "message": 0}
    if broker == "upstox":
        market |= {"refused_403": 1, "unreachable": 1, "closes_by_peer": 1}
        malformed = dict.fromkeys(malformed, 0) | {"message": 1}
    heard = dict.fromkeys((*badday.REQUEST_FAULTS.values(), "http_403", "transport_errors"), 1)
    heard["updates_label"] = 0 if broker == "upstox" else 1
    return {
        "ticks": {"by_connection": [market, updates], "malformed": malformed},
        "orders": {"heard": heard, "ambiguous": 3, "resolved": 3, "sent": 9},
        "absence_horizon_s": 5,
        "restarts": [],
    }


def judged(broker: str, report: dict[str, Any], tags: tuple[str, ...] = ()) -> dict[str, Any]:
    account = {"orders": [{"tag": tag} for tag in tags]}
    stats = STATS | {"labels": 1}
    return badday.judge(broker, report, stats, account, rows(broker), {"exit_code": 0}, 0)


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_a_day_on_which_all_agrees(broker: str) -> None:
    assert judged(broker, good(broker))["wrong"] == []


@pytest.mark.parametrize(
    ("broker", "where", "name"),
    [
        ("kite", "malformed", "cut_packet"), ("kite", "link", "closes_abrupt"), ("kite", "heard", "http_503"),
        ("upstox", "malformed", "message"), ("upstox", "malformed", "price_range"),
        ("upstox", "link", "closes_by_peer"), ("upstox", "link", "refused_403"),
        ("upstox", "link", "unreachable"), ("upstox", "link", "watchdog_trips"), ("upstox", "link", "texts"),
        ("upstox", "heard", "http_503"), ("upstox", "heard", "transport_errors"),
    ],
)  # fmt: skip
def test_a_counter_that_differs_is_named(broker: str, where: str, name: str) -> None:
    report = good(broker)
    of = {
        "malformed": report["ticks"]["malformed"], "link": report["ticks"]["by_connection"][1],
        "heard": report["orders"]["heard"],
    }[where]  # fmt: skip
    of[name] = of.get(name, 0) + 1
    assert judged(broker, report)["wrong"]


def test_doubled_tags_open_doubts_and_what_never_struck() -> None:
    report = good("upstox")
    tag = "k" * 20
    assert "stand twice" in judged("upstox", report, (tag, tag))["wrong"][0]
    busy = STATS | {"too_many_requests": {"order": 2}}
    found = badday.judge("upstox", report, busy, {"orders": []}, rows("upstox"), {"exit_code": 0}, 0)
    assert "refused 2 calls" in found["wrong"][0]
    report["orders"]["resolved"] = 2
    assert judged("upstox", report)["wrong"] == ["3 ambiguous, 2 resolved"]
    kinds = [row for row in rows("upstox") if row["kind"] != "stuck_order"]
    found = badday.judge("upstox", good("upstox"), STATS, {"orders": []}, kinds, {"exit_code": 0}, 0)
    assert found["wrong"] == ["never struck: ['stuck_order']"]
    assert Counter(row["kind"] for row in kinds)["http_403"] == 2
