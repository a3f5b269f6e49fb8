"""Mixed builds refuse one another; the campaign notices a check that is gone."""

from __future__ import annotations

import json

import pytest

from kite_hft.layout import SegmentKind
from kite_hft.verify.shield import build_id


def test_all_pairs_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_id.main(["--pairs"]) == 0
    told = json.loads(capsys.readouterr().out)
    files = 2 * len(SegmentKind) + 1  # each kind read and written, and a snapshot
    assert told["pairs"] == 12 and told["refused"] == 12 * files
    assert told["taken_by_their_own"] == 4 * files


def test_a_build_that_takes_everything_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = "from kite_hft.memory import header; header._check_builds = lambda page: None; "
    monkeypatch.setattr(build_id, "WORKER", blind + build_id.WORKER)
    assert build_id.main(["--pairs"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert "taken" in told["wrong"][0] and "--pairs" in told["replay"]
