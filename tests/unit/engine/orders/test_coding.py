"""What the journal says of the strategies' code."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kite_hft.configuring.models.market import StrategySection
from kite_hft.engine.orders.coding import BUILT_IN, code_of, strategy_codes


def test_a_file_of_ones_own_is_hashed_and_changes_with_its_logic(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('it is read, never run')\n")
    section = StrategySection(name="mine", path=file)
    first = code_of(section)
    assert first["file"] == str(file) and first["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text("x = 1\n")
    assert code_of(section)["sha256"] != first["sha256"]
    assert code_of(StrategySection(name=f"{file}:Mine"))["sha256"] == code_of(section)["sha256"]


def test_a_module_is_found_as_python_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ideas"
    package.mkdir()
    (package / "dip.py").write_text("# a dip\n")
    (package / "__init__.py").write_text("# ideas\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert code_of(StrategySection(name="ideas.dip:Dip"))["file"] == str(package / "dip.py")
    assert code_of(StrategySection(name="ideas:Dip"))["file"] == str(package / "__init__.py")


def test_what_has_no_file_says_so(tmp_path: Path) -> None:
    assert code_of(StrategySection(name="kalman_simple")) == {
        "name": "kalman_simple", "file": BUILT_IN, "sha256": "",
    }  # fmt: skip
    assert code_of(StrategySection(name="nowhere_at_all.dip:Dip"))["file"] == "not found"
    gone = code_of(StrategySection(name="mine", path=tmp_path / "gone.py"))
    assert "No such file" in gone["file"] and not gone["sha256"]


def test_each_number_has_its_section() -> None:
    sections = [StrategySection(name="probe", form="B"), StrategySection(name="kalman_ml")]
    told = strategy_codes(sections, {3: 0, 1: 0, 2: 1})
    assert told["do"] == "strategies"
    assert {number: words["name"] for number, words in told["strategies"].items()} == {
        "1": "probe", "2": "kalman_ml", "3": "probe",
    }  # fmt: skip
