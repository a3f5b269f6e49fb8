"""The short form of `verify recon`, and that its judge sees what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kite_hft.trading.recovery import lookup, reader
from kite_hft.trading.recovery.external import Externals
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.verify.outcomes import recon


def test_whatever_happened_meanwhile_a_start_finds_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert recon.main(["--cases", "25", "--seed", "3000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cases"] == 25 and len(found["divergences"]) >= 10


def test_at_upstox_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert recon.main(["--cases", "25", "--seed", "3000", "--broker", "upstox"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["broker"] == "upstox" and len(found["divergences"]) >= 10


def test_unexplained_things_that_are_let_through_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "differences", lambda *a, **k: [])
    assert any("cannot be explained" in text for text in recon.Case(3019).run())


def test_positions_that_are_not_squared_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Externals, "square", lambda *a, **k: True)
    found = recon.run(1, 3000)
    assert "--cases 1 --seed 3000" in found["wrong"][0]["again"]
    assert found["wrong"][0]["wrong"][0].startswith("position")


def test_an_order_and_a_strangers_twin_are_told_apart_by_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recon.Case(3236).run() == [], "their prices tell them apart"
    monkeypatch.setattr(lookup, "as_asked", lambda order, row: True)
    assert recon.Case(3236).run() == [], "nothing does: the person's word"
    monkeypatch.setattr(recon.Case, "_doubts_ended", lambda *a: None)
    assert any(text.startswith("position") for text in recon.Case(3236).run()), "frozen until then"


def test_numbers_that_hang_on_the_order_of_rows_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Any, found: Any) -> None:
        self._runs = found.runs | {self._tags.run}
        self.doubts.accepted |= found.accepted

    monkeypatch.setattr(Reconciler, "restore", forget)
    assert any("second start wrote EXTERNAL" in text for text in recon.Case(3005).run())
