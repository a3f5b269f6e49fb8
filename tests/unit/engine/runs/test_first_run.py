"""What is told before the first run of an installation, and only then."""

from __future__ import annotations

from pathlib import Path

from kite_hft.engine.runs.first_run import DISCLAIMER, is_first_run
from kite_hft.engine.runs.run_folder import install_id


def test_it_is_told_until_something_has_run(tmp_path: Path) -> None:
    assert is_first_run(tmp_path) and is_first_run(tmp_path / "not_there")
    install_id(tmp_path)
    assert not is_first_run(tmp_path)


def test_it_says_what_matters() -> None:
    for words in ("loses money", "simulator first", "acknowledges orders and fills none", "broker's terms"):
        assert words in DISCLAIMER
