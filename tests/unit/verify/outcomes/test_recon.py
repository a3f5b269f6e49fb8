"""The short form of `verify recon`, and that its judge sees what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kite_hft.trading.recovery import reader
from kite_hft.trading.recovery.external import Externals
from kite_hft.trading.recovery.reconcile import Reconciler
from kite_hft.verify.outcomes import recon


def test_whatever_happened_meanwhile_a_start_finds_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert recon.main(["--cases", "25", "--seed", "3000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cases"] == 25 and len(found["divergences"]) >= 10


def test_unexplained_things_that_are_let_through_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "differences", lambda *a, **k: [])
    assert any("cannot be explained" in text for text in recon.Case(3019).run())


def test_positions_that_are_not_squared_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Externals, "square", lambda *a, **k: True)
    found = recon.run(1, 3000)
    assert "--cases 1 --seed 3000" in found["wrong"][0]["again"]
    assert found["wrong"][0]["wrong"][0].startswith("position")


def test_numbers_that_hang_on_the_order_of_rows_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Any, found: Any) -> None:
        self._runs = found.runs | {self._tags.run}
        self.doubts.accepted |= found.accepted

    monkeypatch.setattr(Reconciler, "restore", forget)
    assert any("second start wrote EXTERNAL" in text for text in recon.Case(3005).run())
