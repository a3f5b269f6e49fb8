"""The short form of `verify broker`, and that its judge sees what is wrong."""

from __future__ import annotations

import json

import pytest

from kite_hft.trading.recovery import lookup
from kite_hft.trading.recovery.lookup import Lookup
from kite_hft.verify.outcomes import broker


def test_ambiguous_answers_make_no_order_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert broker.main(["--faults", "80", "--seed", "5000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ambiguous"] == 80 and found["found"] and found["absent"]
    assert found["tags_kept"] and found["tags_dropped"] and len(found["kinds"]) > 10


def test_nor_at_upstox(capsys: pytest.CaptureFixture[str]) -> None:
    assert broker.main(["--faults", "40", "--seed", "5000", "--broker", "upstox"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["broker"] == "upstox" and found["found"] and found["absent"]
    assert any("catch-all" in kind for kind in found["kinds"])


def test_giving_up_too_early_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Absent after 15 s: an order that the book shows later lives, and nobody knew."""
    made = broker.OrdersConfig
    monkeypatch.setattr(
        broker, "OrdersConfig", lambda *a, **k: made(*a, **{**k, "absence_horizon_s": 15.0, "loopback": True})
    )
    assert any("proved absent" in text for text in broker.Case(5000).run())


def test_strangers_that_are_taken_for_ours_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "alike", lambda order, row, instruments, timed=True: (
        row.token == instruments[order.slot].token and row.side == order.side
    ))  # fmt: skip
    monkeypatch.setattr(lookup, "as_asked", lambda order, row: True)
    assert any("was never at the exchange" in text for text in broker.Case(5001).run())


def test_a_look_up_that_never_finds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lookup, "read", lambda *a, **k: [])
    found = broker.run(20, 5001)
    assert not found["ok"] and "--one --seed 5001" in found["wrong"][0]["again"]
