"""`verify crash` in short: processes die at points of the order path and anywhere; every account agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kite_hft.verify.crash import crash


@pytest.mark.timeout(300)
def test_the_campaign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = crash.main(["--kills", "30", "--seed", "2", "--horizon", "1", "--keep", str(tmp_path)])
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and result["wrong"] == [], result
    assert result["kills"] == 30 and result["unreached"] == []
    assert [result[name] for name in ("lost", "doubled", "unexplained", "external_orders")] == [0, 0, 0, 0]
    assert {"orders", "market", "supervisor"} <= set(result["by_process"])
    assert len(result["by_point"]) >= 20
    assert result["orders_at_broker"] >= 30 and result["trades"] >= 5


@pytest.mark.timeout(300)
def test_at_upstox_the_bringer_of_order_updates_dies_and_one_host_is_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--broker", "upstox", "--failover", "--only", "updates:push", "--kills", "4", "--horizon", "1"]
    code = crash.main([*words, "--keep", str(tmp_path)])
    result = json.loads(capsys.readouterr().out)
    assert code == 0 and result["wrong"] == [], result
    assert result["by_process"] == {"updates": 4} and result["trades"] > 0
    assert [result[name] for name in ("lost", "doubled", "unexplained", "external_orders")] == [0, 0, 0, 0]
    assert result["orders_at_broker"] > 0, "nobody is at the first order host: another one has stood in"


def test_a_word_that_no_point_has_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert crash.main(["--only", "nowhere"]) == 1
    assert "no point like 'nowhere'" in capsys.readouterr().out
