"""What is kept of a campaign between its sittings, and how files are added up."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.verify.campaign import CampaignError
from kite_hft.verify.simulation import sittings
from kite_hft.verify.simulation.sittings import Campaign, added, gone_on, joined

SUMS = {"counts": {"crash": 2}, "table": {"crash OPEN": 1}, "others": {"orders": 5}}


def campaign(first: int, n: int, code: str = "c", broker: str = "kite") -> Campaign:
    made = Campaign(broker, code, seconds=1.5)
    made.lived(first, n, SUMS)
    return made


def test_neighbours_are_one_and_no_seed_counts_twice() -> None:
    assert joined([(20, 5), (0, 10), (10, 5)]) == [(0, 15), (20, 5)]
    with pytest.raises(CampaignError, match="seed 9 was counted twice"):
        joined([(0, 10), (9, 1)])


def test_what_lacks_is_what_nobody_has_lived() -> None:
    made = Campaign("kite", "c")
    assert made.lacking(5, 10) == [(5, 10)]
    made.spans = [(0, 6), (8, 2), (14, 100)]
    assert made.lacking(5, 10) == [(6, 2), (10, 4)]
    assert made.lacking(0, 6) == [] and made.lacking(110, 10) == [(114, 6)]
    assert made.lacking(6, 2) == [(6, 2)] and made.lacking(7, 2) == [(7, 1)]


def test_a_kept_campaign_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sittings, "code_of", lambda: "c")
    path = tmp_path / "kept.json"
    assert gone_on(path, "kite").spans == []
    made = campaign(0, 10)
    made.breaks.append({"seed": 3, "breaks": ["why"]})
    made.keep(path)
    again = gone_on(path, "kite")
    assert (again.spans, again.breaks, again.sums.told()) == ([(0, 10)], made.breaks, SUMS)
    with pytest.raises(CampaignError, match="days with kite"):
        gone_on(path, "upstox")
    monkeypatch.setattr(sittings, "code_of", lambda: "d")
    with pytest.raises(CampaignError, match="other code"):
        gone_on(path, "kite")
    path.write_text("{}")
    with pytest.raises(CampaignError, match="keeps no campaign"):
        gone_on(path, "kite")


def test_files_of_different_seeds_add_up_and_no_others(tmp_path: Path) -> None:
    def kept(name: str, made: Campaign) -> Path:
        made.keep(tmp_path / name)
        return tmp_path / name

    a, b = kept("a", campaign(0, 10)), kept("b", campaign(10, 5))
    whole = added([a, b])
    assert whole.spans == [(0, 15)] and whole.seconds == 3.0
    assert whole.sums.told() == {"counts": {"crash": 4}, "table": {"crash OPEN": 2}, "others": {"orders": 10}}
    for other in (campaign(9, 3), campaign(20, 3, code="d"), campaign(20, 3, broker="upstox")):
        with pytest.raises(CampaignError):
            added([a, kept("c", other)])


def test_the_code_is_everything_that_a_day_depends_on() -> None:
    assert len(sittings.code_of()) == 16 and sittings.code_of() == sittings.code_of()
