"""A short `verify kill`, and that its record sees what must not be."""

from __future__ import annotations

import json

import pytest

from kite_hft.trading.sending.killing import Killing
from kite_hft.verify.kill import kill


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    code = kill.main(list(words))
    return code, json.loads(capsys.readouterr().out)


def test_kills_in_virtual_time(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, "--trials", "6")
    part = found["virtual"]
    assert code == 0 and found["ok"], found
    assert isinstance(part, dict) and part["opening_after"] == 0
    assert len(part["ways"]) >= 3 and part["cancelled"] > 20 and part["orders_before"] > 50


def test_kills_at_upstox_in_virtual_time(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, "--trials", "4", "--broker", "upstox")
    part = found["virtual"]
    assert code == 0 and found["ok"], found
    assert isinstance(part, dict) and part["opening_after"] == 0 and part["cancelled"] > 10


def test_entries_that_nobody_cancels_are_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Killing, "_sweep", lambda self, now_ns: None)
    code, found = run(capsys, "--trials", "2")
    assert code == 1 and "--seed" in str(found["replay"])


def test_orders_that_leave_after_the_latch_are_seen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kite_hft.engine.orders import latch

    monkeypatch.setattr(latch, "Look", lambda *_: lambda: "")  # the stage is blind for its latch
    code, found = run(capsys, "--trials", "2")
    part = found["virtual"]
    assert code == 1 and isinstance(part, dict) and part["opening_after"] > 0
