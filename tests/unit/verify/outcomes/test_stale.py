"""The short form of `verify stale`, and that it sees a gate that is open."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kite_hft.verify.outcomes import stale


def test_nothing_opens_on_old_prices_and_every_exit_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert stale.main(["--scenarios", "200", "--seed", "9000"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["reductions left"] == counts["reductions asked"] > 30
    assert counts["openings left"] > 30 and counts["cancels left"] > 30
    assert counts["open, a price"] > 30 and counts["open, a wrong clock"] > 10


def test_nor_on_prices_of_upstox(capsys: pytest.CaptureFixture[str]) -> None:
    assert stale.main(["--scenarios", "200", "--seed", "9000", "--broker", "upstox"]) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["reductions left"] == counts["reductions asked"] > 30
    assert counts["openings left"] > 30 and counts["open, a price"] > 30


def test_a_limit_that_is_one_millisecond_longer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = stale.replace

    def longer(thing: Any, **words: Any) -> Any:
        return made(thing, **words | ({"stale_tick_s": 2.001} if "stale_tick_s" in words else {}))

    monkeypatch.setattr(stale, "replace", longer)
    assert not stale.run(200, 9000)["ok"]


def test_a_backlog_that_counts_as_new_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale, "LATE_NS", 10**18)
    found = stale.run(200, 9000)
    assert not found["ok"] and found["counts"]["backlogs"] > 10


def test_a_connection_that_counts_as_proven_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale.Feed, "fresh", lambda self, slot: True)
    assert not stale.run(100, 9000)["ok"]


def test_exits_that_are_held_up_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "kite_hft.trading.gate.risk.is_reducing", lambda intent, book, target: intent.kind == 3
    )
    assert not stale.run(200, 9000)["ok"]
