"""`verify supervise`, small: everybody killed once, and the supervisor, with orders under way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.verify.engine import supervise
from kite_hft.verify.engine.supervise_meter import compare

WITH_SPARES = True


def test_the_campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--instruments", "60", "--rate", "10", "--kills", "4", "--supervisor-kills", "1"]
    # The time limit is the campaign's own claim, for a machine that does nothing else.
    code = supervise.main([*arguments, "--within", "20", "--keep", str(tmp_path)])
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and result["wrong"] == [], result
    assert set(result["first_work"]) == set(supervise.GROUPS) and len(result["supervisor_again_s"]) == 1
    assert result["orders_at_broker"] == result["orders_in_journals"] > 5


def test_at_upstox_the_bringer_of_order_updates_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--broker", "upstox", "--instruments", "40", "--rate", "10", "--kills", "1"]
    code = supervise.main([*words, "--supervisor-kills", "0", "--within", "20", "--keep", str(tmp_path)])
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and result["wrong"] == [], result
    assert set(result["first_work"]) == {supervise.UPDATES}
    assert result["orders_at_broker"] == result["orders_in_journals"] > 0


def test_lost_and_doubled_orders_are_found(tmp_path: Path) -> None:
    """The comparison itself, on a broker that knows what no journal does."""
    orders = [
        {"order_id": "1", "tags": ["a"]},
        {"order_id": "2", "tags": ["b"]},
        {"order_id": "3", "tags": ["b"]},
    ]
    found = compare(orders, [])
    assert found["lost"] == ["a", "b"] and found["doubled"] == ["b"] and found["unexplained"] == []
